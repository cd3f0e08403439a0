"""Rows of clips, as far as what is asked about them needs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from ...base import Data
from ...rng import Rng
from .clip import Clip
from .config import ClipConfig
from .presets import ClipPreset
from .words.contrasts import Contrasted


@runtime_checkable
class ClipRows(Protocol):
    """Rows that are clips: a world of clips is one, and what is asked about it needs no more."""

    name: str
    ids: Int64[np.ndarray, " n"]
    preset: ClipPreset
    attribution: str

    def clip(self, row: int, /) -> Clip: ...
    def config(self, row: int) -> ClipConfig: ...
    def draws(self, row: int) -> Rng: ...
    def contrasted(self, row: int) -> Contrasted | None: ...
    def twins(self) -> Data: ...
