"""Crops, mirroring, resizing and blur of a batch, as ``rows @ picture @ columns.T`` per example.

A separable filter that differs from example to example (its own crop box, its own σ) is a dense ``out × in``
matrix per axis. For pictures up to a hundred pixels two batched matrix products are faster than a loop
over examples, and they compute the filter itself: bicubic with anti-aliasing inside the crop box. Larger crops go
through the same filter one by one, since a matrix would be almost all zeros, and are rounded to bytes in each pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int, UInt8
from torch import Tensor

from .keys import uniform

_DENSE = 96  # pixels a side up to which crops are resized by matrices, all examples at once
_ATTEMPTS = 10  # draws of a crop before the whole picture is taken, as in torchvision
_ASPECT = (3 / 4, 4 / 3)


def crop_boxes(
    keys: np.ndarray, height: int, width: int, scale: tuple[float, float]
) -> Int[np.ndarray, "n 4"]:
    """Draw a random crop per key: ``(top, left, height, width)``.

    Its share of the area is uniform on ``scale``, its aspect log-uniform on [3/4, 4/3]. As in
    ``torchvision.transforms.v2.RandomResizedCrop`` the first of ten draws that fits the picture is taken, or
    if none does the largest central box of an allowed aspect.

    >>> from counterpoint.data.views import key
    >>> crop_boxes(key(0, 0, np.arange(2), "image"), 8, 8, (1.0, 1.0)).shape
    (2, 4)
    """
    area = height * width * (scale[0] + (scale[1] - scale[0]) * uniform(keys, "crop area", _ATTEMPTS))
    low, high = np.log(_ASPECT)
    aspect = np.exp(low + (high - low) * uniform(keys, "crop aspect", _ATTEMPTS))
    heights = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    widths = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = fits.argmax(1)
    example = np.arange(len(keys))
    h, w = heights[example, first], widths[example, first]
    corner = uniform(keys, "crop place", 2)
    top = np.floor(corner[:, 0] * (height - h + 1)).astype(np.int64)
    left = np.floor(corner[:, 1] * (width - w + 1)).astype(np.int64)
    boxes = np.stack([top, left, h, w], axis=1)
    boxes[~fits.any(1)] = _central(height, width, _ASPECT[1])
    return boxes


def central_boxes(n: int, height: int, width: int) -> Int[np.ndarray, "n 4"]:
    """Return the central square, for every example."""
    return np.tile(np.asarray(_central(height, width, 1.0)), (n, 1))


def _central(height: int, width: int, longest: float) -> tuple[int, int, int, int]:
    h, w = min(height, round(width * longest)), min(width, round(height * longest))
    return (height - h) // 2, (width - w) // 2, h, w


def crops(
    pictures: UInt8[Tensor, "n c H W"],
    boxes: Int[np.ndarray, "n 4"],
    mirrored: Bool[np.ndarray, " n"],
    size: int,
) -> Float[Tensor, "n c size size"]:
    """Cut a box out of every picture and resize it to a square in [0, 1]; the chosen ones are mirrored.

    Bicubic (a = −1/2) with anti-aliasing, cut off at the box: the filter of Pillow and of
    ``torch.nn.functional.interpolate(..., mode="bicubic", antialias=True)``.

    Args:
        pictures: of one size.
        boxes: ``(top, left, height, width)`` of each.
        mirrored: which are turned left to right.
        size: side of the squares in pixels.
    """
    if size > _DENSE:
        squares = torch.empty(len(pictures), pictures.shape[1], size, size)
        for square, picture, (top, left, height, width) in zip(
            squares, pictures, boxes.tolist(), strict=True
        ):
            # In bytes, a pixel's colours side by side, as Pillow does: in less than half the time that floats take.
            box = picture[None, :, top : top + height, left : left + width]
            box = box.contiguous(memory_format=torch.channels_last)
            (square[:],) = F.interpolate(box, (size, size), mode="bicubic", antialias=True)
        indices = torch.from_numpy(np.flatnonzero(mirrored))
        squares.index_copy_(0, indices, squares.index_select(0, indices).flip(-1))
        return squares.div_(255)
    top, left, height, width = boxes.T
    rows = crop_matrices(top, height, pictures.shape[-2], size) / 255
    columns = flip(crop_matrices(left, width, pictures.shape[-1], size), mirrored)
    return resample(pictures.float(), rows, columns).clamp_(0, 1)


def crop_matrices(
    start: Int[np.ndarray, " n"], length: Int[np.ndarray, " n"], extent: int, size: int
) -> Float[Tensor, "n size extent"]:
    """Return for every example the matrix that resizes ``length`` pixels of a line, from ``start`` on, to ``size``.

    Bicubic (a = −1/2), widened by the scale when shrinking (anti-aliasing), cut off at the box, normalised:
    what Pillow and ``torch.nn.functional.interpolate(..., mode="bicubic", antialias=True)`` compute.
    """
    scale = length[:, None, None] / size
    widen = np.maximum(scale, 1.0)
    centre = (np.arange(size)[None, :, None] + 0.5) * scale
    taps = 2 * int(np.ceil(2 * widen.max(initial=1.0))) + 1
    source = np.floor(centre - 2 * widen).astype(np.int64) + np.arange(taps + 1)
    weight = _cubic((source + 0.5 - centre) / widen) * ((source >= 0) & (source < length[:, None, None]))
    weight /= weight.sum(2, keepdims=True)
    column = np.clip(source + start[:, None, None], 0, extent - 1)  # those outside the box weigh nothing
    matrices = torch.zeros(len(start), size, extent)
    return matrices.scatter_add_(2, torch.from_numpy(column), torch.from_numpy(weight).float())


def _cubic(x: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def blur_kernel_size(size: int) -> int:
    """Return the width of SimCLR's kernel: a tenth of the picture, made odd and at least 3.

    >>> blur_kernel_size(224), blur_kernel_size(48)
    (23, 5)
    """
    return max(3, size // 10 | 1)


def blur_matrices(sigma: Float64[np.ndarray, " n"], size: int) -> Float[Tensor, "n size size"]:
    """Return for every example the matrix that blurs a line of ``size`` pixels by a Gaussian, reflected at the ends.

    The kernel of ``torchvision.transforms.v2.functional.gaussian_blur`` with :func:`blur_kernel_size`.
    """
    radius = blur_kernel_size(size) // 2
    offset = np.arange(-radius, radius + 1)
    weight = np.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    weight /= weight.sum(1, keepdims=True)
    position = np.abs(np.arange(size)[:, None] + offset)
    position = np.where(position >= size, 2 * (size - 1) - position, position)
    index = torch.from_numpy(position).expand(len(sigma), -1, -1)
    matrices = torch.zeros(len(sigma), size, size)
    return matrices.scatter_add_(2, index, torch.from_numpy(weight).float()[:, None].expand_as(index))


def resample(
    pictures: Float[Tensor, "n c H W"], rows: Float[Tensor, "n h H"], columns: Float[Tensor, "n w W"]
) -> Float[Tensor, "n c h w"]:
    """Compute ``rows @ picture @ columns.T`` for every channel of every example."""
    n, c, height, width = pictures.shape
    wide = torch.bmm(pictures.reshape(n, c * height, width), columns.transpose(1, 2))
    return torch.matmul(rows[:, None], wide.view(n, c, height, -1))


def blur(pictures: Float[Tensor, "n c s s"], sigma: Float64[np.ndarray, " n"]) -> Float[Tensor, "n c s s"]:
    """Blur square pictures in [0, 1] by a Gaussian, each with its own σ in pixels."""
    matrices = blur_matrices(sigma, pictures.shape[-1])
    return resample(pictures, matrices, matrices).clamp_(0, 1)  # an average of ones may round to above one


def flip(matrices: Float[Tensor, "n out in"], chosen: Bool[np.ndarray, " n"]) -> Float[Tensor, "n out in"]:
    """Reverse the order of the outputs for the chosen examples."""
    return torch.where(torch.from_numpy(chosen)[:, None, None], matrices.flip(1), matrices)


def affine(
    pictures: Float[Tensor, "n c s s"],
    angle: Float64[np.ndarray, " n"],
    shift: Float64[np.ndarray, "n 2"],
    zoom: Float64[np.ndarray, " n"],
) -> Float[Tensor, "n c s s"]:
    """Rotate square pictures clockwise by degrees, enlarge them, and move them by pixels (right, down).

    Bilinear, black outside, about the centre, as ``torchvision.transforms.v2.functional.affine``.
    """
    theta = torch.from_numpy(_theta(angle, shift, zoom, pictures.shape[-1])).to(pictures)
    grid = torch.nn.functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    return torch.nn.functional.grid_sample(pictures, grid, mode="bilinear", align_corners=False)


def _theta(
    angle: Float64[np.ndarray, " n"],
    shift: Float64[np.ndarray, "n 2"],
    zoom: Float64[np.ndarray, " n"],
    size: int,
) -> Float64[np.ndarray, "n 2 3"]:
    """Return the maps from what `affine` gives to what it is given, on squares from −1 to 1."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    back = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1) / zoom[:, None, None]
    move = -(back @ shift[:, :, None]) * 2 / size
    return np.concatenate([back, move], axis=2)


