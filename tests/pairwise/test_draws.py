"""Draws by counter: their distribution, and that those of neighbours have nothing to do with each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from counterpoint.pairwise.draws import LEVELS, drawn, keys, quantiles, uniform

N = 512
PLACES = torch.arange(N)


def pairs() -> np.ndarray:
    return drawn(keys(PLACES, 0), keys(PLACES, 1), quantiles(1.0, 1.0)).numpy()


@pytest.mark.parametrize(("a", "b"), [(2.0, 8.0), (5.0, 5.0), (8.0, 2.0), (2.0, 2.0)])
def test_levels_are_those_of_the_beta_distribution(a: float, b: float) -> None:
    levels = quantiles(a, b).double().numpy()
    assert len(levels) == LEVELS
    assert stats.kstest(levels, stats.beta(a, b).cdf).statistic < 1 / LEVELS
    assert levels.mean() == pytest.approx(a / (a + b), abs=1e-4)


def test_draws_of_pairs_uniform_and_independent_of_neighbours() -> None:
    u = pairs()
    assert stats.chisquare(np.histogram(u, 64, (0, 1))[0]).pvalue > 1e-3
    sigma = 1 / N
    for other in (u.T, np.roll(u, 1, 0), np.roll(u, 1, 1), np.roll(u, (1, 1), (0, 1))):
        assert abs(np.corrcoef(u.ravel(), other.ravel())[0, 1]) < 4 * sigma
    # A row's mean is that of its own draws.
    assert u.mean(1).std() == pytest.approx(np.sqrt(1 / 12 / N), rel=0.2)
    assert u.mean(0).std() == pytest.approx(np.sqrt(1 / 12 / N), rel=0.2)


def test_four_corners_of_a_rectangle_tell_nothing_of_each_other() -> None:
    u = pairs() - 0.5
    product = (u[:-1, :-1] * u[1:, :-1] * u[:-1, 1:] * u[1:, 1:]).mean()
    assert abs(product) < 4 * (1 / 12) ** 2 / N


def test_draw_is_that_of_its_two_places_wherever_the_tile_begins() -> None:
    levels = quantiles(2.0, 8.0)
    whole = drawn(keys(PLACES, 0), keys(PLACES, 1), levels)
    assert torch.equal(drawn(keys(PLACES[40:50], 0), keys(PLACES[7:], 1), levels), whole[40:50, 7:])


def test_uniform_numbers_of_places_are_uniform() -> None:
    u = uniform(PLACES, 64, 2).numpy()
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1]) < 4 / np.sqrt(u.size)
