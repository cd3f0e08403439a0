"""Soundscapes as pictures of their spectrograms, for towers and tasks of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from jaxtyping import UInt8
from torch import Tensor

from ....reasons import counted
from ...base import Rows, SomeItems
from ...items import MinimalPairs
from ..as_pictures import AsPictures
from ..world import GREY
from .compose import SoundConfig
from .items import SoundMinimalPairs
from .mel import spectrogram
from .rows import Soundscapes
from .soundscape import Soundscape


@final
class SoundPictures(Soundscapes, AsPictures[SoundConfig, Soundscape]):
    """Soundscapes of a preset (``sounds:NAME,as=pictures``); the picture of a row is its log-mel spectrogram.

    Args:
        preset: what they are like, and how many there are.
        name: how the user named it.
    """

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return the spectrograms of some rows, grey where the sound is missing."""
        pictures = spectrogram(list(self.waves(rows)), self.preset.pixels)
        pictures[~self.present("image", rows)] = GREY
        return pictures

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
