"""Frames: where in a picture a view of it lies, so that points and places can be carried from one to the other."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Frames = Float[Tensor, "B 2 3"]
"""Affine maps from the unit square of a view to that of its picture, whose corner (0, 0) is at the top left:
``(x, y) = A (u, v) + t`` with ``[A | t]`` the frame. A mirrored view has a negative determinant of A."""


def whole(count: int) -> Frames:
    """Return the frames of views that show all of their pictures.

    >>> whole(1).tolist()
    [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    """
    return torch.eye(2, 3).expand(count, 2, 3)


def of_boxes(boxes: Float[Tensor, "B 4"], mirrored: Bool[Tensor, " B"] | None = None) -> Frames:
    """Return the frames of crops: left, top, right, bottom in shares of the picture's sides.

    >>> of_boxes(torch.tensor([[0.0, 0.5, 0.5, 1.0]])).tolist()
    [[[0.5, 0.0, 0.0], [0.0, 0.5, 0.5]]]

    Args:
        boxes: with left < right and top < bottom.
        mirrored: which views are turned left to right; none unless given.
    """
    left, top, right, bottom = boxes.unbind(1)
    if mirrored is not None:
        left, right = torch.where(mirrored, right, left), torch.where(mirrored, left, right)
    zero = torch.zeros_like(left)
    rows = [torch.stack([right - left, zero, left], 1), torch.stack([zero, bottom - top, top], 1)]
    return torch.stack(rows, 1)


def composed(outer: Frames, inner: Frames) -> Frames:
    """Return the frames of views of views, in the pictures that the outer views are of.

    Args:
        outer: where in its picture each outer view lies.
        inner: where in its outer view each inner view lies.

    >>> half = of_boxes(torch.tensor([[0.5, 0.0, 1.0, 1.0]]))
    >>> composed(half, half)[0, 0].tolist()
    [0.25, 0.0, 0.75]
    """
    made = outer[:, :, :2] @ inner
    return torch.cat([made[:, :, :2], made[:, :, 2:] + outer[:, :, 2:]], 2)


def to_picture(frames: Frames, points: Float[Tensor, "B ... 2"]) -> Float[Tensor, "B ... 2"]:
    """Return where in its picture each point of a view lies, both as (x, y) in shares of the sides."""
    flat = points.reshape(len(points), -1, 2)
    return (flat @ frames[:, :, :2].mT + frames[:, None, :, 2]).view_as(points)


def to_view(
    frames: Frames, points: Float[Tensor, "B ... 2"]
) -> tuple[Float[Tensor, "B ... 2"], Bool[Tensor, "B ..."]]:
    """Return where in its view each point of a picture lies, and whether that is inside the view.

    A point that is NaN, as one that is not known, is not inside. A rotated view is black where it reaches beyond its
    crop; a point that lies there counts as inside.

    >>> left_half = of_boxes(torch.tensor([[0.0, 0.0, 0.5, 1.0]]))
    >>> where, inside = to_view(left_half, torch.tensor([[[0.25, 0.5], [0.75, 0.5]]]))
    >>> where.tolist(), inside.tolist()
    ([[[0.5, 0.5], [1.5, 0.5]]], [[True, False]])

    Raises:
        ValueError: for a frame without area.
    """
    back = inverse(frames)
    positions = to_picture(back, points)
    return positions, ((positions >= 0) & (positions <= 1)).all(-1)


def cell_distances(
    first: Frames, second: Frames, grid_first: tuple[int, int], grid_second: tuple[int, int]
) -> Float[Tensor, "B P Q"]:
    """Return the distances in the picture of the centres of two views' cells, in diagonals of the larger cell.

    Positions are in shares of the picture's sides. Cells are numbered row by row.

    Args:
        first, second: the frames of the two views of each picture.
        grid_first, grid_second: rows and columns of cells of each view.

    >>> left, right = (of_boxes(torch.tensor([box])) for box in ([0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]))
    >>> cell_distances(left, right, (1, 1), (1, 2))
    tensor([[[0.3354, 0.5590]]])
    """
    rows, columns = (
        to_picture(frames, _centres(grid).to(frames).expand(len(frames), -1, -1))
        for frames, grid in ((first, grid_first), (second, grid_second))
    )
    larger = torch.maximum(cell_diagonals(first, grid_first), cell_diagonals(second, grid_second))
    # Differences and not products: exact also where centres coincide.
    apart = torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
    return apart / larger[:, None, None]


def cell_diagonals(frames: Frames, grid: tuple[int, int]) -> Float[Tensor, " B"]:
    """Return the length in the picture of the diagonal of a cell of each view, of so many rows and columns.

    Raises:
        ValueError: for a frame without area.
    """
    if not torch.linalg.det(frames[:, :, :2]).all():
        raise ValueError("a frame without area has no cells")
    # The sides of a cell are the frame's columns by the grid.
    return (frames[:, :, :2] / torch.tensor(grid[::-1]).to(frames)).flatten(1).norm(dim=1)


def _centres(grid: tuple[int, int]) -> Float[Tensor, "P 2"]:
    """Return the centres of a view's cells, as (x, y) in shares of the view's sides."""
    h, w = grid
    down, right = (torch.arange(n) / n + 0.5 / n for n in grid)
    return torch.stack([right.repeat(h), down.repeat_interleave(w)], 1)


def inverse(frames: Frames) -> Frames:
    """Return the maps from the pictures' unit squares to those of the views.

    Raises:
        ValueError: for a frame without area.
    """
    (a, b), (c, d) = (row.unbind(1) for row in frames[:, :, :2].unbind(1))
    area = a * d - b * c
    if not area.all():
        raise ValueError("a frame without area has no inside")
    # In closed form: exact where a crop is, and on every device.
    linear = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / area[:, None, None]
    return torch.cat([linear, -linear @ frames[:, :, 2:]], 2)
