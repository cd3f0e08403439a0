"""Clips as a tower expects them: how many frames, of which size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...raw import Clips
from .parts.pixels import Square

MOST_FRAMES = 32
"""Frames of a file that are kept, and that a tower may see, at most."""


def centres(total: int, count: int) -> Int[np.ndarray, " count"]:
    """Return places of frames sampled uniformly: the middle of each of ``count`` equal parts of ``total`` frames.

    >>> centres(12, 3).tolist(), centres(2, 4).tolist()
    ([2, 6, 10], [0, 0, 1, 1])

    Raises:
        ValueError: for a video without frames, or a sample of none.
    """
    if total < 1 or count < 1:
        raise ValueError(f"frames are sampled from one at least, and one at least: got {count} of {total}")
    return (2 * np.arange(count) + 1) * total // (2 * count)


@dataclass(frozen=True)
class Footage:
    """The input of a tower of clips: frames, evenly spread from the first to the last, as squares in [0, 1].

    >>> Footage(size=8, frames=2)(Clips.of([np.zeros((5, 3, 8, 8), np.uint8), np.zeros((1, 3, 8, 8), np.uint8)])).shape
    torch.Size([2, 2, 3, 8, 8])

    Attributes:
        size: height and width in pixels.
        frames: of a clip that are seen; a shorter one goes on as NaN.

    Raises:
        ValueError: for more frames than are kept of a file.
    """

    size: int
    frames: int

    def __post_init__(self) -> None:
        if self.frames > MOST_FRAMES:
            raise ValueError(
                f"towers.video_frames={self.frames}: at most {MOST_FRAMES} frames of a clip are kept"
            )

    @property
    def form(self) -> int:
        """The side of the frames that files are read to: a third larger, so that views can be cut from them."""
        return round(self.size * 4 / 3)

    def stated(self) -> str:
        return repr(self)

    def __call__(self, clips: Clips) -> Float[Tensor, "B T 3 size size"]:
        chosen = [
            clip[centres(length, min(length, self.frames)) if length else slice(0)]
            for clip, length in zip(clips.frames, clips.lengths.tolist(), strict=True)
        ]
        counts = list(map(len, chosen))
        if not sum(counts):
            return self.batch(torch.zeros(0, 3, self.size, self.size), counts)
        return self.batch(Square(self.size)(torch.cat(chosen)), counts)

    def batch(
        self, frames: Float[Tensor, "N 3 size size"], counts: Sequence[int]
    ) -> Float[Tensor, "B T 3 h w"]:
        """Return the frames of clips, one clip's behind another's, as a batch, NaN behind each clip's end.

        Args:
            frames: of all clips.
            counts: of each clip's frames.
        """
        whole = torch.full((len(counts), max([1, *counts]), 3, self.size, self.size), torch.nan)
        for clip, clip_frames in zip(whole, torch.split(frames, list(counts)) if counts else (), strict=True):
            clip[: len(clip_frames)] = clip_frames
        return whole
