"""``clips``: short videos composed of emoji, of which everything is known, as a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import final

import numpy as np
from jaxtyping import Float64, UInt8
from torch import Tensor

from ...base import Labels, PairedData, Rows, SomeItems
from ..scenes.pixels.sprites import credit_line
from ..scenes.words.lexicon import lexicon
from ..world import GREY, World
from .captions import caption
from .clip import ACTIONS, Clip, film
from .compose import compose_clip
from .config import ClipConfig
from .items import items_of
from .presets import PICTURES, PRESETS, ClipPreset
from .sensors import acceleration


@final
class Clips(World[ClipConfig, Clip], PairedData):
    """Clips of a preset, made when they are asked for.

    A row's picture is a contact sheet of nine frames or the middle frame, so that a tower that knows pictures can
    learn from it; its frames are in `frames`, its sensor stream in `sensors`.

    Args:
        preset: what the clips are like, and how many there are.
        name: how the user named it.

    >>> world = Clips.parse("clips:basic,train=300")
    >>> world.frames(np.array([0, 1])).shape, world.images(np.array([0])).shape
    (torch.Size([2, 12, 3, 48, 48]), torch.Size([1, 3, 144, 144]))
    """

    preset: ClipPreset
    presets = PRESETS
    gaps = MappingProxyType(
        {
            "image": ("video", "missing_pictures"),
            "text": ("text", "missing_captions"),
            "sensor": ("sensor", "missing_sensors"),
        }
    )

    def __init__(self, preset: ClipPreset, name: str = "") -> None:
        super().__init__(preset, name)
        self.attribution = credit_line({artist for config in self.configs for artist in config.artists})

    def make(self, config: ClipConfig, index: int, stream: str) -> Clip:
        return compose_clip(config, self.preset.seed, index, stream)

    def clip(self, row: int) -> Clip:
        """Return what the video of a row shows."""
        return self.made(row)

    def frames(self, rows: Rows) -> UInt8[Tensor, "n T 3 H W"]:
        """Return the frames of some rows, grey where the video is missing."""
        frames = film([self.clip(int(row)) for row in rows], self.preset.pixels)
        frames[~self.present("image", rows)] = GREY
        return frames

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return a picture of each clip, grey where the video is missing."""
        return PICTURES[self.preset.picture](self.frames(rows))

    def sensors(self, rows: Rows) -> Float64[np.ndarray, "n samples 2"]:
        """Return the acceleration of the thing to which something happens first, zero where the stream is missing."""
        streams = []
        for row, there in zip(map(int, rows), self.present("sensor", rows), strict=True):
            clip, config = self.clip(row), self.config(row)
            measured = acceleration(
                clip, clip.events[0].thing, config.sensor_rate, config.sensor_noise, self.draws(row)
            )
            streams.append(measured if there else np.zeros_like(measured))
        return np.stack(streams)

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
    def labels(self) -> Mapping[str, Labels]:
        """Return the labels of ``action``: what happens first."""
        values = np.array([ACTIONS.index(self.clip(row).events[0].action) for row in range(len(self))])
        said = {**lexicon("en").actions, "change colour": ("changes", "its colour")}
        names = tuple(" ".join(filter(None, said[action])) for action in ACTIONS)
        return {"action": Labels(names, values, ("something {}",))}

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        """Return contrasts, renditions or narrations of some rows."""
        if kinds is not None:
            return super().items(form, rows, kinds)
        return items_of(self, form, rows)
