"""JigClu: patches of many pictures in one montage, told apart by picture and by where in it they were."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative, Positive
from ..losses import CrossEntropyLoss, SupConLoss
from ..networks.base import Towers
from ..networks.heads import ClassHead, mlp
from ..networks.towers.parts.regions import grid
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod

MONTAGE, PICTURE, QUADRANT = "montage", "picture", "quadrant"
"""Views that `JigClu.prepare` makes: montages, and of each cell the picture, by its row of all, and the quadrant."""
_CELLS = 4
_RELEASED = 0.07
"""The temperature at which the released code's factor of the clustering term is 1."""


class JigClu(TowerMethod):
    """Four patches of each picture, shuffled through the whole batch into montages of four, which the tower sees.

        v_c = the mean of the tower's map over cell c,   z_c = nz(g(v_c)),   nz(u) = u / ‖u‖
        L = w SupCon(z; which picture) + l CrossEntropy(W v; which quadrant of it)

    A batch of n pictures gives 4 n patches and n montages: one pass a picture, where two views cost two. The patches
    overlap and are changed each by itself (the views ``jigsaw_1`` … ``jigsaw_4``). The quadrant is that of the picture,
    not that of the montage, which the tower could read off the montage's edges. A map of an odd number of places is
    widened by one, bilinearly, before cells are read. The projector g and the head W are left off afterwards: a user
    gets the tower's own features of whole pictures.

    Args:
        towers: the tower, by its column; one that has features of places.
        recipe: gives the width of z: ``ssl_output``; g is as wide as the tower inside.
        temperature: τ of the clustering term.
        clustering: w; τ/0.07 unless given, which is what the released code has.
        location: l.

    Raises:
        ValueError: for a tower whose side is odd or whose map is a single place, and for a batch of one picture.
        LookupError: for a tower without features of places.

    Source: Chen et al., "Jigsaw Clustering for Unsupervised Visual Representation Learning" (2021), arXiv 2104.00323.
    """

    family = "images"
    papers = ("jigsaw-clustering",)
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.5), "location": (0.1, 10.0)}
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.3,
        clustering: NonNegative | None = None,
        location: NonNegative = 1.0,
    ) -> None:
        super().__init__(towers)
        (column,), tower = towers, self.image_tower
        rows, columns = grid(tower)
        if tower.size % 2 or max(rows, columns) < 2:
            raise ValueError(
                "jigclu halves pictures and what a tower says of their places: take a tower of an even side with more "
                f"than one place; {tower.name!r} takes {tower.size} pixels a side and has {rows} × {columns} places"
            )
        self.views = {
            f"{column}.{n}": View("image", f"jigsaw_{n}", column, size=0.5) for n in range(1, _CELLS + 1)
        }
        self.projection = mlp(tower.width, tower.width, recipe.widths.ssl_output, layers=2, norm=False)
        self.quadrants = ClassHead(tower.width, _CELLS)
        self.contrast, self.classify = SupConLoss(temperature), CrossEntropyLoss()
        self.clustering = temperature / _RELEASED if clustering is None else clustering
        self.location = location

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        ranks = Ranks.present()
        counts = ranks.counts(len(batch), batch.ids.device)
        if (n := sum(counts)) < 2:
            raise ValueError("jigclu tells pictures of a batch apart: give it 2 or more (batch_size)")
        patches = ranks.gather(torch.stack([batch[view] for view in self.views], 1), counts).flatten(0, 1)
        # Drawn on the processor, where the loop seeds every rank alike: which patch of all lies in which cell.
        patch = torch.randperm(n * _CELLS).view(n, _CELLS)[ranks.rows(counts)].to(batch.ids.device)
        halves = patches[patch].view(len(batch), 2, 2, *patches.shape[1:])
        montage = halves.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
        return replace(batch, views={MONTAGE: montage, PICTURE: patch // _CELLS, QUADRANT: patch % _CELLS})

    def encode(self, batch: Batch) -> Embeddings:
        return {MONTAGE: cells(self.image_tower.patches(batch[MONTAGE]))}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        v = z[MONTAGE].flatten(0, 1)
        picture, quadrant = batch[PICTURE].flatten(), batch[QUADRANT].flatten()
        return {
            "clustering": self.clustering
            * self.contrast(F.normalize(self.projection(v), dim=-1), labels=picture),
            "location": self.location * self.classify(*self.quadrants(v), labels=quadrant),
        }


def cells(maps: Float[Tensor, "n w rows columns"]) -> Float[Tensor, "n 4 w"]:
    """Return the means of maps over their quarters, row by row; an odd number of places is widened by one.

    >>> cells(torch.arange(4.0).view(1, 1, 2, 2)).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    even = [side + side % 2 for side in maps.shape[2:]]
    maps = F.interpolate(maps, even, mode="bilinear")
    return F.adaptive_avg_pool2d(maps, 2).flatten(2).mT
