"""Sounds from files: one channel, at the rate that a tower takes."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from ...networks.base import FormedInput, Input
from ...raw import Waves
from ...registry import require

_WAV = b"RIFF"
_RATES = range(100, 10_000_001)
"""Samples a second that a file may state: of others a damaged header speaks, and resampling them takes gigabytes."""
_TERMS = 100_000
"""Most that either term of the ratio of two rates is, where another one of such terms is close to it: the filter of
resampling is twenty times as long."""
_CLOSE = 1e-4
_UNKNOWN = 0x7FFF_F000
"""Bytes of samples from which on a WAV file states no number: what writes into a pipe does not know it yet."""
_PRESENT = 0.99
"""Share of the samples it states that a WAV file holds at least; some programs count a few bytes too many."""


def read_sound(data: bytes, rate: int) -> Float32[np.ndarray, " T"]:
    """Read the bytes of a sound file: its channels' mean in [−1, 1], at a rate.

    Args:
        data: of a WAV file; of any that libsndfile reads (FLAC, OGG, MP3 …) with the package soundfile.
        rate: samples a second of what is returned.

    Raises:
        MissingPackageError: for a file that is no WAV, without the package soundfile.
        ValueError: for bytes that are no sound or not a whole one, one without samples, one of samples that are not
            finite, and one of a rate that no sound has.
    """
    samples, file_rate = _wav(data) if data[:4] == _WAV else _other(data)
    if file_rate not in _RATES:
        raise ValueError(
            f"the file says {file_rate:,} samples a second; sounds of {_RATES[0]} to {_RATES[-1]:,} are read"
        )
    mono = samples.mean(1, dtype=np.float32) if samples.ndim > 1 else samples
    if not len(mono):
        raise ValueError("the sound has no samples")
    if not np.isfinite(mono).all():
        raise ValueError("the sound holds samples that are not finite")
    return resampled(mono, file_rate, rate)


def rate_of(data: bytes) -> int:
    """Return the samples a second of a sound file.

    Raises:
        MissingPackageError, ValueError: as `read_sound`.
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

        ratio = _ratio(rate, old_rate)
        samples = resample_poly(samples, ratio.numerator, ratio.denominator, axis=-1, padtype=beyond)
    return np.ascontiguousarray(samples, dtype=np.float32)


def _ratio(rate: int, old_rate: int) -> Fraction:
    """Return the ratio of two rates, or one of smaller terms that no clock of a recorder would tell from it."""
    exact = Fraction(rate, old_rate)
    if max(exact.numerator, exact.denominator) <= _TERMS:
        return exact
    below_one = min(exact, 1 / exact)
    near = below_one.limit_denominator(_TERMS)
    if abs(near / below_one - 1) > _CLOSE:
        return exact
    return near if exact < 1 else 1 / near


def pack_sounds(sounds: Sequence[Float32[np.ndarray, " _"]], rate: int) -> Waves:
    """Return sounds of one rate as their raw form."""
    return Waves.of(sounds, rate)


def accept_sounds(inputs: Any, input: Input) -> Any:
    """Return the raw form of sounds as users have them: paths, the bytes of files, or arrays at the tower's rate.

    Anything else stays as it is.

    >>> from counterpoint.networks.towers.sound import Waveform
    >>> accept_sounds([np.zeros(100), np.zeros(50)], Waveform(16_000)).lengths
    tensor([100,  50])

    Args:
        inputs: a path, bytes, an array or a tensor ``(T,)`` of samples in [−1, 1], or a list of these.
        input: of the model's audio tower, which states the rate that files are resampled to and arrays must have.

    Raises:
        FileNotFoundError: for a path without a file.
        ValueError: for a file that is no sound.
    """
    sounds = inputs if isinstance(inputs, list | tuple) else [inputs]
    if not sounds or not isinstance(input, FormedInput):
        return inputs
    for sound in sounds:
        if not (
            isinstance(sound, str | Path | bytes)
            or (isinstance(sound, np.ndarray | Tensor) and sound.ndim == 1)
        ):
            return inputs
    return Waves.of([_accepted(sound, input.form) for sound in sounds], input.form)


def _accepted(sound: Any, rate: int) -> np.ndarray:
    if isinstance(sound, bytes):
        return read_sound(sound, rate)
    if isinstance(sound, str | Path):
        try:
            return read_sound(Path(sound).read_bytes(), rate)
        except FileNotFoundError:
            raise FileNotFoundError(f"there is no sound {sound}") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{sound} cannot be read as a sound: {error}") from error
    return sound.cpu().numpy() if isinstance(sound, Tensor) else sound


def play_sound(sound: Waves, seconds: float) -> tuple[str, bytes]:
    """Return the first seconds of one sound as a WAV file of 16 bits, with its kind.

    >>> kind, file = play_sound(Waves.of([np.zeros(100)], rate=8000), 5)
    >>> kind, file[:4], len(file)
    ('audio/wav', b'RIFF', 244)
    """
    from scipy.io import wavfile

    samples = sound.samples[0, : int(sound.lengths)][: round(seconds * sound.rate)]
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

    stated, actual = _bytes_of_samples(data)
    if stated < _UNKNOWN and actual < _PRESENT * stated:
        raise ValueError(f"no whole WAV file: it holds {actual:,} of {stated:,} bytes of samples")
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


def _bytes_of_samples(data: bytes) -> tuple[int, int]:
    """Return how many bytes of samples a WAV file states, and how many it holds; none without its chunk of samples.

    SciPy only warns of a file that ends early, of one of unknown size too; `wave` knows no samples that are floats.
    """
    place = len(_WAV) + 8  # behind the size of the whole, and WAVE
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        place += 8
        if name == b"data":
            return size, min(size, len(data) - place)
        place += size + size % 2
    return 0, 0


def _other(data: bytes) -> tuple[np.ndarray, int]:
    soundfile = require("soundfile", "audio")
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except soundfile.LibsndfileError as error:
        # Its reason alone, without the object that the bytes are read from.
        raise ValueError(f"no sound that libsndfile reads: {error.error_string}") from error
    except Exception as error:  # whatever a damaged header raises; MemoryError of a length that it makes up
        raise ValueError(f"no sound that libsndfile reads: {error or type(error).__name__}") from error
    return samples, rate
