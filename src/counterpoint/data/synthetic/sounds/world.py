"""``sounds``: soundscapes of which everything is known, with captions, as a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self, final

import numpy as np
import torch

from ....networks.base import FormedInput, Input
from ....raw import Waves
from ....registry import unknown
from ...base import Data, Rows
from ...reading.sounds import resampled
from ..as_pictures import written_as
from .pictured import SoundPictures
from .presets import PRESETS, SoundPreset
from .rows import Soundscapes
from .synthesis import RATE


@final
class Sounds(Soundscapes):
    """Soundscapes of a preset, made when they are asked for: sounds of two seconds and what words say of them.

    Args:
        preset: what they are like, and how many there are.
        name: how the user named it.
        rate: samples a second.

    >>> world = Sounds.parse("sounds:order,train=300")
    >>> world.read("audio", np.array([0, 1])).samples.shape, world.read("text", np.array([0]))
    (torch.Size([2, 32000]), ['a short loud rumble, then a high whistle'])
    """

    columns: Mapping[str, str] = MappingProxyType({"audio": "audio", "text": "text"})

    def __init__(self, preset: SoundPreset, name: str = "", rate: int = RATE) -> None:
        super().__init__(preset, name)
        self.rate = rate

    def __reduce__(self) -> tuple[Callable[..., Data], tuple[Any, ...]]:
        return type(self), (self.preset, self.name, self.rate)

    @classmethod
    def parse(cls, source: str) -> Any:
        """Return a world as it is written: ``sounds:PRESET``, then options after commas.

        With ``as=pictures`` it is a `SoundPictures`.

        Raises:
            UnknownNameError: for an unknown preset or option.
            ValueError: for a value that an option cannot have, or an option without one.
        """
        return written_as(source, PRESETS, cls, SoundPictures)

    def read(self, column: str, rows: Rows) -> Any:
        if column == "text":
            return [self.captions(int(row))[0] for row in rows]
        if column != "audio":
            raise unknown(f"column of {self.name}", column, self.columns)
        samples = self.waves(rows).astype(np.float32) / 32768
        return Waves(torch.from_numpy(resampled(samples, RATE, self.rate)), self.rate)

    def read_training(self, column: str, rows: Rows) -> Any:
        return [self.captions(int(row)) for row in rows] if column == "text" else self.read(column, rows)

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        heard = inputs.get("audio")
        if not isinstance(heard, FormedInput) or heard.form == self.rate:
            return self
        return type(self)(self.preset, self.name, heard.form).learning(self.learned)
