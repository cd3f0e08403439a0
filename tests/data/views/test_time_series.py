"""Views of series: closed forms, and functions of keys alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.data import views
from counterpoint.data.views.time_series import SERIES_VIEWS, SeriesView, rotation, series, triples, warped
from counterpoint.networks.towers.series import Standardised
from counterpoint.recipes.schema import Augmentation
from counterpoint.registry import UnknownNameError

UNIT = Standardised(60, (), (0.0,) * 3, (1.0,) * 3)


def keys(count: int, view: str = "series") -> np.ndarray:
    return views.key(0, 0, np.arange(count), view)


def walks(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 1, (length, 3)).cumsum(0).astype(np.float32) for length in lengths]


def test_plain_is_the_first_steps() -> None:
    given = cp.Series.of(walks(80, 30))
    assert torch.equal(
        series("plain")(given, keys(2), UNIT).nan_to_num(9), given.measured[:, :60].nan_to_num(9)
    )


@pytest.mark.parametrize("name", list(SERIES_VIEWS))
def test_a_view_is_a_function_of_the_key_alone(name: str) -> None:
    given = walks(80, 30, 1, 60, 2)
    given[1][5:9] = np.nan
    before = [one.copy() for one in given]
    together = series(name)(cp.Series.of(given), keys(5), UNIT)
    for row, one in enumerate(given):
        alone = series(name)(cp.Series.of([one]), keys(5)[row : row + 1], UNIT)[0]
        assert torch.equal(alone.nan_to_num(9), together[row, : len(alone)].nan_to_num(9))
        assert together[row, len(alone) :].isnan().all()
        assert (~alone.isnan()).any()
        assert np.array_equal(one, before[row], equal_nan=True)
    other = series(name)(cp.Series.of(given[:1]), keys(5, "other")[:1], UNIT)[0]
    alone = series(name)(cp.Series.of(given[:1]), keys(5)[:1], UNIT)[0]
    assert (other.shape == alone.shape and torch.equal(other, alone)) == (name == "plain")


def test_a_recipe_can_leave_series_as_they_were_measured() -> None:
    assert series("weak", Augmentation(paired="plain")) == series("plain")
    assert series("simclr", Augmentation(paired="plain")) == series("simclr")
    assert series("weak", Augmentation(paired="convirt")) == series("weak", Augmentation()) == series("weak")


def test_a_window_is_a_stretch_of_drawn_length() -> None:
    ramp = np.arange(40, dtype=np.float32)[:, None] + np.zeros(3, np.float32)
    found = SeriesView(window=0.5)(cp.Series.of([ramp] * 200), keys(200), UNIT)
    steps = (~found[..., 0].isnan()).sum(1)
    assert (steps.min(), steps.max()) == (20, 40)
    assert (found[:, 1:20] - found[:, :19] == 1).all()
    first = found[:, 0, 0]
    assert ((first >= 0) & (first + steps <= 40)).all()
    assert len(first.unique()) > 10


def test_rotations_are_rotations_of_which_none_is_preferred() -> None:
    many = np.stack([rotation(np.random.default_rng(seed).random(3)) for seed in range(2000)])
    assert np.allclose(many @ many.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(many), 1)
    assert np.abs(many.mean(0)).max() < 0.05


def test_triples_turn_as_one_and_keep_their_length() -> None:
    given = cp.Series.of(walks(50) * 20, channels=("wrist x", "wrist y", "wrist z"))
    found = SeriesView(rotate_p=1.0)(given, keys(20), UNIT)
    torch.testing.assert_close(found.norm(dim=2), given.measured.norm(dim=2))
    assert (found - given.measured).abs().amax((1, 2)).min() > 0.1
    leads = cp.Series.of(walks(50), channels=("I", "II", "V1"))
    assert torch.equal(SeriesView(rotate_p=1.0)(leads, keys(1), UNIT), leads.measured)
    assert triples(("a x", "a y", "b z", "c_X", "c_Y", "c_Z"), 6) == (3,)


def test_warp_keeps_both_ends_order_and_straight_where_it_is_0() -> None:
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[:, None]
    found = warped(ramp, 0.3, np.array([0.25, 1.0]))
    assert found[[0, -1], 0].tolist() == [0, 1]
    speed = np.diff(found[:, 0]) * 100
    assert 0.69 < speed.min() < 0.72
    assert 1.28 < speed.max() < 1.31
    assert np.array_equal(warped(ramp, 0.3, np.array([0.25, 0.0])), ramp)
    assert np.array_equal(warped(ramp[:1], 0.3, np.array([0.25, 1.0])), ramp[:1])
    gap = ramp.copy()
    gap[40:60] = np.nan
    assert np.isnan(warped(gap, 0.3, np.array([0.25, 1.0]))).any()


def test_scale_and_jitter_are_what_they_say() -> None:
    given = cp.Series.of(walks(50) * 200)
    factors = SeriesView(scale=2.0)(given, keys(200), UNIT) / given.measured
    assert factors.flatten(1).std(1).max() < 1e-4
    assert 0.5 <= factors.min() < 0.52
    assert 1.92 < factors.max() <= 2.0
    wide = Standardised(60, (), (0.0,) * 3, (1.0, 10.0, 0.1))
    noise = SeriesView(jitter=0.5)(given, keys(200), wide) - wide(given)
    torch.testing.assert_close(noise.std((0, 1)), torch.full((3,), 0.5), rtol=0.05, atol=0)


def test_channels_drop_and_one_that_was_measured_stays() -> None:
    given = walks(9) * 300
    found = SeriesView(drop=0.5)(cp.Series.of(given), keys(300), UNIT)
    gone = found.isnan().all(1)
    assert gone.any(0).all()
    assert not gone.all(1).any()
    (one,) = walks(9)
    one[:, :2] = np.nan
    assert torch.equal(
        SeriesView(drop=1.0)(cp.Series.of([one]), keys(1), UNIT).nan_to_num(9),
        torch.from_numpy(one)[None].nan_to_num(9),
    )


def test_refusals() -> None:
    with pytest.raises(ValueError, match="keys must be one per series: got 2 for 1"):
        series("weak")(cp.Series.of(walks(3)), keys(2), UNIT)
    with pytest.raises(ValueError, match="takes series of 3 channels"):
        series("weak")(cp.Series.of([np.zeros((3, 2))]), keys(1), UNIT)
    with pytest.raises(UnknownNameError, match="unknown view of series 'stong': did you mean 'strong'"):
        series("stong")
