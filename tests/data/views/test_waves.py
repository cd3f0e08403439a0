"""Views of sounds: closed forms, and functions of keys alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import counterpoint as cp
from counterpoint.data import views
from counterpoint.data.views.keys import white
from counterpoint.data.views.waves import WAVE_VIEWS, WaveView, audio, level, reverberant
from counterpoint.networks.towers.sound import Waveform
from counterpoint.recipes.schema import Augmentation
from counterpoint.registry import UnknownNameError

INPUT = Waveform(1000, 0.5)


def sounds(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.2, length).astype(np.float32) for length in lengths]


def keys(count: int, view: str = "audio", epoch: int = 0) -> np.ndarray:
    return views.key(0, epoch, np.arange(count), view)


def test_plain_is_the_first_seconds() -> None:
    given = cp.Waves.of(sounds(800, 300), 1000)
    found = audio("plain")(given, keys(2), INPUT)
    assert torch.equal(found.nan_to_num(9), given.samples[:, :500].nan_to_num(9))


def test_a_recipe_may_have_sounds_heard_as_they_were_recorded() -> None:
    assert audio("weak", Augmentation(paired="plain")) == audio("plain")
    assert audio("weak", Augmentation(paired="convirt")) == audio("weak")
    assert audio("simclr", Augmentation(paired="plain")) == audio("simclr")


@pytest.mark.parametrize("name", list(WAVE_VIEWS))
def test_a_view_is_a_function_of_the_key_alone(name: str) -> None:
    given = sounds(800, 300, 1, 500, 1200, 40)
    together = audio(name)(cp.Waves.of(given, 1000), keys(6), INPUT)
    backwards = audio(name)(cp.Waves.of(given[::-1], 1000), keys(6)[::-1].copy(), INPUT).flip(0)
    assert torch.equal(together.nan_to_num(9), backwards.nan_to_num(9))
    for row, sound in enumerate(given):
        alone = audio(name)(cp.Waves.of([sound], 1000), keys(6)[row : row + 1], INPUT)[0]
        assert torch.equal(alone, together[row, : len(alone)])
        assert len(alone) == min(len(sound), 500)
        assert together[row, len(alone) :].isnan().all()
    assert together[:, 0].isfinite().all()


def test_views_of_other_keys_differ_and_sound_stays_as_it_was() -> None:
    given = cp.Waves.of(sounds(800, 300, 700), 1000)
    before = given.samples.clone()
    first, second = (audio("simclr")(given, keys(3, name), INPUT) for name in ("audio.1", "audio.2"))
    assert ((first - second).abs().nan_to_num(0).amax(1) > 0.01).all()
    assert torch.equal(given.samples.nan_to_num(9), before.nan_to_num(9))


def test_a_window_begins_anywhere_in_a_longer_sound() -> None:
    ramp = np.arange(502, dtype=np.float32)
    found = WaveView(window=True)(cp.Waves.of([ramp] * 300, 1000), keys(300), INPUT)
    assert set(found[:, 0].tolist()) == {0.0, 1.0, 2.0}
    assert torch.equal(found - found[:, :1], torch.arange(500.0).expand(300, -1))


def test_gain_and_shift_are_what_they_say() -> None:
    (sound,) = sounds(400)
    many = cp.Waves.of([sound] * 200, 1000)
    louder = WaveView(gain=6.0)(many, keys(200), INPUT) / many.samples
    assert louder.std(1).max() < 1e-5
    assert 0.5 < louder.min() < 0.55
    assert 1.85 < louder.max() < 2.0  # 6 dB are a factor of 1.995
    turned = WaveView(shift=0.1)(many, keys(200), INPUT)
    shifts = {
        next(s for s in range(-40, 41) if np.array_equal(np.roll(sound, s), one)) for one in turned.numpy()
    }
    assert min(shifts) < -30
    assert max(shifts) > 30


def test_noise_is_as_far_below_the_sound_as_was_drawn() -> None:
    (sound,) = sounds(500)
    found = WaveView(noise_p=1.0, noise=(10.0, 10.0))(cp.Waves.of([sound] * 50, 1000), keys(50), INPUT)
    noise = found.numpy() - sound
    below = 20 * np.log10(level(sound) / np.sqrt(np.square(noise).mean(1)))
    assert np.abs(below - 10).max() < 1.0
    assert np.abs(np.corrcoef(noise) - np.eye(50)).max() < 0.2


def test_white_noise_variance_1_of_more_samples_same_first_ones() -> None:
    key = keys(1)
    long = white(key, 40_001)
    assert np.array_equal(white(key, 1001), long[:1001])
    assert long.mean() == pytest.approx(0, abs=0.02)
    assert long.var() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(long[1:], long[:-1])[0, 1]) < 0.02


def test_a_room_answers_an_impulse_with_reflections_that_decay() -> None:
    impulse = np.zeros(300, np.float32)
    impulse[0] = 1
    heard = reverberant(impulse, 200.0, np.array([0.0, 0.5, 0.1, 0.9]))
    assert np.flatnonzero(heard).tolist() == [0, 1, 101]
    assert np.square(heard).sum() == pytest.approx(1)
    first, near, far = heard[[0, 1, 101]].tolist()
    assert near / first == pytest.approx(10 ** (-3 * 1 / 200), rel=1e-5)
    assert far / first == pytest.approx(-(10 ** (-3 * 101 / 200)), rel=1e-5)


def test_refusals() -> None:
    given = cp.Waves.of(sounds(20), 2000)
    with pytest.raises(ValueError, match="takes sounds of 1000"):
        audio("weak")(given, keys(1), INPUT)
    with pytest.raises(ValueError, match="keys must be one per sound: got 2 for 1"):
        audio("weak")(given, keys(2), Waveform(2000))
    with pytest.raises(UnknownNameError, match="unknown view of sounds 'week': did you mean 'weak'"):
        audio("week")
