"""Sounds and series made worse: by as much as is stated, by the id alone, whatever stands beside an example."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.data.corruptions import STRENGTHS, clips, series, sounds
from counterpoint.raw import Clips, Series, Waves

RATE = 16_000
IDS = torch.tensor([3, 2**40, 8])
TIME = np.arange(RATE // 2) / RATE


def tone(hertz: float, length: int = RATE // 2) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hertz * TIME))[:length]


def walks() -> Series:
    rng = np.random.default_rng(0)
    rows = [rng.normal(0, 1, (length, 4)).cumsum(0).astype(np.float32) for length in (60, 25, 60)]
    rows[0][5:9, 1] = np.nan
    return Series.of(rows)


def films() -> Clips:
    waves = 128 + 100 * np.sin(np.arange(24) / 3)[:, None] * np.cos(np.arange(24) / 4)
    frames = np.stack([np.roll(waves, 5 * time, 1) for time in range(9)])[:, None].repeat(3, 1)
    return Clips.of([frames[:length].astype(np.uint8) for length in (9, 5, 9)])


SOUNDS = Waves.of([tone(500), tone(3000, 3000) + tone(440, 3000), tone(7000)], RATE)
CASES: list[Any] = [
    *(pytest.param(worse, SOUNDS, id=f"sounds {name}") for name, worse in sounds.CORRUPTIONS.items()),
    *(pytest.param(worse, films(), id=f"clips {name}") for name, worse in clips.CORRUPTIONS.items()),
    *(pytest.param(worse, walks(), id=f"series {name}") for name, worse in series.CORRUPTIONS.items()),
]


def distance(changed: Tensor, values: Tensor) -> float:
    return float((changed.float().nan_to_num(0) - values.float().nan_to_num(0)).square().mean())


@pytest.mark.parametrize(("worse", "raw"), CASES)
def test_stronger_is_further_away_and_depends_on_example_and_id(worse: Any, raw: Any) -> None:
    before, distances = raw.values.clone(), []
    for strength in STRENGTHS:
        whole = worse(raw, IDS, strength)
        # Sounds and series that were shorter in the batch are as long alone.
        alone = worse(raw[[1]].with_values(raw.values[[1], : int(raw.lengths[1])]), IDS[[1]], strength)
        torch.testing.assert_close(
            whole.values[[1], : int(raw.lengths[1])], alone.values, rtol=0, atol=0, equal_nan=True
        )
        assert whole.lengths.tolist() == raw.lengths.tolist()
        distances.append(distance(whole.values, raw.values))
    assert 0 < distances[0] < distances[1] < distances[2]
    torch.testing.assert_close(raw.values, before, rtol=0, atol=0, equal_nan=True)


def test_noise_lies_below_the_sound_by_the_stated_decibels() -> None:
    for strength, decibels in enumerate(sounds.NOISE):
        added = (sounds.noise(SOUNDS, IDS, strength).samples - SOUNDS.samples)[0]
        below = 10 * math.log10(float(SOUNDS.samples[0].square().mean() / added.square().mean()))
        assert below == pytest.approx(decibels, abs=0.3)


def test_a_narrower_band_keeps_what_is_below_it() -> None:
    for strength, limit in enumerate(sounds.BAND):
        found = sounds.band(SOUNDS, IDS, strength).samples
        torch.testing.assert_close(found[0], SOUNDS.samples[0], rtol=0, atol=1e-5)  # 500 Hz
        assert limit < 7000
        assert float(found[2].abs().amax()) < 1e-5


def test_clipping_keeps_the_peak_and_gain_scales() -> None:
    clipped = sounds.clipping(SOUNDS, IDS, 0).samples[0]
    assert float(clipped.abs().amax()) == pytest.approx(0.4, rel=1e-4)
    whole = SOUNDS.samples[0]
    torch.testing.assert_close(clipped[whole.abs() <= 0.2], 2 * whole[whole.abs() <= 0.2])
    torch.testing.assert_close(clipped[whole.abs() > 0.2].abs().amin(), whole.abs().amax())
    torch.testing.assert_close(sounds.gain(SOUNDS, IDS, 1).samples[0], SOUNDS.samples[0] / 10)


def test_drift_ends_as_far_away_as_stated_noise_stated_deviation() -> None:
    raw = walks()
    known = raw.measured[2]
    spread = known.std(0, correction=0)
    for strength, far in enumerate(series.DRIFT):
        drifted = series.drift(raw, IDS, strength).measured[2]
        torch.testing.assert_close((drifted - known)[-1].abs(), far * spread)
        torch.testing.assert_close(drifted[0], known[0])
    long = Series.of([np.random.default_rng(1).normal(5, 3, (4000, 2)).astype(np.float32)])
    added = (series.noise(long, IDS[:1], 1).measured - long.measured)[0]
    torch.testing.assert_close(added.std(0), 0.5 * long.measured[0].std(0), rtol=0.05, atol=0)


def test_channels_are_lost_one_after_the_other_and_one_is_left() -> None:
    lost = [series.dropped(walks(), IDS, strength).measured[0].isnan().all(0) for strength in STRENGTHS]
    assert [int(it.sum()) for it in lost] == [1, 2, 3]
    assert bool((lost[0] <= lost[1]).all() and (lost[1] <= lost[2]).all())
    half = walks()
    half.measured[0, :, :2] = torch.nan
    for strength in STRENGTHS:
        assert bool((~series.dropped(half, IDS, strength).measured[0].isnan().all(0)).any())
    single = Series.of([np.ones((5, 1), np.float32)])
    torch.testing.assert_close(series.dropped(single, IDS[:1], 2).measured, single.measured)


def test_slower_rate_keeps_single_steps_lies_between_runs() -> None:
    line = np.stack([np.arange(60), 3 - 2 * np.arange(60)], 1).astype(np.float32)
    line[5:9, 1] = np.nan
    straight = Series.of([line])
    raw = walks()
    for strength, slower in enumerate(series.SLOWER):
        found = series.resampling(straight, IDS[:1], strength).measured[0]
        torch.testing.assert_close(
            found[slower:-slower], straight.measured[0, slower:-slower], equal_nan=True
        )
        found = series.resampling(raw, IDS, strength).measured
        assert torch.equal(found.isnan(), raw.measured.isnan())
        same = (found[2] == raw.measured[2]).all(1).nonzero()[:, 0]
        assert len(same) == len(range(int(same[0]), 60, slower))
        assert (same.diff() == slower).all()
        bends = found[2].diff(n=2, dim=0).abs().amax(1) > 1e-4
        assert bends.sum() <= len(same)
    starts = [
        int(
            (series.resampling(raw[[2]], torch.tensor([key]), 2).measured == raw.measured[[2]])
            .all(2)
            .int()
            .argmax()
        )
        for key in range(20)
    ]
    assert len(set(starts)) > 3
    # Few measurements, and none, are no fault.
    rare = Series.of([np.full((12, 3), np.nan, np.float32)])
    rare.measured[0, 4, 0], rare.measured[0, [1, 9], 1] = 2.0, torch.tensor([1.0, 3.0])
    worst = series.resampling(rare, IDS[:1], 2).measured
    assert torch.equal(worst.isnan(), rare.measured.isnan())
    assert float(worst[0, 4, 0]) == 2
    assert worst[0, 1, 1] == worst[0, 9, 1]
