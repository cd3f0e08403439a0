"""``sounds``: soundscapes of which everything is known, as pictures of their spectrograms, as a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import final

import numpy as np
from jaxtyping import Int16, UInt8
from torch import Tensor

from ....reasons import counted
from ...base import Labels, Rows, SomeItems
from ...items import MinimalPairs
from ..world import GREY, World
from .compose import SoundConfig, compose_sounds
from .items import SoundMinimalPairs
from .mel import spectrogram
from .presets import PRESETS, SoundPreset
from .soundscape import SOURCES, Soundscape, caption
from .synthesis import synthesise


@final
class Sounds(World[SoundConfig, Soundscape]):
    """Soundscapes of a preset, made when they are asked for; the picture of a row is its log-mel spectrogram.

    Args:
        preset: what they are like, and how many there are.
        name: how the user named it.

    >>> world = Sounds.parse("sounds:order,train=300")
    >>> world.waves(np.array([0, 1])).shape, world.images(np.array([0])).shape
    ((2, 32000), torch.Size([1, 3, 96, 96]))
    """

    preset: SoundPreset
    presets = PRESETS
    gaps = MappingProxyType({"image": ("sound", "missing_pictures"), "text": ("text", "missing_captions")})

    def make(self, config: SoundConfig, index: int, stream: str) -> Soundscape:
        return compose_sounds(config, self.preset.seed, index, stream)

    def scape(self, row: int) -> Soundscape:
        """Return what is heard in a row."""
        return self.made(row)

    def waves(self, rows: Rows) -> Int16[np.ndarray, "n samples"]:
        """Return the waves of some rows, silent where the sound is missing."""
        waves = np.stack([synthesise(self.scape(int(row)), self.draws(int(row))) for row in rows])
        waves[~self.present("image", rows)] = 0
        return waves

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return the spectrograms of some rows, grey where the sound is missing."""
        pictures = spectrogram(list(self.waves(rows)), self.preset.pixels)
        pictures[~self.present("image", rows)] = GREY
        return pictures

    def captions(self, row: int) -> Sequence[str]:
        """Return a caption of what is heard; empty if the caption is missing."""
        return ["" if self.lacks("text", row) else caption(self.scape(row))]

    @cached_property
    def subsets(self) -> np.ndarray:
        """Return the subset of each row: one sound, several after each other, or several at once."""
        scapes = [self.scape(row) for row in range(len(self))]
        return np.array(
            ["one" if len(s.sounds) == 1 else "together" if s.together else "in order" for s in scapes]
        )

    @cached_property
    def labels(self) -> Mapping[str, Labels]:
        """Return the labels of ``source``: what is heard first, or is said first."""
        values = np.array([SOURCES.index(self.scape(row).sounds[0].source) for row in range(len(self))])
        return {"source": Labels(SOURCES, values, ("a {}", "the sound of a {}"))}

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        """Return squares of some rows: their soundscapes beside twins in order or attribute.

        Raises:
            LookupError: for another form, where no row has a twin, or where kinds are chosen.
        """
        if form is not MinimalPairs or kinds is not None:
            return super().items(form, rows, kinds)
        squares = SoundMinimalPairs(self, rows)
        if not len(squares):
            raise LookupError(
                f"none of {counted(len(rows), 'row')} of {self.name!r} has two sounds to exchange"
            )
        return squares  # type: ignore[return-value] # SomeItems is MinimalPairs here
