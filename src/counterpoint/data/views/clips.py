"""Views of clips by name: which frames are seen, and one change of pictures for all frames of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int, UInt64
from torch import Tensor

from ...networks.towers.footage import Footage, centres
from ...raw import Clips
from ...registry import unknown
from .keys import uniform
from .named_pictures import IMAGE_VIEWS, ImageOptions
from .pictures import ImageView


@final
@dataclass(frozen=True)
class ClipView:
    """Frames from the first to the last, evenly spread, all of a clip changed alike, by the clip's own key.

    Attributes:
        picture: the change of pictures.
        anywhere: whether a frame is drawn from each of the equal parts of a clip; else it is their middle.
    """

    picture: ImageView
    anywhere: bool = False

    def within(self, other: ClipView) -> ClipView:
        """Return the view of the frames and of the crop that another view shows."""
        return ClipView(self.picture.within(other.picture), other.anywhere)

    def __call__(
        self,
        raw: Clips,
        keys: UInt64[np.ndarray, " n"],
        input: Footage,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> Float[Tensor, "n T 3 size size"]:
        """Return clips as a tower takes them; frames and crop are drawn from the keys in ``part`` if given.

        Raises:
            ValueError: if the keys are not one per clip.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per clip: got {len(keys)} for {len(raw)} clips")
        part = keys if part is None else part
        places = [
            self._frame_indices(length, input.frames, part[row : row + 1])
            for row, length in enumerate(raw.lengths.tolist())
        ]
        counts = list(map(len, places))
        rows = np.repeat(np.arange(len(counts)), counts)
        frames = raw.frames[rows, np.concatenate([np.zeros(0, np.int64), *places])]
        height, width = raw.frames.shape[-2:]
        drawn = self.picture.draw(keys, height, width, input.size, part)
        return input.batch(self.picture.render(frames, drawn.part(rows), input.size), counts)

    def _frame_indices(
        self, length: int, most: int, key: UInt64[np.ndarray, " 1"]
    ) -> Int[np.ndarray, " count"]:
        count = min(length, most)
        if not count:
            return np.zeros(0, np.int64)
        if not self.anywhere:
            return centres(length, count)
        within = uniform(key, "frames", count)[0]
        return ((np.arange(count) + within) * length / count).astype(np.int64)


CLIP_VIEWS: Mapping[str, ClipView] = {
    name: ClipView(view, anywhere=name != "plain")
    for name in ("plain", "weak", "strong", "simclr")
    if isinstance(view := IMAGE_VIEWS[name], ImageView)
}


def video(name: str, augmentation: ImageOptions | None = None) -> ClipView:
    """Return a view of clips by its name: that of pictures of this name, the same for all frames of a clip.

    For ``weak`` it is the one that ``augmentation`` names for pairs.

    - ``plain``: the middle of each of as many equal parts as the tower sees frames, the central square.
    - ``weak``: a frame from anywhere in each part, a crop of 50–100 % of the area.
    - ``strong``, ``simclr``: such frames too, a crop of 8–100 %, mirroring, colour jitter, grayscale, blur.

    >>> video("weak").anywhere
    True

    Raises:
        UnknownNameError: for any other name.
    """
    if augmentation is not None and name == "weak":
        name = augmentation.paired
    if name not in CLIP_VIEWS:
        raise unknown("view of clips", name, CLIP_VIEWS)
    return CLIP_VIEWS[name]
