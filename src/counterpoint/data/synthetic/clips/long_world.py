"""``clips:long``: long clips with what is said in them, as a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self, final

from .... import raw
from ....networks.base import FormedInput, Input
from ....registry import unknown
from ...base import Data, Rows
from ...labels import Timelines
from ..scenes.pixels.render import pictures
from ..scenes.pixels.sprites import credit_line
from ..world import SyntheticData
from .long_clip import LongClip, compose_long_clip
from .long_config import LONG, LongClipConfig, LongClipPreset


@final
class LongClips(SyntheticData[LongClipConfig, LongClip]):
    """Long clips, made when they are asked for: columns ``video``, ``transcript`` and ``text``, which is the query.

    Labels are timelines: ``key_frames``, ``key_sentences``, and of the query ``moments``, which is 1 for frames that
    show what it asks for, and ``saliency``.

    Args:
        preset: what the clips are like, and how many there are.
        name: how the user named it.
        pixels: side of a frame; the preset's unless given.

    >>> import numpy as np
    >>> world = LongClips.parse("clips:long,train=3,validation=1,test=1")
    >>> world.read("transcript", np.array([0]))[0].sentences[0].text, world.read("text", np.array([0]))
    ('look at a grey telephone, yes, a grey telephone', ['a pink ball'])
    """

    preset: LongClipPreset
    presets = LONG
    gaps = MappingProxyType({})

    def __init__(self, preset: LongClipPreset, name: str = "", pixels: int = 0) -> None:
        super().__init__(preset, name)
        self.columns = {column: column for column in ("video", "transcript", "text")}
        self.pixels = pixels or preset.pixels
        self.attribution = credit_line({artist for config in self.configs for artist in config.artists})

    def __reduce__(self) -> tuple[Callable[..., Data], tuple[Any, ...]]:
        return type(self), (self.preset, self.name, self.pixels)

    def make(self, config: LongClipConfig, index: int, stream: str) -> LongClip:
        return compose_long_clip(config, self.preset.seed, index, stream)

    def read(self, column: str, rows: Rows) -> Any:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        clips = [self.made(int(row)) for row in rows]
        if column == "transcript":
            return [clip.transcript for clip in clips]
        if column == "text":
            return [clip.query for clip in clips]
        return raw.Clips.of([pictures(clip.scenes, self.pixels).numpy() for clip in clips])

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        form = inputs.get("video")
        pixels = form.form if isinstance(form, FormedInput) else self.pixels
        same = pixels == self.pixels
        return self if same else type(self)(self.preset, self.name, pixels).learning(self.learned)

    @cached_property
    def labels(self) -> Mapping[str, Timelines]:
        clips = [self.made(row) for row in range(len(self))]
        return {
            "key_frames": Timelines.of(clip.key_frames for clip in clips),
            "key_sentences": Timelines.of(clip.key_sentences for clip in clips),
            "moments": Timelines.of(clip.moments for clip in clips),
            "saliency": Timelines.of(clip.saliency for clip in clips),
        }
