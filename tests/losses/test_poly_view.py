"""Poly-view contrast: closed forms, NT-Xent at two views, what is in the denominator and what is not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from counterpoint.losses import PolyViewLoss, SupConLoss
from fixtures.vectors import F64, views

MODES = ("geometric", "arithmetic", "sufficient")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [2, 4])
def test_orthonormal_examples_with_equal_views(mode: Any, count: int) -> None:
    x = torch.eye(5, dtype=F64)
    loss = PolyViewLoss(mode, temperature=0.5)(*[x] * count)
    assert loss.item() == pytest.approx(math.log(1 + count * 4 * math.exp(-2)), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_arithmetic_is_never_above_geometric(seed: int) -> None:
    z = views(4, 5, 4, seed=seed)
    arithmetic, geometric = (PolyViewLoss(mode)(*z).item() for mode in ("arithmetic", "geometric"))
    assert arithmetic < geometric


def test_arithmetic_averages_likelihoods_not_losses() -> None:
    # One anchor's two positives at cosines 1 and 0, by hand; the third-party code joins losses instead.
    e = torch.eye(4, dtype=F64)
    z = [e[[0, 3]], e[[0, 3]], e[[1, 3]]]
    like = {1.0: math.e / (math.e + 3), 0.0: 1 / (1 + 3)}
    first = -math.log((like[1.0] + like[0.0]) / 2)  # views 1 and 2 of the first example
    third = -math.log(like[0.0])
    second = -math.log(like[1.0])  # all views of the second example
    expected = (2 * first + third + 3 * second) / 6
    assert PolyViewLoss("arithmetic", temperature=1.0)(*z).item() == pytest.approx(expected, rel=1e-12)


def test_the_other_positives_are_not_in_the_denominator() -> None:
    z = views(3, 5, 4)
    geometric, supcon = PolyViewLoss(temperature=0.3)(*z), SupConLoss(0.3)(*z)
    stacked = torch.cat(z) / 0.3**0.5
    s = stacked @ stacked.T
    item = torch.arange(5).repeat(3)
    own = item[:, None] == item[None]
    negatives = s.masked_fill(own, -math.inf).logsumexp(1)
    others = own & ~torch.eye(15, dtype=torch.bool)
    pairs = (s - torch.logaddexp(s, negatives[:, None]))[others]
    torch.testing.assert_close(geometric, -pairs.mean(), rtol=1e-12, atol=0)
    assert supcon > geometric


def test_the_rest_is_a_mean_inside_the_sphere_unless_told() -> None:
    x, y, z = torch.eye(3, dtype=F64)[:, None].unbind(0)
    batch = [torch.cat([v, -v]) for v in (x, y, z)]
    # Rest means are at cosine 0 to their own view; the views of the other example at 0, −½ and −½, or, with
    # the mean brought to the sphere, at 0, −1/√2 and −1/√2.
    for unit_rest, cosine in ((False, 0.5), (True, 0.5**0.5)):
        loss = PolyViewLoss("sufficient", temperature=1.0, unit_rest=unit_rest)(*batch)
        assert loss.item() == pytest.approx(math.log(2 + 2 * math.exp(-cosine)), rel=1e-12)


def test_gradient_flows_through_the_rest_and_through_the_view() -> None:
    z = [v.requires_grad_() for v in views(3, 5, 4)]
    stacked = torch.stack(z)
    losses = []
    for a in range(3):
        rest = (stacked.sum(0) - stacked[a]) / 2
        scores = torch.einsum("id,gjd->igj", rest, stacked) / 0.3
        own = torch.eye(5, dtype=torch.bool)[:, None].expand(5, 3, 5)
        negatives = scores.masked_fill(own, -math.inf).flatten(1).logsumexp(1)
        positive = (rest * stacked[a]).sum(1) / 0.3
        losses.append(torch.logaddexp(positive, negatives) - positive)
    plain = torch.stack(losses).mean()
    ours = PolyViewLoss("sufficient", temperature=0.3)(*z)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(ours, z), torch.autograd.grad(plain, z), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_of_one_costs_nothing(mode: Any) -> None:
    z = [v.requires_grad_() for v in views(3, 1, 4)]
    loss = PolyViewLoss(mode)(*z)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert all(g.abs().max() < 1e-12 for g in torch.autograd.grad(loss, z))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"an example needs at least 2 views, got 1"):
        PolyViewLoss()(torch.eye(3))
