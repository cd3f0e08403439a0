from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.diagnostics.internals.hessian import penalised, summary, top_eigenvalues
from counterpoint.networks.towers.transformer import VisionTransformer


def symmetric(n: int, seed: int = 0) -> Tensor:
    a = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a + a.T


def test_eigenvalues_of_a_quadratic_largest_in_size_first() -> None:
    matrix = symmetric(30)
    x = torch.randn(30, dtype=torch.float64, requires_grad=True)
    exact = torch.linalg.eigvalsh(matrix)
    exact = exact[exact.abs().argsort(descending=True)]
    found = top_eigenvalues(lambda: x @ matrix @ x / 2, [x], k=6, steps=30)
    torch.testing.assert_close(found, exact[:6])
    assert x.grad is None


def test_leading_ones_need_few_steps() -> None:
    values = torch.cat([torch.linspace(-1, 1, 400), torch.tensor([20.0, -12.0, 8.0])]).double()
    x = torch.zeros(403, dtype=torch.float64, requires_grad=True)
    found = top_eigenvalues(lambda: (values * x.square()).sum() / 2, [x], k=3, steps=12)
    torch.testing.assert_close(
        found, torch.tensor([20.0, -12.0, 8.0], dtype=torch.float64), rtol=1e-3, atol=0
    )


def test_repeated_eigenvalues_and_a_small_space_end_early() -> None:
    x = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    found = top_eigenvalues(lambda: 2 * x.square().sum(), [x], k=3)
    assert found.tolist() == pytest.approx([4.0])  # the Krylov space of a multiple of 1 has one dimension
    linear = top_eigenvalues(lambda: x.sum(), [x], k=1)
    assert linear.tolist() == pytest.approx([0.0])


def test_weight_decay_moves_every_eigenvalue_up() -> None:
    matrix = symmetric(8)
    x = torch.randn(8, dtype=torch.float64, requires_grad=True)
    plain, decayed = (
        top_eigenvalues(lambda w=w: penalised(x @ matrix @ x / 2, [x], w), [x], k=8, steps=8).sort().values  # type: ignore[misc] # bound at once
        for w in (0.0, 0.5)
    )
    torch.testing.assert_close(decayed, plain + 0.5)


def test_network_with_attention_has_full_hessian_s_eigenvalues() -> None:
    torch.manual_seed(0)
    tower = VisionTransformer(size=8, patch=4, width=4, depth=1, heads=2).double()
    x, y = torch.rand(6, 3, 8, 8).double(), torch.arange(6) % 4
    weights = [tower.blocks[0].qkv.weight, tower.norm.weight]  # type: ignore[union-attr]

    def loss() -> Tensor:
        return F.cross_entropy(tower(x), y)

    def of(flat: Tensor) -> Tensor:
        parts = {"blocks.0.qkv.weight": flat[:48].reshape(12, 4), "norm.weight": flat[48:]}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return F.cross_entropy(torch.func.functional_call(tower, parts, (x,)), y)

    start = torch.cat([w.detach().flatten() for w in weights])
    exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(of, start))
    exact = exact[exact.abs().argsort(descending=True)][:4]
    torch.testing.assert_close(top_eigenvalues(loss, weights, k=4, steps=52), exact)


def test_the_spectrum_in_numbers() -> None:
    found = summary(torch.tensor([[3.0, -1.0], [1.0, -2.0]]))
    assert (found.negative, found.sharpness, found.largest) == (0.5, 2.0, 3.0)
    assert math.isnan(summary(torch.tensor([-1.0])).sharpness)


def test_bad_input_is_named() -> None:
    x = torch.zeros(3, requires_grad=True)
    with pytest.raises(ValueError, match="1 ≤ k ≤ steps"):
        top_eigenvalues(lambda: x.sum(), [x], k=5, steps=4)
    with pytest.raises(ValueError, match="0 parameters"):
        top_eigenvalues(lambda: x.sum(), [nn.Parameter(torch.zeros(2), requires_grad=False)])
    with pytest.raises(ValueError, match="no curvature"):
        top_eigenvalues(lambda: x.sum() / 0, [x])
