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
