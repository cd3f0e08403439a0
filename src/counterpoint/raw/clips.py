"""Videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from ..modalities import MODALITIES, resolve
from .examples import Raw, read_each


@final
@dataclass(frozen=True, eq=False)
class Clips(Raw):
    """Videos: frames of one size, as many as each has.

    >>> clips = Clips.of([np.zeros((5, 3, 8, 8), np.uint8), np.ones((2, 3, 8, 8), np.uint8)])
    >>> clips.lengths, clips[1].frames.shape
    (tensor([5, 2]), torch.Size([1, 5, 3, 8, 8]))

    Attributes:
        frames: values from 0 to 255; what stands behind the end of a clip says nothing.
        lengths: the frames of each clip.
    """

    frames: UInt8[Tensor, "n T 3 H W"]
    lengths: Int[Tensor, " n"]

    @classmethod
    def of(cls, clips: Sequence[np.ndarray]) -> Clips:
        """Return clips ``(T, 3, H, W)`` of different lengths and one size.

        Raises:
            ValueError: for other axes, other values than uint8, and several sizes.
        """
        for number, clip in enumerate(clips):
            if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[1:] != (3, *clips[0].shape[2:]):
                raise ValueError(
                    f"clip {number} is {clip.dtype} {clip.shape}, and clips are uint8 (T, 3, H, W) of values from 0 to "
                    "255, all of one size"
                )
        lengths = [len(clip) for clip in clips]
        size = clips[0].shape[1:] if len(clips) else (3, 1, 1)
        frames = np.zeros((len(clips), max([1, *lengths]), *size), np.uint8)
        for one, clip in zip(frames, clips, strict=True):
            one[: len(clip)] = clip
        return cls(torch.from_numpy(frames), torch.tensor(lengths, dtype=torch.long))

    @classmethod
    def read(cls, paths: Sequence[str | Path], side: int = 64) -> Clips:
        """Read files, each frame's middle square resized to a side in pixels.

        Raises:
            MissingPackageError: for a video, without the package av.
            ValueError: for a file without frames.
        """
        read = resolve(MODALITIES.get("video").read)
        return cls.of(read_each(paths, lambda data: read(data, side)))

    @property
    def values(self) -> Tensor:
        return self.frames

    def with_values(self, values: Tensor) -> Clips:
        return Clips(values, self.lengths)

    def ends(self) -> Int[Tensor, " n"]:
        return self.lengths

    def without(self, mask: Bool[Tensor, " n"]) -> Clips:
        return replace(super().without(mask), lengths=self.lengths.masked_fill(mask, self.frames.shape[1]))

    def taken(self, rows: Tensor) -> Clips:
        return Clips(self.frames[rows], self.lengths[rows])


def check_clips(clips: object) -> Clips:
    """Return clips that can be embedded; an array or a tensor of bytes ``(n, T, 3, H, W)`` is one.

    Pictures ``(n, 3, H, W)`` are clips of one frame each.

    Raises:
        ValueError: for anything else, for none, and for a clip without a frame.

    >>> check_clips(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).lengths
    tensor([1, 1])
    """
    if isinstance(clips, np.ndarray):
        clips = torch.from_numpy(clips)
    if isinstance(clips, Tensor) and clips.ndim in (4, 5) and clips.dtype == torch.uint8:
        frames = clips if clips.ndim == 5 else clips[:, None]
        if frames.shape[2] == 3:
            clips = Clips(frames, torch.full((len(frames),), frames.shape[1]))
    if not isinstance(clips, Clips):
        told = f"{clips.dtype} {tuple(clips.shape)}" if isinstance(clips, Tensor) else type(clips).__name__
        raise ValueError(
            f"clips must be cp.Clips or bytes (n, T, 3, H, W), or pictures (n, 3, H, W), got {told}"
        )
    if not len(clips):
        raise ValueError("there is nothing to embed: there are no clips")
    if len(empty := torch.nonzero(clips.lengths == 0)):
        raise ValueError(f"clip {int(empty[0])} is empty: it has no frame")
    return clips
