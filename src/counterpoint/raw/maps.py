"""Maps: one value for each pixel of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from .examples import Raw

UNKNOWN = 255
"""The class of a pixel whose class is not known."""


@final
@dataclass(frozen=True, eq=False)
class Maps(Raw):
    """One value for each pixel: a class, or a number.

    >>> maps = Maps(torch.tensor([[[0, 1], [1, 255]]], dtype=torch.uint8), ("background", "cat"))
    >>> maps.of_classes, maps.known.tolist()
    (True, [[[True, True], [True, False]]])

    Attributes:
        pixels: classes as uint8, `UNKNOWN` where the class is not known; or numbers as floats, NaN where the number is
            not known.
        classes: the names of the classes; none of numbers, and of classes without names.
    """

    pixels: Shaped[Tensor, "n H W"]
    classes: tuple[str, ...] = ()

    @property
    def values(self) -> Tensor:
        return self.pixels

    @property
    def of_classes(self) -> bool:
        """Whether the values are classes, and not numbers."""
        return self.pixels.dtype == torch.uint8

    @property
    def known(self) -> Bool[Tensor, "n H W"]:
        """The pixels whose value is known."""
        return self.pixels != UNKNOWN if self.of_classes else ~self.pixels.isnan()

    def with_values(self, values: Tensor) -> Maps:
        return Maps(values, self.classes)

    def without(self, mask: Bool[Tensor, " n"]) -> Maps:
        nothing = UNKNOWN if self.of_classes else torch.nan
        return self.with_values(self.pixels.masked_fill(mask[:, None, None], nothing))

    def ends(self) -> Int[Tensor, " n"]:
        return torch.full((len(self),), self.pixels.shape[1])


def check_maps(maps: object) -> Maps:
    """Return maps that can be embedded; a uint8 or float array or tensor ``(n, H, W)`` is one.

    Raises:
        ValueError: for anything else, for none, for a class beyond the names, and for an infinite number.

    >>> check_maps(np.zeros((4, 10, 12))).pixels.shape
    torch.Size([4, 10, 12])
    """
    if isinstance(maps, np.ndarray):
        maps = torch.from_numpy(maps)
    wanted = "maps must be cp.Maps or an array (n, H, W) of uint8 classes or float numbers"
    if isinstance(maps, Tensor):
        if maps.ndim != 3:
            raise ValueError(f"{wanted}, got one of shape {tuple(maps.shape)}")
        maps = Maps(maps)
    if not isinstance(maps, Maps):
        raise ValueError(f"{wanted}, got {type(maps).__name__}")
    pixels = maps.pixels
    if not (maps.of_classes or pixels.is_floating_point()):
        raise ValueError(f"{wanted}, got {pixels.dtype}")
    if 0 in pixels.shape:
        raise ValueError(f"there is nothing to embed: the maps are {tuple(pixels.shape)}")
    if not maps.of_classes and pixels.isinf().any():
        raise ValueError("a map holds infinite values")
    if maps.of_classes and maps.classes:
        beyond = pixels[maps.known & (pixels >= len(maps.classes))]
        if len(beyond):
            raise ValueError(
                f"a map holds class {int(beyond[0])}, and there are names of {len(maps.classes)} classes: name all "
                f"classes, or write {UNKNOWN} where the class is not known"
            )
    return maps


def near_border(labels: Int[Tensor, "H W"], distance: int) -> Bool[Tensor, "H W"]:
    """Return the pixels that have a pixel of another class so many pixels away or nearer, also diagonally.

    >>> near_border(torch.tensor([[0, 0, 0, 1]]), 1).tolist()
    [[False, False, True, True]]
    """
    one, size = labels[None, None].float(), 2 * distance + 1
    highest, lowest = (
        sign * F.max_pool2d(sign * one, size, stride=1, padding=distance)[0, 0] for sign in (1, -1)
    )
    return highest != lowest
