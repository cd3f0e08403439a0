"""Clips made worse: as pictures are, and frames that stand still, at three strengths, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from ...raw import Clips
from . import pictures

STILL = (0.25, 0.5, 0.75)
"""Share of frames in whose place the one before them is shown."""
_FRAMES = 2**10  # by which ids are multiplied, so that frames have numbers of their own


def stutter(clips: Clips, ids: Int[Tensor, " n"], strength: int) -> Clips:
    """Show the frame before in place of others; what stands still does so at every greater strength."""

    def worse(clip: Tensor, draws: torch.Generator) -> Tensor:
        moves = torch.rand(len(clip), generator=draws) >= STILL[strength]
        places = torch.arange(len(clip))
        return clip[torch.where(moves, places, 0).cummax(0).values]

    return clips.changed(ids, worse)


def _framewise(change: pictures.Corruption) -> Callable[[Clips, Tensor, int], Clips]:
    """Return the change of clips by a change of pictures, of each frame by itself."""

    def worse(clips: Clips, ids: Int[Tensor, " n"], strength: int) -> Clips:
        frames, times = clips.frames, torch.arange(clips.frames.shape[1])
        # Ids may be as large as integers are, and wrap around.
        keys = (ids[:, None] * _FRAMES + times) % 2**62
        changed = change(frames.flatten(0, 1), keys.flatten(), strength)
        return clips.with_values(changed.view(frames.shape))

    return worse


CORRUPTIONS: Mapping[str, Callable[[Clips, Tensor, int], Clips]] = {
    **{name: _framewise(change) for name, change in pictures.CORRUPTIONS.items()},
    "stutter": stutter,
}
