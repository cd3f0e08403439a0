"""Rows of clips: what each shows, sounds like and is called, in whatever form models have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Self

import numpy as np
from jaxtyping import Float64, Int16, UInt8
from torch import Tensor

from ...base import Rows, SomeItems
from ...labels import Classes
from ...rng import Rng
from ..scenes.pixels.sprites import credit_line
from ..scenes.words.lexicon import lexicon
from ..world import GREY, SyntheticData
from .clip import ACTIONS, Clip, film
from .compose import compose_clip
from .config import ClipConfig
from .items import items_of
from .presets import PRESETS, ClipPreset
from .sensors import acceleration
from .sounding import soundtrack
from .words.captions import caption
from .words.contrasts import CONTRASTS, Contrasted, contrasted, exchanged


class SyntheticClips(SyntheticData[ClipConfig, Clip]):
    """Clips of a preset, made when they are asked for.

    Args:
        preset: what the clips are like, and how many there are.
        name: how the user named it.
    """

    preset: ClipPreset
    presets = PRESETS
    gaps = MappingProxyType(
        {
            "video": ("video", "missing_pictures"),
            "image": ("video", "missing_pictures"),
            "text": ("text", "missing_captions"),
            "series": ("sensor", "missing_sensors"),
        }
    )

    def __init__(self, preset: ClipPreset, name: str = "") -> None:
        super().__init__(preset, name)
        self._pairs = lru_cache(maxsize=2**16)(self._contrasted)
        self.attribution = credit_line({artist for config in self.configs for artist in config.artists})

    def make(self, config: ClipConfig, index: int, stream: str) -> Clip:
        if not self.preset.contrasts:
            return self._composed(config, index, stream)
        pair = self._pairs(config, index, stream)
        return pair.shown if pair else self._composed(config, index, stream)

    def _composed(self, config: ClipConfig, index: int, stream: str) -> Clip:
        clip = compose_clip(config, self.preset.seed, index - index % 2 * config.twins, stream)
        return _in_other_order(clip) if config.twins and index % 2 else clip

    def _contrasted(self, config: ClipConfig, index: int, stream: str) -> Contrasted | None:
        clip, draws = self._composed(config, index, stream), Rng(self.preset.seed, index, stream)
        return contrasted(clip, draws, config, self.preset.contrasts or CONTRASTS)

    def contrasted(self, row: int) -> Contrasted | None:
        """Return the clip of a row beside its contrast, either of which may be shown; None where it has none."""
        return self._pairs(self.config(row), int(self.ids[row]), self.stream(row))

    def clip(self, row: int) -> Clip:
        """Return what the video of a row shows."""
        return self.made(row)

    def twins(self) -> Self:
        """Return the same rows, the first and the last event of each clip in each other's place."""
        others = copy(self)
        others.made = lru_cache(maxsize=2**16)(lambda row: _in_other_order(self.clip(row)))
        return others

    def frames(self, rows: Rows, pixels: int = 0) -> UInt8[Tensor, "n T 3 H W"]:
        """Return the frames of some rows, grey where the video is missing.

        Args:
            rows: of the data.
            pixels: side of a frame; the preset's unless given.
        """
        frames = film([self.clip(int(row)) for row in rows], pixels or self.preset.pixels)
        frames[~self.present("video", rows)] = GREY
        return frames

    def sensors(self, rows: Rows) -> Float64[np.ndarray, "n samples 2"]:
        """Return the acceleration of the thing to which something happens first, zero where the stream is missing."""
        streams = []
        for row, there in zip(map(int, rows), self.present("series", rows), strict=True):
            clip, config = self.clip(row), self.config(row)
            measured = acceleration(
                clip, clip.events[0].thing, config.sensor_rate, config.sensor_noise, self.draws(row)
            )
            streams.append(measured if there else np.zeros_like(measured))
        return np.stack(streams)

    def waves(self, rows: Rows) -> Int16[np.ndarray, "n samples"]:
        """Return what is heard of some rows: a tone for each thing as it moves, higher the higher the thing is."""
        return np.stack([soundtrack(self.clip(int(row))) for row in rows])

    def captions(self, row: int) -> Sequence[str]:
        """Describe what happens, in each language; return an empty text if the caption is missing."""
        if self.lacks("text", row):
            return [""]
        return [caption(self.clip(row), language) for language in self.preset.languages]

    @cached_property
    def subsets(self) -> np.ndarray:
        """Return the subset of each row: its number of events, in words."""
        words = lexicon("en").numbers
        counts = [len(self.clip(row).events) for row in range(len(self))]
        return np.array([f"{words[count]} event{'' if count == 1 else 's'}" for count in counts])

    @cached_property
    def labels(self) -> Mapping[str, Classes]:
        """Return the labels of ``action``: what happens first."""
        values = np.array([ACTIONS.index(self.clip(row).events[0].action) for row in range(len(self))])
        words = {**lexicon("en").actions, "change colour": ("changes", "its colour")}
        names = tuple(" ".join(filter(None, words[action])) for action in ACTIONS)
        return {"action": Classes(names, values, ("something {}",))}

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        """Return contrasts, renditions, narrations or twins of some rows."""
        if kinds is not None:
            return super().items(form, rows, kinds)
        return items_of(self, form, rows)


def _in_other_order(clip: Clip) -> Clip:
    return exchanged(clip, 0, len(clip.events) - 1)
