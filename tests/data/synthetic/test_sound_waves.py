"""Waves and spectrograms in closed form, and soundscapes in words."""

from __future__ import annotations

import wave
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.data.synthetic.sounds.mel import FLOOR, HIGHEST, LOWEST, spectrogram
from counterpoint.data.synthetic.sounds.soundscape import SOURCES, Sound, Soundscape, caption
from counterpoint.data.synthetic.sounds.synthesis import (
    AMPLITUDE,
    FUNDAMENTAL,
    GAP,
    LENGTH,
    RATE,
    SECONDS,
    save,
    synthesise,
    tone,
)


def test_a_tone_is_a_sine() -> None:
    samples = np.arange(4000)
    exact = 32767 * np.sin(2 * np.pi * 440 * samples / RATE)
    assert np.abs(tone(440, 4000) - exact).max() <= 32767 * 2 * np.pi / 2**14 + 1  # the step of the table


@pytest.mark.parametrize("hertz", [220, 440, 1000, 3000, 6000])
def test_a_tone_peaks_at_its_mel_band(hertz: int) -> None:
    column = spectrogram([tone(hertz, 2 * RATE).astype(np.int16)])[0, 0, :, 48]
    band = 95 - int(column.argmax())  # bands go upwards
    low, high = (2595 * np.log10(1 + edge / 700) for edge in (LOWEST, HIGHEST))
    peaks = 700 * (10 ** (np.linspace(low, high, 98)[1:-1] / 2595) - 1)  # evenly spaced in mel
    assert band == int(np.abs(peaks - hertz).argmin())
    assert column.max() >= 250  # a full sine is white


def test_ten_times_the_amplitude_is_twenty_decibels_brighter() -> None:
    wave = tone(1000, RATE)
    loud, soft = (spectrogram([(wave // part).astype(np.int16)])[0, 0].int().max() for part in (10, 100))
    assert abs(int(loud - soft) - 255 * 20 / -FLOOR) <= 1


def test_silence_is_black_and_short_waves_are_followed_by_it() -> None:
    pictures = spectrogram([np.zeros(100, np.int16), tone(500, RATE).astype(np.int16)], size=32, seconds=2)
    assert pictures.shape == (2, 3, 32, 32)
    assert not pictures[0].any()
    assert pictures[1, :, :, 8].any()
    assert not pictures[1, :, :, 20:].any()
    with pytest.raises(ValueError, match="at least one wave"):
        spectrogram([])


def test_sounds_follow_each_other_after_equal_gaps() -> None:
    scape = Soundscape((Sound("beep", length="short"), Sound("buzz", loudness="loud")))
    heard = np.abs(synthesise(scape).astype(int))
    first = slice(GAP, GAP + LENGTH["short"])
    second = slice(first.stop + GAP, first.stop + GAP + LENGTH["middle"])
    assert len(heard) == RATE * SECONDS
    assert heard[first].max() == AMPLITUDE["middle"]
    assert heard[second].max() == AMPLITUDE["loud"]
    heard[first] = heard[second] = 0
    assert not heard.any()


def test_sounds_at_once_add_up_whatever_their_order() -> None:
    one, other = Sound("hiss"), Sound("bell", pitch="high", length="long")
    both = synthesise(Soundscape((one, other), together=True)).astype(int)
    assert (both == synthesise(Soundscape((other, one), together=True))).all()
    assert (both == synthesise(Soundscape((one,))).astype(int) + synthesise(Soundscape((other,)))).all()


@pytest.mark.parametrize("pitch", ["low", "middle", "high"])
def test_pitch_is_the_fundamental(pitch: str) -> None:
    heard = synthesise(Soundscape((Sound("reed", pitch=pitch, length="long"),)))  # type: ignore[arg-type] # a pitch
    spectrum = np.abs(np.fft.rfft(heard[GAP : GAP + LENGTH["long"]]))
    assert abs(spectrum.argmax() * RATE / LENGTH["long"] - FUNDAMENTAL[pitch]) <= RATE / LENGTH["long"]


def test_waves_are_the_same_everywhere() -> None:
    """Integers throughout: a change here needs another version of the presets."""
    digest = blake2b(digest_size=8)
    for source in SOURCES:
        digest.update(synthesise(Soundscape((Sound(source),))).astype("<i2").tobytes())
    assert digest.hexdigest() == "2e346390e8ad3537"


def test_all_sources_sound_different() -> None:
    pictures = spectrogram([synthesise(Soundscape((Sound(source),))) for source in SOURCES], 32).float()
    apart = torch.cdist(pictures[:, 0].flatten(1), pictures[:, 0].flatten(1)).fill_diagonal_(torch.inf)
    assert apart.min() > 100


def test_wave_files_hold_the_samples(tmp_path: Path) -> None:
    samples = tone(440, 500).astype(np.int16)
    with wave.open(str(save(samples, tmp_path / "tone.wav")), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert (np.frombuffer(file.readframes(500), "<i2") == samples).all()


def test_captions_say_what_is_not_middling() -> None:
    sounds = (Sound("organ", pitch="high"), Sound("hiss", loudness="soft", length="short"), Sound("bell"))
    assert caption(Soundscape(sounds)) == "a high organ, then a short soft hiss, then a bell"
    together = Soundscape((Sound("organ"), *sounds[1:]), together=True)
    assert caption(together) == "an organ while a short soft hiss and a bell"


def test_impossible_sounds_are_refused() -> None:
    with pytest.raises(ValueError, match="a hiss has no pitch, so it cannot be high"):
        Sound("hiss", pitch="high")
    with pytest.raises(ValueError, match="together of two; got 1"):
        Soundscape((Sound("hiss"),), together=True)
    with pytest.raises(ValueError, match="4 sounds take longer than 2 s"):
        synthesise(Soundscape((Sound("beep", length="long"),) * 4))
