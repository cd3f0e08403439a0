"""Rows of scenes, as far as their items, labels and annotations ask, and pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from ...base import Rows
from ...rng import Rng
from .config import SceneConfig
from .presets import ScenePreset
from .scene import Scene


@runtime_checkable
class ComposedRows(Protocol):
    """Rows that are scenes, in whatever form they are shown or spoken of."""

    @property
    def configs(self) -> Sequence[SceneConfig]:
        """The configuration of every split."""
        ...

    def __len__(self) -> int: ...
    def scene(self, row: int, /) -> Scene: ...
    def config(self, row: int) -> SceneConfig: ...
    def draws(self, row: int) -> Rng: ...


@runtime_checkable
class SceneRows(ComposedRows, Protocol):
    """Rows that are pictures of scenes: a world of scenes is one, and what is asked about it needs no more."""

    name: str
    ids: Int64[np.ndarray, " n"]
    preset: ScenePreset
    pixels: int
    attribution: str

    def second(self, row: int, /) -> Scene: ...


@runtime_checkable
class PrerenderedPictures(Protocol):
    """Pictures that were drawn before."""

    pixels: int

    def __call__(self, rows: Rows) -> Tensor: ...

    def made_of(self) -> str:
        """Return a description that changes with the pictures, wherever they lie."""
