"""The linear worlds of multi-modal contrast: closed form against descent, against theory, and its limits."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch

from counterpoint.evaluation.latent import InterClass, IntraClass, zero_shot_weights

RNG = np.random.default_rng


def test_closed_form_where_loss_over_all_pairs_has_no_gradient() -> None:
    rng = RNG(0)
    x, t = rng.standard_normal((7, 3)), rng.standard_normal((7, 4))
    ridge = 0.7
    g = torch.from_numpy(zero_shot_weights(x, t, np.eye(4), ridge)).requires_grad_()
    s = torch.from_numpy(x) @ g @ torch.from_numpy(t).T
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            if i != j:
                loss = loss + (s[i, j] - s[i, i]) / (2 * 7 * 6) + (s[j, i] - s[i, i]) / (2 * 7 * 6)
    loss = loss + ridge / 2 * g.square().sum()
    torch.autograd.backward(loss)
    assert g.grad is not None
    assert float(g.grad.abs().max()) < 1e-14


def test_prompts_are_applied_to_it() -> None:
    rng = RNG(1)
    x, t, prompts = rng.standard_normal((9, 3)), rng.standard_normal((9, 4)), rng.standard_normal((2, 4))
    whole = zero_shot_weights(x, t, np.eye(4))
    np.testing.assert_allclose(zero_shot_weights(x, t, prompts), whole @ prompts.T)
    np.testing.assert_allclose(zero_shot_weights(x, t, prompts, 2.0), whole @ prompts.T / 2)
    np.testing.assert_allclose(whole, np.cov(x.T, t.T)[:3, 3:])


def test_captions_that_name_class_give_classifier_by_class_means() -> None:
    """Nothing is left of the details of captions: contrast is then no more than supervision by means."""
    world = IntraClass(dimension=30, core_told=0.0, noise=0.0, agreement=1.0)
    sample = replace(world, noise=0.0).sample(500, RNG(2))
    weights = zero_shot_weights(sample.images, sample.texts, world.prompts)
    means = [sample.images[sample.classes == k].mean(0) for k in (0, 1)]
    difference = weights[:, 1] - weights[:, 0]
    cosine = (
        difference @ (means[1] - means[0]) / np.linalg.norm(difference) / np.linalg.norm(means[1] - means[0])
    )
    assert cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("told", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("agreement", [0.5, 0.99])
def test_accuracy_within_classes_is_what_theory_says(told: float, agreement: float) -> None:
    world = IntraClass(dimension=40, core_told=told, noise=0.3)
    train, test = world.sample(20_000, RNG(3)), replace(world, agreement=agreement).sample(40_000, RNG(4))
    scores = test.images @ zero_shot_weights(train.images, train.texts, world.prompts)
    assert np.mean(scores.argmax(1) == test.classes) == pytest.approx(world.limit(agreement), abs=0.015)


def test_limit_rises_with_details_with_spread_of_true_feature() -> None:
    worlds = [IntraClass(core_told=told) for told in (0, 0.3, 0.6, 1)]
    shifted = [world.limit(0.5) for world in worlds]
    assert shifted == sorted(shifted)
    assert shifted[0] < shifted[-1]
    phi = NormalDist().cdf
    plain = IntraClass(core_told=1.0, agreement=1.0, spurious_spread=0.0, core_spread=1.0)
    assert plain.limit(0.5) == pytest.approx((phi(1.5) + phi(0.5)) / 2)
    assert IntraClass(agreement=0.5).limit(0.9) == pytest.approx(phi(1.0))  # the shortcut has no weight


def test_worlds_without_any_spread_are_decided_by_signs() -> None:
    world = IntraClass(core_spread=0, spurious_spread=0, agreement=0.9)
    assert (world.limit(0.5), world.limit(1.0)) == (1.0, 1.0)
    tied = IntraClass(core_spread=0, spurious_spread=0, agreement=1.0)
    assert tied.limit(0.5) == 0.75  # where they disagree both weigh the same: a toss


def test_samples_are_what_they_say() -> None:
    world = IntraClass(dimension=50, agreement=0.8, core_told=0.25, noise=0.0)
    images, texts, classes = world.sample(40_000, RNG(5))
    y = 2 * classes - 1
    assert np.mean(np.sign(images[:, 1]) == y) == pytest.approx(0.8, abs=0.01)
    assert np.mean(texts[:, 0] == images[:, 0]) == pytest.approx(0.25, abs=0.01)
    assert set(np.unique(texts[texts[:, 0] != images[:, 0], 0])) == {-1.0, 1.0}
    assert (images[:, 0] - y).std() == pytest.approx(1, abs=0.02)
    assert not images[:, 2:].any()
    noisy = replace(world, noise=2.0).sample(2000, RNG(6)).images[:, 2:]
    assert noisy.std() == pytest.approx(2 / math.sqrt(50), rel=0.02)


def test_across_classes_details_are_told_apart_from_the_twin() -> None:
    world = InterClass(features=4, detail=0.5, agreement=0.9, caption_rate=0.5, dimension=8, noise=0.0)
    images, texts, classes = world.sample(20_000, RNG(7))
    k, sign = classes // 2, 2 * (classes % 2) - 1
    rows = np.arange(len(k))
    assert (images[rows, k] == sign).all()
    assert (texts[rows, k] == sign).all()
    assert np.mean(images[rows, 4 + k] == sign) == pytest.approx(0.9, abs=0.01)
    other = (k + 1) % 4
    assert set(np.unique(np.abs(images[rows, other]))) == {0.5}
    assert np.mean(texts[rows, other] != 0) == pytest.approx(0.5, abs=0.02)
    assert abs(np.mean(images[rows, other] * images[rows, 4 + other])) < 0.01
    assert (world.prompts.argmax(1)[1::2] == np.arange(4)).all()
    assert (world.prompts[::2] == -world.prompts[1::2]).all()


def test_details_of_other_classes_outweigh_the_shortcut() -> None:
    """Weights are covariances: of a feature 1/m + (1 − 1/m) · detail² · told, of its twin (2 · agreement − 1) / m."""
    world = InterClass(features=10, dimension=20, noise=0.0, agreement=0.95)
    for told in (0.0, 1.0):
        train = replace(world, caption_rate=told).sample(60_000, RNG(8))
        weights = zero_shot_weights(train.images, train.texts, world.prompts)
        feature, twin = np.diag(weights[:10, 1::2]).mean(), np.diag(weights[10:, 1::2]).mean()
        assert feature == pytest.approx(0.1 + 0.9 * 0.25 * told, abs=0.01)
        assert twin == pytest.approx(0.09, abs=0.01)
        test = replace(world, agreement=0.0).sample(2000, RNG(9))
        accuracy = np.mean((test.images @ weights).argmax(1) == test.classes)
        assert accuracy > 0.99 if told else accuracy < 0.01


def test_bad_worlds_are_named() -> None:
    with pytest.raises(ValueError, match="dimension=10"):
        InterClass(features=10, dimension=10)
    with pytest.raises(ValueError, match="two at least"):
        zero_shot_weights(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="ridge"):
        zero_shot_weights(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((2, 2)), ridge=0.0)