def affine_frames(
    angle: Float64[np.ndarray, " n"],
    shift: Float64[np.ndarray, "n 2"],
    zoom: Float64[np.ndarray, " n"],
    size: int,
) -> Float64[np.ndarray, "n 2 3"]:
    """Return the maps from the unit square of what `affine` gives to that of what it is given; ``size`` in pixels."""
    theta = _theta(angle, shift, zoom, size)
    back = theta[:, :, :2]
    centre = (theta[:, :, 2:] + 1 - back.sum(2, keepdims=True)) / 2
    return np.concatenate([back, centre], axis=2)


def crop_frames(
    boxes: Int[np.ndarray, "n 4"], mirrored: Bool[np.ndarray, " n"], height: int, width: int
) -> Float64[np.ndarray, "n 2 3"]:
    """Return the maps from the unit square of what `crops` gives to that of a picture of so many pixels."""
    top, left, h, w = (boxes / np.array([height, width, height, width])).T
    zero = np.zeros_like(top)
    across = np.stack([np.where(mirrored, -w, w), zero, np.where(mirrored, left + w, left)], 1)
    return np.stack([across, np.stack([zero, h, top], 1)], 1)


def composed(
    outer: Float64[np.ndarray, "n 2 3"], inner: Float64[np.ndarray, "n 2 3"]
) -> Float64[np.ndarray, "n 2 3"]:
    """Return the maps that apply ``inner`` and then ``outer``."""
    made = outer[:, :, :2] @ inner
    made[:, :, 2] += outer[:, :, 2]
    return made


