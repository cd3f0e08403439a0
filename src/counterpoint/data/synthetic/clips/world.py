"""``clips``: short videos composed of emoji, of which everything is known, as a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self, final

import numpy as np
import torch
from jaxtyping import Bool

from .... import raw
from ....networks.base import FormedInput, Input
from ....registry import unknown
from ....spec import Spec
from ...base import Data, Rows
from ...reading.sounds import resampled
from ..as_pictures import written_as
from ..sounds.synthesis import RATE
from .filmed import SyntheticClips
from .long_config import LONG
from .long_world import LongClips
from .pictured import ClipPictures
from .presets import PRESETS, ClipPreset
from .sensors import CHANNELS
from .words.captions import caption


@final
class VideoClips(SyntheticClips):
    """Clips of a preset, made when they are asked for: columns ``video`` and ``text``, of some series or sounds too.

    Args:
        preset: what the clips are like, and how many there are.
        name: how the user named it.
        pixels: side of a frame; the preset's unless given.
        rate: samples a second of what is heard.

    >>> world = VideoClips.parse("clips:sensors,train=300")
    >>> world.read("video", np.array([0, 1])).frames.shape, world.read("series", np.array([0])).measured.shape
    (torch.Size([2, 12, 3, 48, 48]), torch.Size([1, 48, 2]))
    """

    def __init__(self, preset: ClipPreset, name: str = "", pixels: int = 0, rate: int = RATE) -> None:
        super().__init__(preset, name)
        self.columns = {column: column for column in preset.columns}
        if preset.contrasts:
            self.columns["contrast"] = "text"
        self.pixels, self.rate = pixels or preset.pixels, rate

    def __reduce__(self) -> tuple[Callable[..., Data], tuple[Any, ...]]:
        return type(self), (self.preset, self.name, self.pixels, self.rate)

    @classmethod
    def parse(cls, source: str) -> Any:
        """Return a world as it is written: ``clips:PRESET``, then options after commas.

        With ``as=pictures`` it is a `ClipPictures`; ``clips:long`` is a `LongClips`.

        Raises:
            UnknownNameError: for an unknown preset or option.
            ValueError: for a value that an option cannot have, or an option without one.
        """
        if Spec.parse(source).name.partition(":")[2] in LONG:
            return LongClips.parse(source)
        return written_as(source, PRESETS, cls, ClipPictures)

    def read(self, column: str, rows: Rows) -> Any:
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        readers: Mapping[str, Callable[[Rows], Any]] = {
            "video": self._clips,
            "series": self._series,
            "audio": self._waves,
            "text": lambda rows: [self.captions(int(row))[0] for row in rows],
            "contrast": self._contrasts,
        }
        return readers[column](rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return [self.captions(int(row)) for row in rows] if column == "text" else self.read(column, rows)

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        forms = {column: it.form for column, it in inputs.items() if isinstance(it, FormedInput)}
        pixels, rate = forms.get("video", self.pixels), forms.get("audio", self.rate)
        return (
            self
            if (pixels, rate) == (self.pixels, self.rate)
            else type(self)(self.preset, self.name, pixels, rate).learning(self.learned)
        )

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        if column == "contrast":
            return np.array([self.contrasted(int(row)) is not None for row in rows], dtype=bool)
        return super().present(column, rows)

    def _contrasts(self, rows: Rows) -> list[str]:
        pairs = [self.contrasted(int(row)) for row in rows]
        return [caption(pair.other, self.preset.languages[0]) if pair else "" for pair in pairs]

    def _clips(self, rows: Rows) -> raw.Clips:
        frames = self.frames(rows, self.pixels)
        return raw.Clips(frames, torch.full((len(frames),), frames.shape[1]))

    def _series(self, rows: Rows) -> raw.Series:
        return raw.Series(torch.from_numpy(self.sensors(rows)).float(), CHANNELS)

    def _waves(self, rows: Rows) -> raw.Waves:
        samples = self.waves(rows).astype(np.float32) / 32768
        return raw.Waves(torch.from_numpy(resampled(samples, RATE, self.rate)), self.rate)
