"""SCAV: distances of sequences against other libraries, at their limits, and what each of them is blind to."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.losses import SCAVLoss, create
from counterpoint.losses._distances import resampled, root, sinkhorn, soft_dtw
from counterpoint.losses.scav import Distance

TAU = 0.3


def unit(*shape: int, seed: int = 0) -> Tensor:
    draws = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(draws, dim=-1)


def costs(n: int, m: int, pairs: int) -> Tensor:
    x, y = unit(pairs, n, 5), unit(pairs, m, 5, seed=1)
    return torch.cdist(x, y).permute(1, 2, 0)


def test_resampling_keeps_the_ends_and_a_sequence_of_that_length() -> None:
    x = unit(3, 5, 4)
    lengths = torch.tensor([5, 3, 1])
    found = resampled(x, lengths, 5)
    assert torch.equal(found[0], x[0])
    torch.testing.assert_close(found[1, [0, 2, 4]], x[1, :3])
    torch.testing.assert_close(found[1, 1], (x[1, 0] + x[1, 1]) / 2)
    assert torch.equal(found[2], x[2, :1].expand(5, -1))
    assert torch.equal(resampled(x, lengths, 1), x[:, :1])


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [1.0, 0.1, 1e-3])
def test_soft_dtw_is_that_of_tslearn(gamma: float) -> None:
    metrics = pytest.importorskip("tslearn.metrics")
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(n, 3)), rng.normal(size=(m, 3))) for n, m in ((6, 4), (2, 5), (1, 1))]
    given = torch.full((6, 5, 3), 7.0, dtype=torch.float64)  # what lies behind the ends does not matter
    for k, (a, b) in enumerate(pairs):
        given[: len(a), : len(b), k] = torch.from_numpy(((a[:, None] - b[None]) ** 2).sum(-1))
    lengths = (torch.tensor([6, 2, 1]), torch.tensor([4, 5, 1]))
    expected = [metrics.soft_dtw(a, b, gamma=gamma) for a, b in pairs]
    np.testing.assert_allclose(soft_dtw(given, *lengths, gamma).numpy(), expected, rtol=1e-9)
    if gamma == 1e-3:
        hard = [metrics.dtw(a, b) ** 2 for a, b in pairs]
        np.testing.assert_allclose(expected, hard, atol=0.01)


def test_the_gradient_of_soft_dtw_is_that_of_finite_differences() -> None:
    given, lengths = costs(4, 3, 3).requires_grad_(), (torch.tensor([4, 2, 1]), torch.tensor([3, 3, 1]))
    assert torch.autograd.gradcheck(lambda c: soft_dtw(c, *lengths, 0.2), (given,))
    (gradient,) = torch.autograd.grad(soft_dtw(given, *lengths, 0.2).sum(), given)
    assert not gradient[2:, :, 1].any()
    torch.testing.assert_close(gradient[0, 0], torch.ones(3).double())  # every warping begins there


def test_transport_is_that_of_pot() -> None:
    ot = pytest.importorskip("ot")
    given = costs(6, 4, 2)
    found = sinkhorn(given, torch.tensor([6, 3]), torch.tensor([4, 4]), 0.1, 500)
    for k, n in enumerate((6, 3)):
        cost = given[:n, :, k].numpy()
        plan = ot.sinkhorn(np.full(n, 1 / n), np.full(4, 1 / 4), cost, 0.1, numItermax=5000, stopThr=1e-12)
        assert found[k].item() == pytest.approx((plan * cost).sum(), rel=1e-6)


def test_gradients_at_equal_vectors_are_finite() -> None:
    for distance in get_args(Distance):
        x = unit(3, 4, 5).requires_grad_()
        SCAVLoss(distance, temperature=TAU)(x, x.detach().clone()).backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
    assert root(torch.tensor(-1e-9)).item() == pytest.approx(1e-4)


def test_sequences_of_one_vector_are_compared_as_vectors() -> None:
    x, y = unit(6, 1, 8), unit(6, 1, 8, seed=1)
    logits = -((torch.cdist(x[:, 0], y[:, 0]) ** 2 + 1e-8) ** 0.5) / TAU
    target = torch.arange(6)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    for distance in ("euclidean", "wasserstein"):
        torch.testing.assert_close(SCAVLoss(distance, temperature=TAU)(x, y), expected)
    torch.testing.assert_close(SCAVLoss("dtw", temperature=TAU / 2)(x, y), expected)


def test_constant_sequences_are_compared_as_their_means() -> None:
    x, y = unit(6, 1, 8), unit(6, 1, 8, seed=1)
    loss = create("scav", temperature=TAU)
    torch.testing.assert_close(loss(x.expand(-1, 3, -1), y.expand(-1, 5, -1)), loss(x, y))


@pytest.mark.parametrize("distance", get_args(Distance))
def test_what_lies_behind_the_end_changes_nothing(distance: Distance) -> None:
    x, y, loss = unit(5, 6, 4), unit(5, 4, 4, seed=1), SCAVLoss(distance, temperature=TAU)
    x_mask, y_mask = (
        torch.arange(n) < torch.tensor(ends)[:, None]
        for n, ends in ((6, [3, 1, 2, 5, 4]), (4, [2, 4, 1, 3, 3]))
    )
    value = loss(x, y, x_mask=x_mask, y_mask=y_mask)
    other = loss(
        torch.where(x_mask[..., None], x, unit(5, 6, 4, seed=7))[:, :5],
        torch.where(y_mask[..., None], y, 0.0),
        x_mask=x_mask[:, :5],
        y_mask=y_mask,
    )
    torch.testing.assert_close(value, other)


def test_order_is_seen_by_all_but_the_transport() -> None:
    x = unit(4, 6, 8)
    turned = x.flip(1)
    lengths = torch.full((4,), 6)
    for distance, blind in {"euclidean": False, "squared": False, "dtw": False, "wasserstein": True}.items():
        loss = SCAVLoss(distance)
        gap = (
            (loss.matched(x, turned, lengths, lengths) - loss.matched(x, x, lengths, lengths))
            .abs()
            .max()
            .item()
        )
        assert (gap < 1e-3) == blind


def test_warping_forgives_a_late_start_and_steps_do_not() -> None:
    x = unit(1, 8, 6)
    late = torch.cat([x[:, :1].expand(-1, 4, -1), x], 1)
    at = (torch.tensor([8]), torch.tensor([12]))
    sharp = SCAVLoss("dtw", smoothing=1e-3)
    assert sharp.matched(x, late, *at).item() < 0.01
    steps = [resampled(z, n, 12) for z, n in zip((x, late), at, strict=True)]
    assert SCAVLoss().matched(*steps, *at).item() > 0.3


@pytest.mark.parametrize("distance", get_args(Distance))
def test_distances_in_use_are_those_of_pairs(distance: Distance, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, loss, steps = unit(5, 3, 4), unit(4, 3, 4, seed=1), SCAVLoss(distance), torch.full((1,), 3)
    whole = loss.distances(x, y)
    monkeypatch.setattr("counterpoint.losses.scav._PANEL", 1)
    torch.testing.assert_close(loss.distances(x, y), whole)
    for i in range(5):
        for j in range(4):
            one = loss.matched(x[i : i + 1], y[j : j + 1], steps, steps)
            torch.testing.assert_close(whole[i, j], one[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("distance", get_args(Distance))
def test_it_is_explained_which_pairs_are_pulled_and_pushed(distance: Distance) -> None:
    (force,) = SCAVLoss(distance, temperature=TAU).explain(unit(5, 4, 6), unit(5, 3, 6, seed=1)).forces
    assert (force.pull.diagonal() > 0).all()
    assert (force.pull[~torch.eye(5, dtype=torch.bool)] < 0).all()


def test_refusals() -> None:
    x, mask = unit(2, 3, 4), torch.tensor([[True, False, True], [True, True, False]])
    with pytest.raises(ValueError, match="x_mask has a gap"):
        SCAVLoss()(x, x, x_mask=mask)
    with pytest.raises(ValueError, match="x_mask leaves nothing of the examples"):
        SCAVLoss()(x, x, x_mask=torch.zeros(2, 3, dtype=torch.bool))
    assert math.isfinite(SCAVLoss()(x, x).item())
