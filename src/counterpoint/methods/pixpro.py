"""PixPro: the patches of a view predict those of the other that lie near them in the picture."""

from __future__ import annotations

from itertools import permutations
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from ..forms import Fraction, Positive
from ..frames import cell_distances
from ..losses import PixProLoss
from ..networks import MomentumCopy
from ..networks.base import Towers
from ..networks.heads import mlp
from ..networks.propagation import Propagation
from ..networks.state.momentum import PREFIX
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from ._patches import ProjectedPatches, patches_of, per_patch
from .needs import Needs
from .tower_method import TowerMethod

TEMPERATURE = 0.3
"""τ of PixContrast."""


class PixPro(TowerMethod):
    """Two views of a picture, each patch predicting the slow projections of the near patches of the other view.

        x = g(f(view)),  y = nz(propagate(x)),  x_m = nz(g_m(f_m(view))),   all per patch
        A_pq = 1 where the centres of p and q are less than ``reach`` diagonals of the larger patch apart in the picture
        L = D(y_1, x_m2) + D(y_2, x_m1),   D(y, x) = 2 − 2 mean_b [ Σ_pq A_pq <y_p, x_q> / Σ_pq A_pq ]
        after the step:  θ_m ← m θ_m + (1 − m) θ,   m from ``momentum`` to 1 along a cosine

    f is the image tower before pooling, g the projector, with batch norms over all patches of the batch. Propagation
    (`Propagation`) is on the side with gradient alone. Both are left off afterwards: a user gets the tower's own
    features. Pictures whose views have no positive pair weigh nothing; their share is logged as ``apart``.

    Args:
        towers: the tower, by its column, one of pictures.
        recipe: gives the widths: ``ssl_hidden``, ``ssl_output``.
        propagate: whether there is propagation; without it y = nz(x).
        contrast: whether patches of the other view that are not near are negatives, at τ = 0.3 (`PixProLoss`).
            PixContrast is this without propagation.
        gamma: γ of propagation.
        reach: the distance below which patches are a positive pair.
        momentum: m at the start.

    Raises:
        LookupError: for a tower without features of patches.

    Source: Xie et al., "Propagate Yourself: Exploring Pixel-Level Consistency for Unsupervised Visual Representation
    Learning" (2020), arXiv 2011.10043, without its branch on pooled features.
    """

    family = "images"
    papers = ("pixpro",)
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        propagate: bool = True,
        contrast: bool = False,
        gamma: Positive = 2.0,
        reach: Positive = 0.7,
        momentum: Fraction = 0.99,
    ) -> None:
        super().__init__(towers)
        ((column, _),) = towers.items()
        self.views = {f"{column}.{n}": View("image", f"byol_{n}", column, framed=True) for n in (1, 2)}
        tower, width = self.image_tower, recipe.widths.ssl_output
        with torch.no_grad():
            tower.patches(
                torch.zeros(1, 3, tower.size, tower.size)
            )  # refuses a tower without patches at once
        self.projection = mlp(tower.width, recipe.widths.ssl_hidden, width, layers=2)
        self.predictor = Propagation(width, gamma) if propagate else nn.Identity()
        self.momentum = MomentumCopy(ProjectedPatches(tower, self.projection), momentum, "cosine")
        self.objective = PixProLoss(TEMPERATURE if contrast else None)
        self.reach = reach
        self.apart: Tensor | None = None

    def encode(self, batch: Batch) -> Embeddings:
        return {view: patches_of(self.image_tower, batch[view]) for view in self.views}

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        return {PREFIX + view: F.normalize(self.momentum(batch[view]), dim=-1) for view in self.views}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        total = []
        for view, other in permutations(self.views):
            near = self.near(z, batch, view, other)
            x = per_patch(self.projection, z[view]).flatten(1, 2)
            y = F.normalize(self.predictor(x), dim=-1)
            total.append(self.objective(y, z[PREFIX + other].flatten(1, 2), near))
        # Both directions have the same pairs.
        self.apart = self.objective.mean((~near.flatten(1).any(1)).float()).detach()
        return {"pixpro": torch.stack(total).sum()}

    def near(self, z: Embeddings, batch: Batch, view: str, other: str) -> Bool[Tensor, "B P Q"]:
        """Return which patches of a view and of the other are positive pairs."""
        grids = [(z[name].shape[1], z[name].shape[2]) for name in (view, other)]
        return cell_distances(batch.frames[view], batch.frames[other], *grids) < self.reach

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        self.momentum.update(clock.progress)

    def numbers(self) -> dict[str, float]:
        return {} if self.apart is None else {"apart": float(self.apart)}

    def passes(self) -> dict[str, float]:
        return {modality: 2 * count for modality, count in super().passes().items()}
