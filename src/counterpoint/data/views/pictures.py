"""Image views: parameters are drawn per example, then the whole batch is computed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, UInt8, UInt64
from torch import Tensor

from ...networks.towers.parts.pixels import Square
from . import colours, resampling
from .keys import uniform

_PIXELS = 5 * 2**15  # worked on at once: few enough to stay in a core's own cache from one change to the next


@dataclass(frozen=True)
class Draw:
    """The parameters that were drawn for each of n examples.

    Attributes:
        box: the crop, ``(top, left, height, width)`` in pixels.
        flip: whether it is mirrored.
        angle, shift, zoom: degrees clockwise, pixels (right, down), factor.
        factors: of brightness, contrast, saturation, and hue's turn; NaN where left out.
        order: the order of those four, a permutation of 0…3.
        gray: whether colour is taken away.
        sigma: of the blur, in pixels of the output; 0 for none.
        solarize: whether bright parts are inverted.
    """

    box: Int[np.ndarray, "n 4"]
    flip: Bool[np.ndarray, " n"]
    angle: Float64[np.ndarray, " n"]
    shift: Float64[np.ndarray, "n 2"]
    zoom: Float64[np.ndarray, " n"]
    factors: Float64[np.ndarray, "n 4"]
    order: Int[np.ndarray, "n 4"]
    gray: Bool[np.ndarray, " n"]
    sigma: Float64[np.ndarray, " n"]
    solarize: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.box)

    def part(self, chosen: slice | Int[np.ndarray, " k"]) -> Draw:
        return Draw(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


@final
@dataclass(frozen=True)
class ImageView:
    """Random changes, in this order: crop, mirror, affine, colour jitter, grayscale, blur, solarise.

    Resizing is bicubic with anti-aliasing; everything after it happens at the output size. As in SimCLR the
    blur's kernel is a tenth of that size, while σ is in its pixels: at 48 px (5 taps) a σ of 2 is cut short.

    Attributes:
        crop: the range of the crop's share of the area, above 0 and at most 1; ``None`` for the central square.
        region: the part of the picture that crops are of: top, left, bottom, right, as shares of its sides.
        mirror: probability of a horizontal flip.
        rotate, translate, zoom: the affine change: at most so many degrees either way, at most such a share
            of the size, a range of factors. ``rotate=0`` for none of the three.
        jitter: strength of brightness, contrast, saturation (factors U(1 − s, 1 + s)) and
            hue (turn U(−s, s)).
        jitter_p, gray_p, blur_p, solarize_p: probabilities.
        sigma: the range of the blur's σ in output pixels.
    """

    crop: tuple[float, float] | None = None
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    mirror: float = 0.0
    rotate: float = 0.0
    translate: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_p: float = 0.0
    gray_p: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    blur_p: float = 0.0
    solarize_p: float = 0.0

    def __post_init__(self) -> None:
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(
                f"a crop of {self.crop[0]:g} to {self.crop[1]:g} of the area: give two shares above 0 and at most "
                "1, the lower first"
            )

    def within(self, other: ImageView) -> ImageView:
        """Return the view of the crop that another view takes, mirrored where that one is."""
        return replace(self, crop=other.crop, region=other.region, mirror=other.mirror)

    def draw(
        self,
        keys: UInt64[np.ndarray, " n"],
        height: int,
        width: int,
        size: int,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> Draw:
        """Draw the parameters of each example from its key alone; crop and mirror from its key in ``part`` if given."""
        part = keys if part is None else part

        def happens(
            purpose: str, probability: float, keys: UInt64[np.ndarray, " n"] = keys
        ) -> Bool[np.ndarray, " n"]:
            return uniform(keys, purpose)[:, 0] < probability

        def between(
            purpose: str, low: float | np.ndarray, high: float | np.ndarray, count: int = 1
        ) -> Float64[np.ndarray, "n count"]:
            return low + (high - low) * uniform(keys, purpose, count)

        strength = np.asarray(self.jitter)
        middle = np.asarray([1.0, 1.0, 1.0, 0.0])
        factors = between("jitter factors", middle - strength, middle + strength, 4)
        factors[:, strength == 0] = np.nan
        factors[~happens("jitter", self.jitter_p)] = np.nan
        return Draw(
            box=self._boxes(part, height, width),
            flip=happens("flip", self.mirror, part),
            angle=between("angle", -self.rotate, self.rotate)[:, 0],
            shift=np.rint(between("shift", -self.translate * size, self.translate * size, 2)),
            zoom=between("zoom", *self.zoom)[:, 0],
            factors=factors,
            order=uniform(keys, "jitter order", 4).argsort(1, kind="stable"),
            gray=happens("gray", self.gray_p),
            sigma=np.where(happens("blur", self.blur_p), between("sigma", *self.sigma)[:, 0], 0.0),
            solarize=happens("solarize", self.solarize_p),
        )

    def render(
        self, pictures: UInt8[Tensor, "n 3 H W"], draw: Draw, size: int
    ) -> Float[Tensor, "n 3 size size"]:
        """Render the pictures under given parameters."""
        result = torch.empty(len(draw), 3, size, size)
        step = max(1, _PIXELS // max(size**2, pictures.shape[-2] * pictures.shape[-1]))
        for start in range(0, len(draw), step):
            part = slice(start, start + step)
            result[part] = self._render(pictures[part], draw.part(part), size)
        return result

    def apply(
        self,
        pictures: UInt8[Tensor, "n 3 H W"],
        keys: UInt64[np.ndarray, " n"],
        size: int,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> Float[Tensor, "n 3 size size"]:
        """Turn a batch's uint8 pictures of one size into its view: float pictures ``(n, 3, size, size)`` in [0, 1].

        >>> from counterpoint.data import views
        >>> pictures = torch.zeros(2, 3, 72, 72, dtype=torch.uint8)
        >>> views.image("strong").apply(pictures, views.key(0, 0, np.arange(2), "image"), 48).shape
        torch.Size([2, 3, 48, 48])

        Raises:
            ValueError: if the pictures are not uint8 ``(n, 3, H, W)``, or the keys are not one per picture.
        """
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(
                f"pictures must be uint8 of shape (n, 3, H, W), "
                f"got {pictures.dtype} of shape {tuple(pictures.shape)}"
            )
        if len(keys) != len(pictures):
            raise ValueError(f"keys must be one per picture: got {len(keys)} for {len(pictures)} pictures")
        height, width = pictures.shape[-2:]
        return self.render(pictures, self.draw(keys, height, width, size, part), size)

    def __call__(
        self,
        raw: UInt8[Tensor, "n 3 H W"],
        keys: UInt64[np.ndarray, " n"],
        input: Square,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> Float[Tensor, "n 3 size size"]:
        """Return pictures as a tower takes them: the view resizes as it crops."""
        return self.apply(raw, keys, input.size, part)

    def frames(
        self,
        raw: UInt8[Tensor, "n 3 H W"],
        keys: UInt64[np.ndarray, " n"],
        input: Square,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> Float[Tensor, "n 2 3"]:
        """Return where in its picture each view lies that the same call of the view itself makes."""
        return torch.from_numpy(
            self.geometry(keys, raw.shape[-2], raw.shape[-1], input.size, part).frames
        ).float()

    def geometry(
        self,
        keys: UInt64[np.ndarray, " n"],
        height: int,
        width: int,
        size: int,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> resampling.Geometry:
        """Return where in pictures of one size the views of ``size`` pixels lie; keys are those of `draw`."""
        draw = self.draw(keys, height, width, size, part)
        affine = resampling.affine_frames(draw.angle, draw.shift, draw.zoom, size) if self.rotate else None
        return resampling.Geometry(draw.box, draw.flip, affine, height, width)

    def _boxes(self, keys: UInt64[np.ndarray, " n"], height: int, width: int) -> Int[np.ndarray, "n 4"]:
        sides = (height, width, height, width)
        top, left, bottom, right = (round(a * side) for a, side in zip(self.region, sides, strict=True))
        size = (bottom - top, right - left)
        if self.crop is None:
            boxes = resampling.central_boxes(len(keys), *size)
        else:
            boxes = resampling.crop_boxes(keys, *size, self.crop)
        return boxes + np.asarray([top, left, 0, 0])

    def _render(self, pictures: Tensor, draw: Draw, size: int) -> Tensor:
        result = resampling.crops(pictures, draw.box, draw.flip, size)
        if self.rotate:
            result = resampling.affine(result, draw.angle, draw.shift, draw.zoom)
        if self.jitter_p:
            result = colours.jitter(
                result, torch.from_numpy(draw.factors).float(), torch.from_numpy(draw.order)
            )
        for chosen, change in (
            (draw.gray, colours.grayscale),
            (draw.sigma > 0, lambda part: resampling.blur(part, draw.sigma[draw.sigma > 0])),
            (draw.solarize, colours.solarize),
        ):
            if chosen.any():
                index = torch.from_numpy(np.flatnonzero(chosen))
                result.index_copy_(0, index, change(result.index_select(0, index)))
        return result


@final
@dataclass(frozen=True)
class EitherView:
    """One of two views for each example, with equal probability."""

    first: ImageView
    second: ImageView

    def apply(
        self, pictures: UInt8[Tensor, "n 3 H W"], keys: UInt64[np.ndarray, " n"], size: int
    ) -> Float[Tensor, "n 3 size size"]:
        """See `ImageView.apply`."""
        second = uniform(keys, "either")[:, 0] < 0.5
        result = torch.empty(len(pictures), 3, size, size)
        for view, chosen in ((self.first, ~second), (self.second, second)):
            index = torch.from_numpy(np.flatnonzero(chosen))
            result.index_copy_(0, index, view.apply(pictures.index_select(0, index), keys[chosen], size))
        return result

    def __call__(
        self, raw: UInt8[Tensor, "n 3 H W"], keys: UInt64[np.ndarray, " n"], input: Square
    ) -> Float[Tensor, "n 3 size size"]:
        """See `ImageView.__call__`."""
        return self.apply(raw, keys, input.size)

    def frames(
        self, raw: UInt8[Tensor, "n 3 H W"], keys: UInt64[np.ndarray, " n"], input: Square
    ) -> Float[Tensor, "n 2 3"]:
        """See `ImageView.frames`."""
        return torch.from_numpy(self.geometry(keys, raw.shape[-2], raw.shape[-1], input.size).frames).float()

    def geometry(
        self, keys: UInt64[np.ndarray, " n"], height: int, width: int, size: int
    ) -> resampling.Geometry:
        """See `ImageView.geometry`."""
        first, second = (view.geometry(keys, height, width, size) for view in (self.first, self.second))
        return resampling.Geometry.either(first, second, uniform(keys, "either")[:, 0] < 0.5)
