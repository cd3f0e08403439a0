"""Boxes: some rectangles in each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .examples import Raw, padded


@final
@dataclass(frozen=True, eq=False)
class Boxes(Raw):
    """Some boxes of each picture.

    >>> boxes = Boxes.of([np.array([[0.0, 0.5, 0.5, 1.0]]), np.zeros((0, 4))])
    >>> boxes.corners.shape, boxes.present.tolist()
    (torch.Size([2, 1, 4]), [[True], [False]])

    Attributes:
        corners: left, top, right, bottom in shares of the picture's sides; NaN where there is no box.
    """

    corners: Float[Tensor, "n k 4"]

    @classmethod
    def of(cls, boxes: Sequence[np.ndarray]) -> Boxes:
        """Return boxes ``(k, 4)`` of pictures that have different numbers of them.

        Raises:
            ValueError: for other axes.
        """
        arrays = [np.asarray(one, np.float32) for one in boxes]
        for number, one in enumerate(arrays):
            if one.ndim != 2 or one.shape[1] != 4:
                raise ValueError(
                    f"the boxes of picture {number} are of shape {one.shape}, and must be (k, 4): left, top, right, "
                    "bottom"
                )
        return cls(padded(arrays) if arrays else torch.zeros(0, 1, 4))

    @property
    def values(self) -> Tensor:
        return self.corners

    @property
    def present(self) -> Bool[Tensor, "n k"]:
        """The boxes that there are."""
        return ~self.corners.isnan().any(-1)

    def with_values(self, values: Tensor) -> Boxes:
        return Boxes(values)

    def without(self, mask: Bool[Tensor, " n"]) -> Boxes:
        return self.with_values(self.corners.masked_fill(mask[:, None, None], torch.nan))


def check_boxes(boxes: object) -> Boxes:
    """Return boxes that can be embedded; an array or a tensor ``(n, k, 4)`` is one. A picture may have no box.

    Raises:
        ValueError: for anything else, for no picture, for a box that is flipped or empty, that lies outside the
            picture, or of which one side alone is known.

    >>> check_boxes(np.array([[[0.5, 0.0, 0.25, 1.0]]]))
    Traceback (most recent call last):
    ...
    ValueError: box 0 of picture 0 is [0.5, 0, 0.25, 1], and left must be less than right, and top less than bottom
    """
    if isinstance(boxes, np.ndarray):
        boxes = torch.from_numpy(boxes)
    if isinstance(boxes, Tensor) and boxes.ndim == 3:
        boxes = Boxes(boxes.float())
    if not isinstance(boxes, Boxes):
        raise ValueError(
            f"boxes must be cp.Boxes or an array (n, k, 4), got {type(boxes).__name__}: cp.Boxes.of(boxes) takes a "
            "list of arrays (k, 4)"
        )
    if not len(boxes):
        raise ValueError("there is nothing to embed: there are boxes of no picture")
    left, top, right, bottom = boxes.corners.unbind(-1)
    partly = boxes.corners.isnan().any(-1) & ~boxes.corners.isnan().all(-1)
    outside = ((boxes.corners < 0) | (boxes.corners > 1)).any(-1)
    for wrong, rule in (
        (partly, "all four numbers of a box must be known, or none"),
        (outside, "boxes must lie inside the picture, from 0 to 1 in shares of its sides"),
        ((left >= right) | (top >= bottom), "left must be less than right, and top less than bottom"),
    ):
        if len(where := torch.nonzero(wrong)):
            row, number = where[0].tolist()
            shown = ", ".join(f"{value:g}" for value in boxes.corners[row, number].tolist())
            raise ValueError(f"box {number} of picture {row} is [{shown}], and {rule}")
    return boxes
