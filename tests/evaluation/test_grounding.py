"""Contrast-to-noise ratio and pointing accuracy in closed form."""

from __future__ import annotations

from inspect import unwrap

import numpy as np
import pytest
import torch

from counterpoint.evaluation import grounding

MAP = torch.tensor([[[2.0, 4.0, 1.0], [0.0, 0.0, 2.0]]])
INSIDE = torch.tensor([[[True, True, False], [False, False, False]]])


def test_contrast_is_the_gap_of_means_in_units_of_both_spreads() -> None:
    # Inside 2, 4: mean 3, variance 1. Outside 1, 0, 0, 2: mean 0.75, variance 11/16.
    expected = 2.25 / (1 + 11 / 16) ** 0.5
    assert grounding.contrast_to_noise(MAP, INSIDE)[0] == pytest.approx(expected)


def test_contrast_keeps_its_sign_on_request() -> None:
    plain, signed = (grounding.contrast_to_noise(-MAP, INSIDE, absolute=a)[0] for a in (True, False))
    assert plain == -signed > 0


def test_contrast_does_not_depend_on_unit_and_origin() -> None:
    moved = grounding.contrast_to_noise(7 * MAP - 3, INSIDE)
    np.testing.assert_allclose(moved, grounding.contrast_to_noise(MAP, INSIDE))


def test_contrast_of_nothing_undefined_and_of_constants_infinite() -> None:
    everything, nothing = torch.ones_like(INSIDE), torch.zeros_like(INSIDE)
    for part in (everything, nothing):
        assert np.isnan(grounding.contrast_to_noise(MAP, part)[0])
    assert np.isnan(grounding.contrast_to_noise(torch.ones_like(MAP), INSIDE)[0])
    assert np.isinf(grounding.contrast_to_noise(INSIDE.float(), INSIDE)[0])


def test_pointing_asks_where_the_highest_place_is() -> None:
    assert grounding.pointing(MAP, INSIDE).tolist() == [1]
    assert grounding.pointing(-MAP, INSIDE).tolist() == [0]
    assert np.isnan(grounding.pointing(MAP, torch.zeros_like(INSIDE))[0])


def test_a_flat_map_points_inside_by_chance() -> None:
    assert grounding.pointing(torch.ones_like(MAP), INSIDE)[0] == pytest.approx(2 / 6)


def test_bad_maps_are_refused() -> None:
    for metric in (grounding.contrast_to_noise, grounding.pointing):
        with pytest.raises(ValueError, match="maps hold NaN"):
            metric(MAP / 0 * 0, INSIDE)
        with pytest.raises(ValueError, match=r"must both be \(n, H, W\), got \(1, 2, 3\) and \(1, 2, 2\)"):
            unwrap(metric)(MAP, INSIDE[..., :2])
