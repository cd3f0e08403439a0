"""Values of maps at positions between pixels."""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int, Shaped
from torch import Tensor

from ....raw import UNKNOWN, Maps

Positions = Float64[Tensor, "#n #h #w"]
"""Positions in pixels from the top or the left of a box; the middle of its first pixel is at 0.5."""


def sampled(
    maps: Maps, rows: Positions, columns: Positions, boxes: Int[Tensor, "n 4"]
) -> Shaped[Tensor, "n h w"]:
    """Return the values at some positions in a box of each map; outside the box they are not known.

    A class is that of the nearest pixel. A number is interpolated linearly between the pixels of the box whose number
    is known; it is not known itself where these have less than half of the weight.

    >>> maps = Maps(torch.tensor([[[1.0, 3.0]]]))
    >>> middle = torch.full((1, 1, 1), 0.5, dtype=torch.float64)
    >>> sampled(maps, middle, middle * torch.tensor([1.0, 2.0, 5.0]), torch.tensor([[0, 0, 1, 2]]))
    tensor([[[1., 2., nan]]])

    Args:
        maps: of one size.
        rows, columns: of the positions.
        boxes: top, left, height, width in pixels.
    """
    top, left, height, width = boxes[:, :, None, None].unbind(1)
    inside = (rows >= 0) & (rows <= height) & (columns >= 0) & (columns <= width)
    each = torch.arange(len(boxes))[:, None, None]

    def at(row: Tensor, column: Tensor) -> Tensor:
        row, column = row.clamp(min=0).minimum(height - 1), column.clamp(min=0).minimum(width - 1)
        return maps.pixels[each, top + row, left + column]

    if maps.of_classes:
        return at(rows.floor().long(), columns.floor().long()).masked_fill(~inside, UNKNOWN)
    row, column = (rows - 0.5).floor().long(), (columns - 0.5).floor().long()
    down, across = rows - 0.5 - row, columns - 0.5 - column
    total = weight = torch.zeros(())
    for below in (0, 1):
        for beside in (0, 1):
            values = at(row + below, column + beside)
            share = (down if below else 1 - down) * (across if beside else 1 - across) * ~values.isnan()
            total, weight = total + share * values.nan_to_num(0.0), weight + share
    result = (total / weight).to(maps.pixels.dtype)
    return result.masked_fill(~inside | (weight < 0.5), torch.nan)
