"""The linear encoder: its gradient, its minimisers, and what a small start loses."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from counterpoint.evaluation.subclasses import (
    Pull,
    Subclasses,
    class_moment,
    second_moment,
    spectral_descent,
)

RNG = np.random.default_rng


def ratio(w: np.ndarray) -> float:
    lengths = np.linalg.norm(w[:, :2], axis=0)
    return float(lengths[1] / lengths[0])


def test_a_step_follows_the_gradient_of_the_loss_over_all_pairs() -> None:
    x, y, _ = Subclasses(dimension=5).sample(8, RNG(0))
    start = RNG(1).standard_normal((3, 5))
    w = torch.from_numpy(start).requires_grad_()
    z = torch.from_numpy(x) @ w.T
    loss = torch.zeros((), dtype=torch.float64)
    for i, j in product(range(8), repeat=2):
        if y[i] == y[j]:
            loss = loss - 2 * (z[i] @ z[j]) / (8 * 4)
        loss = loss + (z[i] @ z[j]).square() / 64
    torch.autograd.backward(0.5 * loss)
    moment = second_moment(x)
    moved = spectral_descent([Pull(0.5, class_moment(x, y), moment)], start, rate=0.01, steps=1)[1]
    assert w.grad is not None
    np.testing.assert_allclose(moved, start - 0.01 * w.grad.numpy(), atol=1e-13)


def test_losses_add_up() -> None:
    x, y, _ = Subclasses(dimension=6).sample(40, RNG(2))
    start, moment = RNG(3).standard_normal((2, 6)), second_moment(x)
    pulls = [Pull(0.3, class_moment(x, y), moment), Pull(0.7, moment, moment + np.eye(6))]
    steps = [spectral_descent([pull], start, rate=0.01, steps=1)[1] - start for pull in pulls]
    both = spectral_descent(pulls, start, rate=0.01, steps=1)[1] - start
    np.testing.assert_allclose(both, steps[0] + steps[1], atol=1e-13)


def test_positive_example_itself_ends_whitened_largest() -> None:
    """At a minimum of −2 tr(M S) + tr(M S M S), M = WᵀW, features have unit covariance, in any two directions.

    That they are the largest is the doing of descent from a small start, in which these grow first.
    """
    moment = np.diag([4.0, 2.0, 1.0])
    small, large = (
        spectral_descent(
            [Pull(1.0, moment, moment)], scale * RNG(4).standard_normal((2, 3)), rate=0.02, steps=3000
        )[3000]
        for scale in (1e-10, 0.3)
    )
    for w in (small, large):
        np.testing.assert_allclose(w @ moment @ w.T, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(small.T @ small, np.diag([1 / 4, 1 / 2, 0]), atol=1e-3)
    assert np.linalg.norm(large[:, 2]) > 0.1


def test_samples_are_balanced_and_hold_what_they_say() -> None:
    world = Subclasses(dimension=9, irrelevant=(3.0, 0.5), noise=0.0)
    x, y, sub = world.sample(400, RNG(5))
    for k, j in product((0, 1), repeat=2):
        assert np.sum((y == k) & (sub == j)) == 100
    np.testing.assert_allclose(x[:, 0], 2 * y - 1 + 0.5)
    np.testing.assert_allclose(x[:, 1], 2 * sub - 1)
    assert set(np.unique(np.abs(x[:, 2:4]).sum(1))) == {0.5, 3.0}
    assert not x[:, 4:].any()
    assert x.shape == (400, 9)


@pytest.mark.parametrize(("supervised", "kept"), [(1.0, False), (0.7, True), (0.0, True)])
def test_supervision_alone_loses_subclasses_from_a_small_start(supervised: float, kept: bool) -> None:
    world = Subclasses(dimension=40)
    x, y, _ = world.sample(400, RNG(6))
    moment = second_moment(x)
    pulls = [
        Pull(supervised, class_moment(x, y), moment),
        Pull(1 - supervised, moment, moment + 0.25 / 40 * np.eye(40)),
    ]
    start = 1e-3 / np.sqrt(40) * RNG(7).standard_normal((8, 40))
    found = spectral_descent(pulls, start, rate=0.02, steps=1500, record=(0,))
    assert ratio(found[0]) > 0.3  # a random projection has everything
    assert (ratio(found[1500]) > 0.5) == kept
    assert kept or ratio(found[1500]) < 0.05


def test_a_large_start_keeps_what_a_small_one_loses() -> None:
    x, y, _ = Subclasses(dimension=40).sample(400, RNG(8))
    pull = Pull(1.0, class_moment(x, y), second_moment(x))
    start = RNG(9).standard_normal((8, 40)) / np.sqrt(40)
    small, large = (
        ratio(spectral_descent([pull], scale * start, rate=0.02, steps=1000)[1000]) for scale in (1e-3, 0.3)
    )
    assert small < 0.2 * large


def test_what_comes_after_the_last_step_does_not_matter() -> None:
    losses = [Pull(1.0, np.eye(2), np.eye(2))]
    (last,) = spectral_descent(losses, 2 * np.eye(2), rate=1e120, steps=1).values()
    assert np.isfinite(last).all()
    with pytest.raises(ValueError, match="not finite after 2 steps"), np.errstate(all="ignore"):
        spectral_descent(losses, 2 * np.eye(2), rate=1e120, steps=2)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        Subclasses(dimension=2, irrelevant=(1.0,))
    with pytest.raises(ValueError, match="multiple of four"):
        Subclasses().sample(10, RNG(0))
    moment = 10 * np.eye(3)
    with (
        pytest.raises(ValueError, match=r"rate=5\.0 is too large"),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        spectral_descent([Pull(1.0, moment, moment)], np.ones((2, 3)), rate=5.0, steps=50)
