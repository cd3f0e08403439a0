"""The spectral contrastive loss: closed forms, and the matrix that it factorises."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.diagnostics import normalised
from counterpoint.losses import SpectralLoss
from fixtures.vectors import F64


def joint() -> Tensor:
    """The joint probability of 4 images and 3 texts."""
    p = torch.rand(4, 3, generator=torch.Generator().manual_seed(0), dtype=F64) + 0.05
    return p / p.sum()


def expected_loss(p: Tensor, f: Tensor, g: Tensor, mu: float = 1.0) -> Tensor:
    """The loss of two pairs drawn from p, over all ways to draw them."""
    draws = [(v, w) for v in range(p.shape[0]) for w in range(p.shape[1])]
    terms = [p[a] * p[b] * SpectralLoss(mu)(f[[a[0], b[0]]], g[[a[1], b[1]]]) for a in draws for b in draws]
    return torch.stack(terms).sum()


def test_orthonormal_and_collapsed_pairs() -> None:
    x = torch.eye(5, dtype=F64)
    assert SpectralLoss()(x, x).item() == pytest.approx(-2, abs=1e-12)
    same = F.normalize(torch.ones(5, 3, dtype=F64), dim=-1)
    assert SpectralLoss()(same, same).item() == pytest.approx(-2 + 1, abs=1e-12)


def test_a_single_pair_is_only_drawn_together() -> None:
    x = torch.tensor([[0.6, 0.8]], dtype=F64)
    assert SpectralLoss()(x, torch.tensor([[1.0, 0.0]], dtype=F64)).item() == pytest.approx(-1.2)


def test_mu_is_the_squared_length_of_embeddings() -> None:
    g = torch.Generator().manual_seed(0)
    x, y = (F.normalize(torch.randn(6, 3, generator=g, dtype=F64), dim=-1) for _ in range(2))
    torch.testing.assert_close(
        SpectralLoss(5.0)(x, y), SpectralLoss()(5**0.5 * x, 5**0.5 * y), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("mu", [1.0, 3.0])
def test_in_expectation_distance_to_normalised_joint_probability(mu: float) -> None:
    p, generator = joint(), torch.Generator().manual_seed(1)
    f, g = (F.normalize(torch.randn(n, 2, generator=generator, dtype=F64), dim=-1) for n in p.shape)
    target = normalised(p)
    rows, columns = (mu * p.sum(1)).sqrt()[:, None] * f, (mu * p.sum(0)).sqrt()[:, None] * g
    expected = (target - rows @ columns.T).square().sum() - target.square().sum()
    torch.testing.assert_close(expected_loss(p, f, g, mu), expected, rtol=1e-10, atol=0)


def test_its_minimum_keeps_the_first_singular_vectors() -> None:
    p = joint()
    u, s, v = torch.linalg.svd(normalised(p))
    f = (u[:, :2] * s[:2]) / p.sum(1).sqrt()[:, None]
    g = v[:2].T / p.sum(0).sqrt()[:, None]
    f.requires_grad_()
    loss = expected_loss(p, f, g)
    torch.testing.assert_close(loss, -s[:2].square().sum(), rtol=1e-10, atol=0)
    (gradient,) = torch.autograd.grad(loss, f)
    assert gradient.abs().max() < 1e-12
