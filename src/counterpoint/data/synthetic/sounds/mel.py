"""Waves as pictures: log-mel spectrograms, so that towers for pictures can read them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float64, Int16, UInt8
from torch import Tensor

from .synthesis import RATE

WINDOW = 1024
"""Samples of a Hann window: 64 ms."""
LOWEST, HIGHEST = 60.0, 8000.0
"""Hertz between which the mel bands lie."""
FLOOR = -80.0
"""Decibels below a full sine that are black; a full sine is white."""


def spectrogram(
    waves: Sequence[Int16[np.ndarray, " _"]], size: int = 96, seconds: float | None = None
) -> UInt8[Tensor, "k 3 size size"]:
    """Draw log-mel spectrograms as grey pictures: time to the right, ``size`` mel bands upwards.

    Brightness is absolute, from `FLOOR` to a full sine, so loud and soft sounds differ. With p the power in a band,
    relative to that of a full sine at its peak: 255 (10 log₁₀ p − floor) / −floor, rounded.

    Args:
        waves: of 16 bits at `RATE`.
        size: height and width of a picture.
        seconds: that a picture shows; what is shorter is followed by silence, what is longer is cut. The longest
            wave's length unless given.

    Raises:
        ValueError: if there are no waves.
    """
    if not len(waves):
        raise ValueError("expected at least one wave, got none")
    longest = round(seconds * RATE) if seconds else max(map(len, waves))
    middles = (2 * np.arange(size) + 1) * longest // (2 * size)
    window, bands = np.hanning(WINDOW + 1)[:-1], _bands(size)
    pictures = np.empty((len(waves), size, size), np.uint8)
    for wave, picture in zip(waves, pictures, strict=True):
        padded = np.zeros(longest + WINDOW)
        kept = wave[:longest]
        padded[WINDOW // 2 : WINDOW // 2 + len(kept)] = kept / 32768
        frames = padded[middles[:, None] + np.arange(WINDOW)] * window
        power = np.abs(np.fft.rfft(frames)) ** 2 / (window.sum() / 2) ** 2  # a full sine's peak is 1
        decibels = 10 * np.log10(np.maximum(power @ bands, 10 ** (FLOOR / 10)))
        grey = np.rint(255 * np.clip(decibels - FLOOR, 0, -FLOOR) / -FLOOR)
        picture[...] = grey.T[::-1].astype(np.uint8)
    return torch.from_numpy(pictures)[:, None].expand(-1, 3, -1, -1).contiguous()


@cache
def _bands(bands: int) -> Float64[np.ndarray, "bins bands"]:
    from transformers.audio_utils import mel_filter_bank

    return mel_filter_bank(
        num_frequency_bins=WINDOW // 2 + 1,
        num_mel_filters=bands,
        min_frequency=LOWEST,
        max_frequency=HIGHEST,
        sampling_rate=RATE,
        mel_scale="htk",
        triangularize_in_mel_space=True,
    )
