"""Sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..modalities import MODALITIES, resolve
from .examples import Raw, ends, padded, read_each


@final
@dataclass(frozen=True, eq=False)
class Waves(Raw):
    """Sounds of one channel and one rate.

    >>> waves = Waves.of([np.zeros(8), np.ones(4)], rate=8000)
    >>> waves.lengths, waves[1].samples.shape, waves.seconds
    (tensor([8, 4]), torch.Size([1, 8]), tensor([0.0010, 0.0005]))

    Attributes:
        samples: in [−1, 1], NaN behind the end of a sound.
        rate: samples a second.
    """

    samples: Float[Tensor, "n T"]
    rate: int

    @classmethod
    def of(cls, sounds: Sequence[np.ndarray] | np.ndarray, rate: int) -> Waves:
        """Return sounds of different lengths, each ``(T,)``; those of one length may be one array ``(n, T)``.

        Raises:
            ValueError: for whole numbers, as files hold them, for several channels, and for a rate that is none.
        """
        arrays = [np.asarray(sound) for sound in sounds]
        for number, sound in enumerate(arrays):
            if sound.ndim != 1:
                raise ValueError(
                    f"sound {number} is of shape {sound.shape}, and a sound has one channel (T,): sound.mean(1) mixes "
                    "those of (T, channels)"
                )
            if sound.dtype.kind in "iu":
                raise ValueError(
                    f"sound {number} holds {sound.dtype}, and samples are in [−1, 1]: divide them by "
                    f"{np.iinfo(sound.dtype).max + 1}, or read the file with cp.Waves.read"
                )
        if rate < 1:
            raise ValueError(f"a rate is a number of samples a second, from 1 on, got {rate}")
        return cls(padded(arrays), rate)

    @classmethod
    def read(cls, paths: Sequence[str | Path], rate: int = 16_000) -> Waves:
        """Read files, mixed down to one channel, at a rate.

        Raises:
            MissingPackageError: for a file that is no WAV, without the package soundfile.
            ValueError: for a file that holds no sound; the message names it.
        """
        read = resolve(MODALITIES.get("audio").read)
        return cls.of(read_each(paths, lambda data: read(data, rate)), rate)

    @property
    def values(self) -> Tensor:
        return self.samples

    def with_values(self, values: Tensor) -> Waves:
        return Waves(values, self.rate)

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """The samples of each sound."""
        return ends(self.samples)

    @property
    def seconds(self) -> Float[Tensor, " n"]:
        """The length of each sound in seconds."""
        return self.lengths / self.rate


def check_waves(waves: object) -> Waves:
    """Return sounds that can be embedded.

    Raises:
        ValueError: for anything else, for none, and for a sound without a sample or with an infinite one.

    >>> check_waves(np.zeros((2, 100)))
    Traceback (most recent call last):
    ...
    ValueError: sounds must be cp.Waves, which know their rate, got ndarray: cp.Waves.of(sounds, rate=16000)
    """
    if not isinstance(waves, Waves):
        raise ValueError(
            f"sounds must be cp.Waves, which know their rate, got {type(waves).__name__}: cp.Waves.of(sounds, "
            "rate=16000)"
        )
    if not len(waves):
        raise ValueError("there is nothing to embed: there are no sounds")
    if waves.samples.isinf().any():
        raise ValueError("a sound holds infinite values")
    if len(empty := torch.nonzero(waves.lengths == 0)):
        raise ValueError(f"sound {int(empty[0])} is empty: it has no sample")
    return waves
