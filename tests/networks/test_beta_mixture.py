"""The beta mixture of losses: against scipy's densities, all losses judged, never falling, components in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.mixture import GaussianMixture

from counterpoint.networks.beta_mixture import BetaMixture, _shares


def fitted(losses: np.ndarray) -> BetaMixture:
    mixture = BetaMixture()
    mixture.fit(torch.from_numpy(losses))
    return mixture


def drawn(wrong: int = 400, right: int = 600) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate(
        [
            stats.beta.rvs(2, 9, size=right, random_state=rng),
            stats.beta.rvs(9, 3, size=wrong, random_state=rng),
        ]
    )


def test_shares_are_those_of_scipys_densities() -> None:
    alpha, beta, weight = np.array([[2.0, 6.0], [7.0, 1.5], [0.7, 0.3]])
    x = np.linspace(0.01, 0.99, 50)
    density = weight * stats.beta.pdf(x[:, None], alpha, beta)
    np.testing.assert_allclose(
        _shares(*map(torch.from_numpy, (x, alpha, beta, weight))).numpy(),
        density / density.sum(1, keepdims=True),
        rtol=1e-9,
    )


def test_ten_steps_are_those_of_plain_loop_over_scipys_densities() -> None:
    losses = drawn()
    low, high = np.quantile(losses, [0.05, 0.95])
    x = losses[(losses >= low) & (losses <= high)]
    x = np.clip((x - (low + 1e-5)) / (high - (low + 1e-5) + 1e-6), 1e-3, 1 - 1e-3)
    alpha, beta, weight = np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([0.5, 0.5])
    for _ in range(10):
        r = np.maximum(weight * stats.beta.pdf(x[:, None], alpha, beta), 1e-12)
        r /= r.sum(1, keepdims=True)
        m = (r * x[:, None]).sum(0) / r.sum(0)
        s2 = (r * (x[:, None] - m) ** 2).sum(0) / r.sum(0)
        alpha = m * (m * (1 - m) / s2 - 1)
        beta, weight = alpha * (1 - m) / m, r.sum(0) / len(x)
    mixture = fitted(losses)
    for found, expected in zip(
        (mixture.alpha, mixture.beta, mixture.weight), (alpha, beta, weight), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(mixture.bounds, [low + 1e-5, high + 1e-6], rtol=1e-5)
    assert weight[1] == pytest.approx(0.4, abs=0.1)


def test_posterior_is_scipys_between_the_means() -> None:
    losses = drawn()
    mixture = fitted(losses)
    alpha, beta, weight = (part.double().numpy() for part in (mixture.alpha, mixture.beta, mixture.weight))
    first, second = alpha / (alpha + beta)
    low, high = mixture.bounds.double().numpy()
    place = np.arange(int(100 * first) + 5, int(100 * second) - 5, 7)
    found = mixture.posterior(torch.from_numpy(low + (place + 0.5) / 100 * (high - low)))
    density = weight * stats.beta.pdf(place[:, None] / 99, alpha, beta)
    np.testing.assert_allclose(found, density[:, 1] / density.sum(1), atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0.05, 0.95))
def test_posterior_never_falls_and_all_losses_have_one(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    wrong = rng.random(300) < share
    losses = np.where(wrong, rng.gamma(9.0, 0.5, 300), rng.exponential(0.3, 300))
    grid = torch.linspace(-1.0, float(losses.max()) + 1, 400)
    posterior = fitted(losses).posterior(grid)
    assert (posterior.diff() >= 0).all()
    assert posterior.min() >= 1e-4
    assert posterior.max() <= 1 - 1e-4
    assert posterior[0] < posterior[-1]


@pytest.mark.parametrize("seed", range(3))
def test_losses_far_apart_parted_scikit_learns_gaussian_mixture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wrong = np.repeat([False, True], [600, 400])
    losses = np.where(wrong, rng.normal(2.0, 0.2, 1000), rng.normal(0.5, 0.1, 1000))
    gaussian = GaussianMixture(2, random_state=0).fit(losses[:, None])
    theirs = gaussian.predict(losses[:, None]) == gaussian.means_[:, 0].argmax()
    ours = (fitted(losses).posterior(torch.from_numpy(losses)) > 0.5).numpy()
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(ours, wrong)


def test_components_are_in_the_order_of_their_means() -> None:
    rng = np.random.default_rng(1)
    # One narrow heap of large losses draws the component that started low.
    losses = np.concatenate([rng.uniform(0.0, 1.0, 30), rng.normal(0.9, 0.02, 600)])
    mixture = fitted(losses)
    assert (mixture.alpha / (mixture.alpha + mixture.beta)).diff() > 0


def test_equal_losses_leave_the_mixture_as_it_was() -> None:
    mixture = fitted(drawn())
    before = {name: part.clone() for name, part in mixture.named_buffers()}
    mixture.fit(torch.full((50,), 0.7))
    assert all(torch.equal(part, before[name]) for name, part in mixture.named_buffers())
    fresh = BetaMixture()
    fresh.fit(torch.full((50,), 0.7))
    assert not fresh.fitted
