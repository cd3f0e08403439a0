"""The box in a picture whose mean state is nearest to what words mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PAPERS = {"contextual-lens": ("best_box",)}

ROUNDING = 1e-9
"""Cosines that differ by less are the same."""
NOWHERE = 1e-6
"""A sum of states that is shorter than this share of all their lengths points nowhere: they cancel."""


@dataclass(frozen=True)
class Box:
    """A rectangle of places; bottom and right are outside.

    Attributes:
        top, left, bottom, right: in places.
        grid: rows and columns of all places.
        cosine: of its mean state with the words'.
    """

    top: int
    left: int
    bottom: int
    right: int
    grid: tuple[int, int]
    cosine: float

    @property
    def area(self) -> float:
        """Return the box's share of the picture.

        >>> Box(0, 1, 2, 3, (4, 4), 1.0).area
        0.25
        """
        h, w = self.grid
        return (self.bottom - self.top) * (self.right - self.left) / (h * w)

    def pixels(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom in a picture of this size.

        >>> Box(0, 1, 2, 3, (4, 4), 1.0).pixels(96, 96)
        (24.0, 0.0, 72.0, 48.0)
        """
        h, w = self.grid
        across, down = width / w, height / h
        return self.left * across, self.top * down, self.right * across, self.bottom * down


def integral(values: Float[Tensor, "h w d"]) -> Float[Tensor, "h+1 w+1 d"]:
    """Return sums over all rectangles from the first place: ``S[i, j] = Σ_{a<i, b<j} v[a, b]``, in float64."""
    return F.pad(values.double().cumsum(0).cumsum(1), (0, 0, 1, 0, 1, 0))


def rectangles(sums: Float[Tensor, "H W d"], rows: int, columns: int) -> Float[Tensor, "a b d"]:
    """Return sums over all rectangles of one size, by their first place, from an `integral`: four reads each."""
    return sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]


def best_box(states: Float[Tensor, "h w d"], meaning: Float[Tensor, " d"], *, least: int = 1) -> Box:
    """Return the rectangle of places whose mean state has the highest cosine with the words'; of equals the largest.

        argmax_b cos(mean_{i ∈ b} h_i, a)

    All rectangles are tried, each at a cost of O(d) through an integral image; 24 × 24 places have 90,000.

    Args:
        states: states of a picture's places.
        meaning: a, the mean state of the words.
        least: places that it has at least. Where no part of the picture is meant the best is often one place or all:
            look at the area.

    Raises:
        ValueError: for a least size that no rectangle has, states of other widths, or a state that is not finite.

    Source: ContextualLens (arXiv 2411.19187).

    >>> places = torch.zeros(3, 3, 2) + torch.tensor([1.0, 0.0])
    >>> places[1:, :2] = torch.tensor([0.0, 1.0])
    >>> found = best_box(places, torch.tensor([0.0, 1.0]))
    >>> (found.top, found.left, found.bottom, found.right), round(found.cosine, 3)
    ((1, 0, 3, 2), 1.0)
    """
    h, w, d = states.shape
    if not 1 <= least <= h * w:
        raise ValueError(f"least={least} places: a picture of {h} × {w} has between 1 and {h * w}")
    if meaning.shape != (d,) or not (states.isfinite().all() and meaning.isfinite().all()):
        raise ValueError(
            f"places of width {d} and a meaning of shape {tuple(meaning.shape)} must fit and be finite"
        )
    unit = F.normalize(meaning.double(), dim=0)
    sums = integral(states)
    tiny = max(NOWHERE * float(states.double().norm(dim=-1).sum()), torch.finfo(torch.float64).tiny)
    best: tuple[float, int, Box] | None = None
    for rows in range(1, h + 1):
        for columns in range(1, w + 1):
            size = rows * columns
            if size < least:
                continue
            total = rectangles(sums, rows, columns)
            length = total.norm(dim=-1)
            cosine = torch.where(length > tiny, (total @ unit) / length.clamp(min=tiny), 0.0)
            top, left = divmod(int(cosine.argmax()), cosine.shape[1])
            value = float(cosine[top, left])
            if best is None or value > best[0] + ROUNDING or (value > best[0] - ROUNDING and size > best[1]):
                box = Box(top, left, top + rows, left + columns, (h, w), value)
                best = value, size, box
    assert best is not None  # the whole picture is large enough
    return best[2]
