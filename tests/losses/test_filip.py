"""Late interaction: InfoNCE of single tokens, directions of their own, padding, gradients of the best alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import FILIPLoss, MILLoss
from counterpoint.losses.filip import late
from fixtures.vectors import F64


def unit(*shape: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=g, dtype=F64), dim=-1).requires_grad_()


def test_one_word_caption_is_maximum_over_places_for_captions() -> None:
    """With one word, a picture's side is the mean over its places, and a caption's the best of them."""
    x, y = unit(4, 3, 6, seed=0), unit(4, 1, 6, seed=1)
    s = torch.einsum("rnd,cd->rcn", x, y[:, 0]) / 0.1
    own = torch.arange(4)
    expected = (F.cross_entropy(s.mean(-1), own) + F.cross_entropy(s.amax(-1).T, own)) / 2
    torch.testing.assert_close(FILIPLoss(temperature=0.1)(x, y), expected, rtol=1e-12, atol=0)
    assert MILLoss("max", temperature=0.1)(x, y) != FILIPLoss(temperature=0.1)(x, y)


def test_sides_change_places() -> None:
    x, y = unit(4, 3, 6, seed=0), unit(4, 2, 6, seed=1)
    torch.testing.assert_close(
        FILIPLoss(temperature=0.1)(x, y), FILIPLoss(temperature=0.1)(y, x), rtol=1e-12, atol=0
    )


def test_padding_changes_nothing() -> None:
    x, y = unit(4, 3, 6, seed=0), unit(4, 2, 6, seed=1)
    padded = torch.cat([y, unit(4, 5, 6, seed=2)], 1)
    mask = torch.tensor([True] * 2 + [False] * 5).expand(4, -1)
    torch.testing.assert_close(FILIPLoss()(x, padded, y_mask=mask), FILIPLoss()(x, y), rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="y_mask leaves nothing"):
        FILIPLoss()(x, y, y_mask=torch.zeros(4, 2, dtype=torch.bool))


def test_only_the_best_token_has_a_gradient() -> None:
    h = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.7, 0.0]], dtype=F64, requires_grad=True)
    there = torch.ones(2, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(late(h, *there), h)
    assert gradient.tolist() == [[0.5, 0, 0], [0, 0.5, 0]]


def test_each_direction_is_explained() -> None:
    forces = FILIPLoss(temperature=0.1).explain(unit(4, 3, 6, seed=0), unit(4, 2, 6, seed=1)).forces
    assert len(forces) == 2
    for force in forces:
        assert (force.pull.diagonal() > 0).all()
        assert (force.pull[~torch.eye(4, dtype=torch.bool)] < 0).all()
