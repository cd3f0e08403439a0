"""Rows of soundscapes: what is heard in each and what words say of it, in whatever form models have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import numpy as np
from jaxtyping import Int16

from ...base import Rows
from ...labels import Classes
from ..world import SyntheticData
from .compose import SoundConfig, compose_sounds
from .presets import PRESETS, SoundPreset
from .soundscape import SOURCES, Soundscape, caption
from .synthesis import synthesise


class Soundscapes(SyntheticData[SoundConfig, Soundscape]):
    """Soundscapes of a preset, made when they are asked for."""

    preset: SoundPreset
    presets = PRESETS
    gaps = MappingProxyType(
        {
            "audio": ("sound", "missing_pictures"),
            "image": ("sound", "missing_pictures"),
            "text": ("text", "missing_captions"),
        }
    )

    def make(self, config: SoundConfig, index: int, stream: str) -> Soundscape:
        return compose_sounds(config, self.preset.seed, index, stream)

    def scape(self, row: int) -> Soundscape:
        """Return what is heard in a row."""
        return self.made(row)

    def waves(self, rows: Rows) -> Int16[np.ndarray, "n samples"]:
        """Return the waves of some rows, silent where the sound is missing."""
        waves = np.stack([synthesise(self.scape(int(row)), self.draws(int(row))) for row in rows])
        waves[~self.present("audio", rows)] = 0
        return waves

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
    def labels(self) -> Mapping[str, Classes]:
        """Return the labels of ``source``: what is heard first, or is said first."""
        values = np.array([SOURCES.index(self.scape(row).sounds[0].source) for row in range(len(self))])
        return {"source": Classes(SOURCES, values, ("a {}", "the sound of a {}"))}
