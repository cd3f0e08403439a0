"""Views of maps and of boxes: the crop, the mirroring and the rotation of views of pictures, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped, UInt64
from torch import Tensor

from ...networks.base import Input
from ...networks.towers.boxes import Corners
from ...networks.towers.maps import MapSquare
from ...networks.towers.parts.pixels import Square
from ...networks.towers.parts.sampling import sampled
from ...raw import Boxes, Maps
from .named_pictures import ImageOptions, image
from .pictures import EitherView, ImageView
from .resampling import Geometry

Keys = UInt64[np.ndarray, " n"]
_SIDE = 1000  # pixels of pictures that boxes are cut from where there are none
_LEAST = 0.5  # of a box must be left, else it is gone


@dataclass(frozen=True)
class _SpatialView:
    """A view that lies in a picture as another view does, whose colours do not matter.

    Attributes:
        of: the view of pictures.
    """

    follows: ClassVar[tuple[type, ...]] = (ImageView, EitherView)
    of: ImageView | EitherView

    def within(self, other: ImageView | EitherView | _SpatialView) -> Self:
        """Return the view that lies where another one does, of pictures or of the same modality."""
        return type(self)(other.of if isinstance(other, _SpatialView) else other)


@final
@dataclass(frozen=True)
class MapView(_SpatialView):
    """A view of maps: classes of the nearest pixels, numbers interpolated linearly; unknown beyond the crop."""

    def __call__(
        self,
        raw: Maps,
        keys: Keys,
        input: MapSquare,
        part: Keys | None = None,
        followed: tuple[Any, Input] | None = None,
    ) -> Shaped[Tensor, "n size size"]:
        """Return maps as a tower takes them.

        Args:
            raw: the maps.
            keys: one for each map.
            input: of the tower.
            part: the keys of the view that this one is like; ``keys`` unless given.
            followed: the pictures that that view is of, and its input.

        Raises:
            ValueError: for maps of another size than their pictures.
        """
        height, width = input.check(raw).pixels.shape[1:]
        size = input.size
        if followed is not None:
            size = _size(followed[1], size)
            if (shape := _shape(followed[0])) != (height, width):
                raise ValueError(
                    f"a map of {width} × {height} pixels belongs to a picture of {shape[1]} × {shape[0]}: give a map "
                    "of the size of its picture"
                )
        geometry = self.of.geometry(keys if part is None else part, height, width, size)
        rows, columns = _positions(geometry, input.size)
        return input.standardised(sampled(raw, rows, columns, torch.from_numpy(geometry.boxes)))


@final
@dataclass(frozen=True)
class BoxesView(_SpatialView):
    """A view of boxes: the part of each that is in the view; a box of which less than half is there is NaN."""

    def __call__(
        self,
        raw: Boxes,
        keys: Keys,
        input: Corners,
        part: Keys | None = None,
        followed: tuple[Any, Input] | None = None,
    ) -> Float[Tensor, "n k 4"]:
        """Return boxes as a tower takes them; see `MapView`. Around a rotated box stands an upright one."""
        height, width = (_SIDE, _SIDE) if followed is None else _shape(followed[0])
        size = _SIDE if followed is None else _size(followed[1], _SIDE)
        geometry = self.of.geometry(keys if part is None else part, height, width, size)
        boxes = raw.corners.double()
        left = torch.ones(boxes.shape[:2], dtype=torch.float64)
        for frames in (geometry.crops, geometry.affine):
            if frames is not None:
                boxes, share = clipped(moved(boxes, torch.from_numpy(frames)))
                left = left * share
        return input(Boxes(boxes.masked_fill(~(left >= _LEAST)[..., None], torch.nan).float()))


def maps(name: str, augmentation: ImageOptions | None = None) -> MapView:
    """Return the view of maps that lies where the view of pictures of that name does.

    >>> maps("weak").of.crop
    (0.5, 1.0)

    Raises:
        UnknownNameError: for a name that no view of pictures has.
    """
    return MapView(image(name, augmentation))


def boxes(name: str, augmentation: ImageOptions | None = None) -> BoxesView:
    """Return the view of boxes that lies where the view of pictures of that name does; see `maps`."""
    return BoxesView(image(name, augmentation))


def _shape(followed: Any) -> tuple[int, int]:
    """Return the height and the width of pictures, or of maps."""
    values = followed.pixels if isinstance(followed, Maps) else followed
    return values.shape[-2], values.shape[-1]


def _size(input: Input, otherwise: int) -> int:
    """Return the side of the views that an input makes, in pixels; by it the affine change moves pictures."""
    return input.size if isinstance(input, Square | MapSquare) else otherwise


def _positions(
    geometry: Geometry, size: int
) -> tuple[Float64[Tensor, "#n #size #size"], Float64[Tensor, "#n #size #size"]]:
    """Return where in its crop, in pixels, the middle of each pixel of a view of ``size`` lies: rows and columns."""
    middles = (np.arange(size) + 0.5) / size
    down, across = middles[None, :, None], middles[None, None]
    if geometry.affine is not None:
        (a, b, x), (c, d, y) = geometry.affine.transpose(1, 2, 0)[..., None, None]
        down, across = c * across + d * down + y, a * across + b * down + x
    mirrored, height, width = (it[:, None, None] for it in (geometry.mirrored, *geometry.boxes.T[2:]))
    columns = np.where(mirrored, 1 - across, across) * width
    return torch.from_numpy(down * height), torch.from_numpy(columns)


def moved(boxes: Float64[Tensor, "n k 4"], frames: Float64[Tensor, "n 2 3"]) -> Float64[Tensor, "n k 4"]:
    """Return the upright boxes around boxes of pictures as they are in views, of which frames say where they lie."""
    linear = frames[:, :, :2].inverse()
    left, top, right, bottom = boxes.unbind(-1)
    corners = torch.stack(
        [torch.stack(pair, -1) for pair in ((left, top), (right, top), (left, bottom), (right, bottom))], 2
    )
    seen = (corners - frames[:, None, None, :, 2]) @ linear.mT[:, None]
    return torch.cat([seen.amin(2), seen.amax(2)], -1)


def clipped(boxes: Float64[Tensor, "n k 4"]) -> tuple[Float64[Tensor, "n k 4"], Float64[Tensor, "n k"]]:
    """Return the parts of boxes inside the unit square, and the shares of the areas that these are."""
    inside = boxes.clamp(0, 1)

    def area(boxes: Tensor) -> Tensor:
        return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])

    return inside, area(inside) / area(boxes)
