"""Sounds from files: one channel, at the rate that a tower takes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from math import gcd
from typing import Literal

import numpy as np
from jaxtyping import Float32

from ...raw import Waves
from ...registry import require

HEARD = 5
"""Seconds of a sound that a report plays, at most: what it holds travels with the page."""
_WAV = b"RIFF"


def read_sound(data: bytes, rate: int) -> Float32[np.ndarray, " T"]:
    """Read the bytes of a sound file: its channels' mean in [−1, 1], at a rate.

    Args:
        data: of a WAV file; of any that libsndfile reads (FLAC, OGG, MP3 …) with the package soundfile.
        rate: samples a second of what is returned.

    Raises:
        MissingPackage: for a file that is no WAV, without the package soundfile.
        ValueError: for bytes that are no sound, or one without samples, or of samples that are not finite.
    """
    samples, file_rate = _wav(data) if data[:4] == _WAV else _other(data)
    mono = samples.mean(1, dtype=np.float32) if samples.ndim > 1 else samples
    if not len(mono):
        raise ValueError("the sound has no samples")
    if not np.isfinite(mono).all():
        raise ValueError("the sound holds samples that are not finite")
    return resampled(mono, file_rate, rate)


def rate_of(data: bytes) -> int:
    """Return the samples a second of a sound file.

    Raises:
        MissingPackage, ValueError: as `read_sound`.
    """
    return (_wav(data) if data[:4] == _WAV else _other(data))[1]


def resampled(
    samples: Float32[np.ndarray, "*n T"],
    old_rate: int,
    rate: int,
    *,
    beyond: Literal["constant", "line"] = "constant",
) -> Float32[np.ndarray, "*n T2"]:
    """Return samples of one rate at another; themselves where the rates are the same.

    Args:
        samples: over time.
        old_rate, rate: samples a second.
        beyond: what the filter takes for samples before the first and behind the last: zeros (``"constant"``), or the
            line through these two.
    """
    if old_rate != rate:
        from scipy.signal import resample_poly

        common = gcd(rate, old_rate)
        samples = resample_poly(samples, rate // common, old_rate // common, axis=-1, padtype=beyond)
    return np.ascontiguousarray(samples, dtype=np.float32)


def pack_sounds(sounds: Sequence[Float32[np.ndarray, " _"]], rate: int) -> Waves:
    """Return sounds of one rate as their raw form."""
    return Waves.of(sounds, rate)


def play_sound(sound: Waves) -> tuple[str, bytes]:
    """Return the first `HEARD` seconds of one sound as a WAV file of 16 bits, with its kind.

    >>> kind, file = play_sound(Waves.of([np.zeros(100)], rate=8000))
    >>> kind, file[:4], len(file)
    ('audio/wav', b'RIFF', 244)
    """
    from scipy.io import wavfile

    samples = sound.samples[0, : int(sound.lengths)][: HEARD * sound.rate]
    file = io.BytesIO()
    wavfile.write(file, sound.rate, (samples.clamp(-1, 1) * 32767).round().short().numpy())
    return "audio/wav", file.getvalue()


def store_sound(sound: Waves) -> tuple[str, bytes]:
    """Return one sound as a WAV file of its samples as they are, with its kind."""
    from scipy.io import wavfile

    file = io.BytesIO()
    wavfile.write(file, sound.rate, sound.samples[0, : int(sound.lengths)].numpy())
    return "wav", file.getvalue()


def _wav(data: bytes) -> tuple[np.ndarray, int]:
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", category=wavfile.WavFileWarning
            )  # of chunks that say nothing here
            rate, samples = wavfile.read(io.BytesIO(data))
    except Exception as error:  # whatever a damaged header raises
        raise ValueError(f"no whole WAV file: {error}") from error
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128, rate
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min), rate
    return samples.astype(np.float32), rate


def _other(data: bytes) -> tuple[np.ndarray, int]:
    soundfile = require("soundfile", "audio")
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except soundfile.LibsndfileError as error:
        # Its reason alone, without the object that the bytes are read from.
        raise ValueError(f"no sound that libsndfile reads: {error.error_string}") from error
    return samples, rate
