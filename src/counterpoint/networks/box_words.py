"""Boxes as words: each corner's coordinate is one of so many bins."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

PAPERS = {"siglip-2": ("box_words",)}


def box_words(
    boxes: Float[Tensor, "B k 4"], bins: int
) -> tuple[Int[Tensor, "B words"], Bool[Tensor, "B words"]]:
    """Return the bins of the left, top, right and bottom of boxes, box after box, and which belong to a box.

    Args:
        boxes: in shares of the sides; NaN where there is no box.
        bins: of each coordinate.

    >>> import torch
    >>> words, present = box_words(torch.tensor([[[0.0, 0.5, 0.26, 1.0]]]), 4)
    >>> words.tolist(), present.all().item()
    ([[0, 2, 1, 3]], True)
    """
    present = ~boxes.isnan().any(-1, keepdim=True).expand_as(boxes)
    words = (boxes.nan_to_num() * bins).floor().long().clamp(0, bins - 1)
    return words.flatten(1), present.flatten(1)
