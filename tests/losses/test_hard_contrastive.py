"""Hard negatives: how InfoNCE treats them, and the losses that keep only those."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import HardContrastiveLoss, InfoNCELoss
from counterpoint.pairwise import evaluate_with
from fixtures.vectors import F64, pair


def hardest(s: Tensor, k: int) -> Tensor:
    return s.masked_fill(torch.eye(len(s), dtype=torch.bool), -math.inf).topk(k, 1).values


@pytest.mark.parametrize("tau", [0.07, 0.3, 1.0])
def test_infonce_pushes_negatives_by_probability_pulls_by_sum(tau: float) -> None:
    x, y = pair(9, 4)
    (force,) = InfoNCELoss(tau, weights=(1.0, 0.0)).explain(x, y).forces
    s = (x @ y.T).detach().requires_grad_()
    by_cosine = torch.autograd.grad(F.cross_entropy(s / tau, torch.arange(9), reduction="sum"), s)[0]
    torch.testing.assert_close(force.pull / tau, -by_cosine, rtol=1e-10, atol=1e-12)
    p = (s / tau).softmax(1).detach()
    off = ~torch.eye(9, dtype=torch.bool)
    torch.testing.assert_close(force.pull[off], -p[off], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(force.pull.diagonal(), (p * off).sum(1), rtol=1e-10, atol=1e-12)
    relative = (-force.pull / force.pull.diagonal()[:, None]).masked_fill(~off, 0)
    boltzmann = (s.detach() / tau).masked_fill(~off, -math.inf).softmax(1)
    torch.testing.assert_close(relative, boltzmann, rtol=1e-9, atol=1e-12)


def test_penalties_spread_over_more_negatives_temperature_rises() -> None:
    entropies = []
    for tau in (0.05, 0.1, 0.3, 1.0, 10.0):
        (force,) = InfoNCELoss(tau, weights=(1.0, 0.0)).explain(*pair(9, 4)).forces
        pull = force.pull[~torch.eye(9, dtype=torch.bool)].view(9, 8)
        entropies.append(float(torch.special.entr(pull / pull.sum(1, keepdim=True)).sum(1).mean()))
    assert entropies == sorted(entropies)
    assert entropies[-1] == pytest.approx(math.log(8), abs=0.01)


def test_infonce_triplet_loss_low_simple_loss_high_temperature() -> None:
    x, y = pair(9, 4)
    s = (x @ y.T).detach()
    gaps = [(hardest(m, 1)[:, 0] - m.diagonal()).clamp_min(0).mean() for m in (s, s.T)]
    low = 1e-4 * InfoNCELoss(1e-4)(x, y).item()
    assert low == pytest.approx(float(sum(gaps)) / 2, abs=1e-4)
    high = 1e5 * (InfoNCELoss(1e5)(x, y).item() - math.log(9))
    simple = HardContrastiveLoss(fraction=1.0, simple=True)(x, y).item()
    assert high == pytest.approx(8 / 9 * simple, abs=1e-4)


@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize(("fraction", "k"), [(0.1, 1), (0.3, 3), (0.5, 4), (0.99, 8)])
@pytest.mark.parametrize("evaluator", ["dense", "tiled"])
def test_the_top_share_of_each_anchor_is_kept(evaluator: Any, fraction: float, k: int, simple: bool) -> None:
    x, y = pair(9, 4)
    s = x @ y.T
    plain = torch.zeros((), dtype=F64)
    for matrix in (s, s.T):
        kept, positive = hardest(matrix, k), matrix.diagonal()
        logits = torch.cat([positive[:, None], kept], 1) / 0.5
        soft = F.cross_entropy(logits, torch.zeros(9, dtype=torch.long))
        plain = plain + ((kept.mean(1) - positive).mean() if simple else soft) / 2
    with evaluate_with(evaluator, tile=4):
        ours = HardContrastiveLoss(0.5, fraction=fraction, simple=simple)(x, y)
        gradients = torch.autograd.grad(ours, [x, y])
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradients, torch.autograd.grad(plain, [x, y]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("simple", [False, True])
def test_easy_negatives_are_left_alone(simple: bool) -> None:
    x, y = pair(9, 4)
    (force,) = HardContrastiveLoss(0.5, fraction=0.25, simple=simple).explain(x, y).forces
    s = (x @ y.T).detach()
    kept = torch.zeros(9, 9, dtype=torch.bool)
    for matrix, mask in ((s, kept), (s.T, kept.T)):
        mask |= matrix >= hardest(matrix, 2)[:, -1:]
    off = ~torch.eye(9, dtype=torch.bool)
    assert torch.equal(force.pull[off] < 0, kept[off])
    assert not force.pull[off & ~kept].any()


def test_ties_do_not_add_to_the_count() -> None:
    x = F.normalize(torch.ones(11, 3, dtype=F64), dim=-1)
    assert HardContrastiveLoss(fraction=0.3)(x, x).item() == pytest.approx(math.log(1 + 3), rel=1e-12)
    loss = HardContrastiveLoss(fraction=0.3, simple=True, repulsion=0.5)(x, x)
    assert loss.item() == pytest.approx(0.5 * 3 - 1, rel=1e-12)


@pytest.mark.parametrize(
    ("fraction", "n", "k"),
    [(0.7, 11, 7), (0.3, 11, 3), (0.31, 11, 4), (1.0, 5, 4), (1e-3, 5, 1), (0.5, 1, 0)],
)
def test_a_share_is_rounded_up_and_not_by_the_last_bit(fraction: float, n: int, k: int) -> None:
    assert HardContrastiveLoss(fraction=fraction).num_hardest(n) == k


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_a_batch_of_one_has_no_negatives(fraction: float) -> None:
    x, y = pair(1, 4)
    assert HardContrastiveLoss(fraction=fraction)(x, y).item() == pytest.approx(0, abs=1e-12)
    simple = HardContrastiveLoss(fraction=fraction, simple=True)(x, y)
    torch.testing.assert_close(simple, -(x * y).sum(), rtol=1e-12, atol=0)