@dataclass(frozen=True)
class Geometry:
    """Where in pictures of one size their views lie, in the two steps in which these are made.

    Attributes:
        boxes: the crops, ``(top, left, height, width)`` in pixels.
        mirrored: which crops are turned left to right.
        affine: the maps from the unit square of a view to that of its crop; None where views are their crops.
        height, width: of the pictures in pixels.
    """

    boxes: Int[np.ndarray, "n 4"]
    mirrored: Bool[np.ndarray, " n"]
    affine: Float64[np.ndarray, "n 2 3"] | None
    height: int
    width: int

    @property
    def crops(self) -> Float64[np.ndarray, "n 2 3"]:
        """The maps from the unit square of a crop to that of its picture."""
        return crop_frames(self.boxes, self.mirrored, self.height, self.width)

    @property
    def frames(self) -> Float64[np.ndarray, "n 2 3"]:
        """The maps from the unit square of a view to that of its picture."""
        return self.crops if self.affine is None else composed(self.crops, self.affine)

    @staticmethod
    def either(first: Geometry, second: Geometry, chosen: Bool[np.ndarray, " n"]) -> Geometry:
        """Return the second geometry for the chosen examples and the first one for the others."""
        affine = None
        if first.affine is not None or second.affine is not None:
            same = np.tile(np.eye(2, 3), (len(chosen), 1, 1))
            maps = [same if one.affine is None else one.affine for one in (second, first)]
            affine = np.where(chosen[:, None, None], *maps)
        return Geometry(
            np.where(chosen[:, None], second.boxes, first.boxes),
            np.where(chosen, second.mirrored, first.mirrored),
            affine,
            first.height,
            first.width,
        )
