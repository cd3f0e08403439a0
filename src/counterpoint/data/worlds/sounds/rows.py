"""Rows of soundscapes, as far as what is asked about them needs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from ..rng import Rng
from .presets import SoundPreset
from .soundscape import Soundscape


@runtime_checkable
class SoundRows(Protocol):
    """Rows that are soundscapes: a world of sounds is one, and what is asked about it needs no more."""

    ids: Int64[np.ndarray, " n"]
    preset: SoundPreset

    def scape(self, row: int, /) -> Soundscape: ...
    def draws(self, row: int) -> Rng: ...
