"""From soundscapes to waves, in whole numbers: phases of 32 bits, a table of the sine, products and shifts.

A wave is the same on every machine, as a phase never is rounded and the table's 16 bits do not feel the last digits
in which libraries' sines differ.
"""

from __future__ import annotations

import io
import math
import wave
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int16, Int64

from ....files import writing
from ...rng import Rng
from ...views.keys import uniform
from .soundscape import Sound, Soundscape, Source

RATE = 16_000
"""Samples per second."""
SECONDS = 2
FUNDAMENTAL = {"low": 220, "middle": 440, "high": 880}
"""The fundamental frequency of each pitch, in hertz."""
AMPLITUDE = {"soft": 1_200, "middle": 3_600, "loud": 10_800}
"""Peak of one sound, of 32,767; steps of 9.5 dB."""
LENGTH = {"short": RATE * 15 // 100, "middle": RATE * 30 // 100, "long": RATE * 60 // 100}
"""The length of a sound, in samples."""
GAP = RATE * 5 // 100
"""Samples of silence before each sound and between two; the same everywhere, so gaps say nothing."""
_FADE = RATE // 100
_TABLE = 14  # bits of a phase that the sine is looked up by
_ONE = 1 << 15

# Partials of each timbre: multiples of the fundamental in sixteenths, and amplitudes.
_PARTIALS: dict[Source, tuple[tuple[int, int], ...]] = {
    "beep": ((16, 1),),
    "buzz": tuple((16 * k, 60 // k) for k in range(1, 7)),
    "reed": tuple((16 * k, 105 // k) for k in (1, 3, 5, 7)),
    "organ": ((16, 4), (32, 3), (64, 2)),
    "bell": ((16, 5), (44, 4), (83, 2)),
    "pluck": tuple((16 * k, 12 // k) for k in (1, 2, 3, 4)),
}
_DECAYING = ("bell", "pluck")


def synthesise(scape: Soundscape, draws: Rng | None = None) -> Int16[np.ndarray, " samples"]:
    """Synthesise a wave of `SECONDS` at `RATE`; sounds that are said at once start together, others follow each other.

    Args:
        scape: what is heard.
        draws: of the noise in hisses, rumbles and rattles, the same wherever they come; a fixed one unless given.

    Raises:
        ValueError: if the sounds take longer than there is time.
    """
    draws = draws or Rng(0, 0, "sound")
    mixed = np.zeros(RATE * SECONDS, np.int64)
    start = GAP
    for sound in scape.sounds:
        one = _sound(sound, Rng(draws.word(f"noise of {sound.source}"), 0))
        if start + len(one) > len(mixed):
            raise ValueError(f"{len(scape.sounds)} sounds take longer than {SECONDS} s: leave some out")
        mixed[start : start + len(one)] += one
        if not scape.together:
            start += len(one) + GAP
    return np.clip(mixed, -_ONE, _ONE - 1).astype(np.int16)


def tone(hertz: int, samples: int) -> Int64[np.ndarray, " samples"]:
    """Return a sine of amplitude 2¹⁵ − 1 in whole numbers."""
    return glide(np.full(samples, hertz * 16, np.int64))


def glide(sixteenths: Int64[np.ndarray, " samples"]) -> Int64[np.ndarray, " samples"]:
    """Return a sine whose frequency changes: at every sample so many sixteenths of a hertz."""
    return _sine(_phases(sixteenths))


def save(samples: Int16[np.ndarray, " samples"], path: str | Path, rate: int = RATE) -> Path:
    """Save a wave file of one channel and 16 bits."""
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    with writing(Path(path)) as part:
        part.write_bytes(held.getvalue())
    return Path(path)


def _sound(sound: Sound, draws: Rng) -> Int64[np.ndarray, " samples"]:
    samples, base = LENGTH[sound.length], FUNDAMENTAL[sound.pitch]
    raw = _raw(sound.source, base, samples, draws)
    fade = np.minimum(np.arange(samples), np.arange(samples)[::-1]).clip(max=_FADE)
    shaped = raw * fade // _FADE
    if sound.source in _DECAYING:
        left = samples - np.arange(samples)
        shaped = shaped * left // samples * left // samples
    return shaped * AMPLITUDE[sound.loudness] // max(int(np.abs(shaped).max()), 1)


def _raw(source: Source, base: int, samples: int, draws: Rng) -> Int64[np.ndarray, " samples"]:
    steps = np.arange(samples)
    if source in _PARTIALS:
        partials = [
            weight * _sine(_phases(np.full(samples, base * multiple, np.int64)))
            for multiple, weight in _PARTIALS[source]
        ]
        return np.sum(partials, axis=0)
    if source == "whistle":  # rises by an octave
        return _sine(_phases(16 * base + 16 * base * steps // samples))
    if source == "siren":  # falls by an octave
        return _sine(_phases(32 * base - 16 * base * steps // samples))
    if source == "trill":  # a fourth up and down, sixteen times a second
        return _sine(_phases(np.where(steps * 16 // RATE % 2, 64 * base // 3, 16 * base)))
    keys = np.array([draws.word("noise")], np.uint64)
    noise: np.ndarray = (uniform(keys, "noise", samples)[0] * 2**16).astype(np.int64) - _ONE
    if source == "rattle":  # bursts of noise, twelve a second
        noise *= steps * 24 // RATE % 2 == 0
    if source == "rumble":  # noise summed over 5 ms
        total = np.cumsum(np.concatenate([np.zeros(80, np.int64), noise]))
        noise = total[80:] - total[:-80]
    return noise


def _phases(sixteenths: Int64[np.ndarray, " samples"]) -> Int64[np.ndarray, " samples"]:
    """Return the phase at every sample, in parts of 2³², from frequencies in sixteenths of a hertz."""
    steps = (sixteenths << 32) // (16 * RATE)
    return (np.cumsum(steps) - steps[0]) & (2**32 - 1)


def _sine(phases: Int64[np.ndarray, " samples"]) -> Int64[np.ndarray, " samples"]:
    return _table()[phases >> (32 - _TABLE)]


@cache
def _table() -> Int64[np.ndarray, " entries"]:
    entries = 1 << _TABLE
    return np.array([round((_ONE - 1) * math.sin(2 * math.pi * k / entries)) for k in range(entries)])
