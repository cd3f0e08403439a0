"""A vision transformer that is trained with the positions of a part of a larger grid."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .transformer import VisionTransformer

PAPERS = {"ro-vit": ("CroppedPositionsTransformer",)}

AREA = (0.1, 1.0)
"""Range of a crop's share of the area of the grid."""
RATIO = (0.5, 2.0)
"""Range of a crop's ratio of width to height."""


class CroppedPositionsTransformer(VisionTransformer):
    """A `VisionTransformer` that takes each training picture for a region of a larger, unknown picture.

    In training the grid of learned positions is enlarged bilinearly to 64 × 64. For each picture a box of it is drawn,
    as for a random resized crop (area 0.1 to 1, ratio ½ to 2; a side that exceeds the grid is cut to it). The box is
    resized to the grid of the picture's patches and added to these. Pixels are not cropped. In evaluation the positions
    are those of a `VisionTransformer`: the whole grid.

    Boxes are drawn from torch's generators in the forward pass, as dropped keys are. It has the same arguments.

    Source: Kim, Angelova and Kuo, "Region-Aware Pretraining for Open-Vocabulary Object Detection with Vision
    Transformers" (2023), arXiv 2305.07011.
    """

    enlarged: ClassVar[int] = 64

    def _positions(self, rows: int, columns: int, count: int) -> Float[Tensor, "*count n width"]:
        if not self.training:
            return super()._positions(rows, columns, count)
        return self.positions_in(draw_boxes(count, self.position_embedding.weight.device), rows, columns)

    def positions_in(
        self, boxes: Float[Tensor, "B 4"], rows: int, columns: int
    ) -> Float[Tensor, "B n width"]:
        """Return the positions of boxes of the enlarged grid, resized to grids of so many rows and columns.

        Args:
            boxes: left, top, right and bottom of each in shares of the sides.
            rows, columns: of the result, one row after the other.
        """
        learned, side = self.position_embedding.weight, self.size // self.patch
        left, top, right, bottom = boxes.to(learned.dtype).T
        # Resizing is linear and separate in both directions: two small matrices for each box.
        down = self._resizing(top, bottom, side, rows)
        across = self._resizing(left, right, side, columns)
        return torch.einsum("brh,hwd,bcw->brcd", down, learned.view(side, side, -1), across).flatten(1, 2)

    def _resizing(
        self, start: Float[Tensor, " B"], end: Float[Tensor, " B"], side: int, cells: int
    ) -> Float[Tensor, "B cells side"]:
        """Return the weights of the positions of a side in the cells of a part of it."""
        unit = torch.eye(side, device=start.device, dtype=start.dtype)
        enlarge = F.interpolate(unit[None], self.enlarged, mode="linear")[0].T
        centres = (torch.arange(cells, device=start.device) + 0.5) / cells
        at = (start[:, None] + (end - start)[:, None] * centres) * self.enlarged - 0.5
        cell = torch.arange(self.enlarged, device=start.device)
        distance = (at.clamp(0, self.enlarged - 1)[..., None] - cell).abs()
        return (1 - distance).clamp(min=0) @ enlarge


def draw_boxes(count: int, device: torch.device) -> Float[Tensor, "B 4"]:
    """Draw boxes as random resized crops do: left, top, right and bottom in shares of the sides.

    >>> boxes = draw_boxes(100, torch.device("cpu"))
    >>> bool((boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, :2] < boxes[:, 2:]).all())
    True
    """
    area, ratio, x, y = torch.rand(4, count, device=device)
    area = AREA[0] + (AREA[1] - AREA[0]) * area
    ratio = RATIO[0] * (RATIO[1] / RATIO[0]) ** ratio
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    left, top = x * (1 - width), y * (1 - height)
    return torch.stack([left, top, left + width, top + height], 1)
