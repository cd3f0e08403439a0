"""Alignment and uniformity of feature maps: patch with patch, within a picture and between pictures.

Alignment needs a rule for which pixels of two views belong together; numbers under different rules cannot be
compared. The rules are `at_same_place`, to measure with, and `most_similar`, which some methods train with.

Source: Moon et al., "Correlation between Alignment-Uniformity and Performance of Dense Contrastive
Representations" (2022), arXiv 2210.08819.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..frames import Frames, cell_diagonals, cell_distances
from ..pairwise import NEG, LogSumExp, Tile
from ..pairwise.reduce import reduce

PAPERS = {"dense-align-uniform": ("at_same_place", "dense_alignment", "dense_uniformity", "most_similar")}

PIXELS = 4096
"""Pixels among which uniformity is measured."""


def at_same_place(
    first: Frames, second: Frames, grid: tuple[int, int], reach: float = 0.5
) -> Int[Tensor, "B P"]:
    """Return for each pixel of the first view's map the pixel of the second that shows the same place; −1 for none.

    That is the one whose centre in the original picture is nearest, if it is nearer than ``reach`` diagonals
    of a bin of the second map. Distances are in shares of the picture's sides.

    Args:
        first, second: the frames of the two views; see `counterpoint.frames`.
        grid: h and w of the maps; pixels are numbered row by row, P = h·w.
        reach: of a bin's diagonal.

    Raises:
        ValueError: if the frames are not two equally long lists, or a frame has no area.

    >>> from counterpoint.frames import of_boxes
    >>> whole = of_boxes(torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    >>> at_same_place(whole, whole, (2, 2)).tolist()
    [[0, 1, 2, 3]]
    >>> at_same_place(whole, whole + torch.tensor([[0, 0, 2.0], [0, 0, 2]]), (2, 2)).tolist()
    [[-1, -1, -1, -1]]
    """
    if first.shape != second.shape:
        raise ValueError(
            f"two views of every picture are compared; got frames of shapes {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    nearest = cell_distances(first, second, grid, grid).min(2)
    bins = [cell_diagonals(frames, grid) for frames in (first, second)]
    distances = nearest.values * (torch.maximum(*bins) / bins[1])[:, None]
    return nearest.indices.masked_fill(distances >= reach, -1)


@torch.no_grad()
def most_similar(a: Float[Tensor, "B P c"], b: Float[Tensor, "B P c"]) -> Int[Tensor, "B P"]:
    """Return for each pixel of one map the pixel of the other, of the same picture, of highest cosine.

    Take features of the backbone: chosen by the projections that are then pulled together, pairs confirm
    themselves.

    >>> most_similar(torch.eye(2)[None], torch.eye(2).flip(0)[None]).tolist()
    [[1, 0]]
    """
    return (F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).mT).argmax(2)


def dense_alignment(
    z: Float[Tensor, "B P d"], other: Float[Tensor, "B P d"], match: Int[Tensor, "B P"]
) -> float:
    """Return ``mean ‖z_bi − z'_b,match(i)‖²`` over the pixels that have a match, in [0, 4]; NaN where none has.

    Args:
        z, other: the maps of two views, after the projector; made unit-norm here.
        match: for each pixel of ``z`` one of ``other`` of the same picture, −1 for none.

    Raises:
        ValueError: if the shapes differ.

    >>> dense_alignment(torch.eye(2)[None], torch.eye(2)[None], torch.tensor([[1, -1]]))
    2.0
    """
    if z.shape != other.shape or match.shape != z.shape[:2]:
        raise ValueError(
            f"dense_alignment compares matched maps; got shapes {tuple(z.shape)}, {tuple(other.shape)} and a "
            f"match of shape {tuple(match.shape)}"
        )
    z, other = (F.normalize(t.double(), dim=-1) for t in (z, other))
    partner = other.gather(1, match.clamp_min(0)[..., None].expand_as(z))
    distances = (z - partner).square().sum(-1)[match >= 0]
    return float(distances.mean()) if len(distances) else math.nan


@dataclass(frozen=True)
class DenseUniformity:
    """Uniformity of pixels, ``log mean exp(−2 ‖z_i − z_j‖²)``, over three sets of pairs of different pixels.

    Attributes:
        all: all of them, which the pixels of one picture dominate where maps are large for the number of
            pictures.
        within: pairs of one picture.
        between: pairs of different pictures.
    """

    all: float
    within: float
    between: float


@torch.no_grad()
def dense_uniformity(z: Float[Tensor, "B P d"], seed: int = 0) -> DenseUniformity:
    """Measure how evenly the pixels of some pictures' maps cover the sphere; lower is more even, 0 is collapse.

    At most 4,096 pixels, drawn by ``seed``, are used; they are compared tile by tile. NaN where a set has no
    pair.

    Args:
        z: the maps after the projector; made unit-norm here.
        seed: of the pixels.

    >>> found = dense_uniformity(torch.eye(2)[:, None].expand(2, 3, 2))   # constant maps of opposite pictures
    >>> round(found.within, 6), round(found.between, 6)
    (0.0, -4.0)
    """
    pixels, picture = F.normalize(z.double(), dim=-1).flatten(0, 1), torch.arange(len(z), device=z.device)
    picture = picture.repeat_interleave(z.shape[1])
    if len(pixels) > PIXELS:
        chosen = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))[:PIXELS]
        pixels, picture = pixels[chosen], picture[chosen]

    def terms(tile: Tile) -> Mapping[str, Mapping[str, LogSumExp]]:
        exponents = tile.off_diagonal(-2 * tile.squared_distance())
        same = tile.same("picture")
        return {
            "total": {
                "within": LogSumExp(exponents.masked_fill(~same, NEG)),
                "between": LogSumExp(exponents.masked_fill(same, NEG)),
            }
        }

    side = {"z": pixels, "picture": picture}
    totals = reduce(terms, rows=side, columns=side).total
    sizes = torch.bincount(picture, minlength=1).double()
    within = float((sizes * (sizes - 1)).sum())
    between = float(sizes.sum() ** 2 - sizes.square().sum())

    def mean(log_sum: Tensor, pairs: float) -> float:
        return float(log_sum) - math.log(pairs) if pairs else math.nan

    return DenseUniformity(
        mean(torch.logaddexp(totals.within, totals.between), within + between),
        mean(totals.within, within),
        mean(totals.between, between),
    )
