"""Clips as pictures, for towers and tasks of pictures."""

from __future__ import annotations

from typing import final

from jaxtyping import UInt8
from torch import Tensor

from ...base import Rows
from ..as_pictures import AsPictures
from .clip import Clip
from .config import ClipConfig
from .filmed import SyntheticClips
from .presets import PICTURES


@final
class ClipPictures(SyntheticClips, AsPictures[ClipConfig, Clip]):
    """Clips of a preset (``clips:NAME,as=pictures``); the picture of a row is a contact sheet, or the middle frame.

    Args:
        preset: what the clips are like, and how many there are.
        name: how the user named it.

    >>> import numpy as np
    >>> from counterpoint.data.synthetic.clips.world import VideoClips
    >>> VideoClips.parse("clips:basic,train=300,as=pictures").images(np.array([0])).shape
    torch.Size([1, 3, 144, 144])
    """

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        """Return a picture of each clip, grey where the video is missing."""
        return PICTURES[self.preset.picture](self.frames(rows))
