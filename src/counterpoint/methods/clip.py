"""CLIP: a picture and its caption agree more than either does with any other of the batch."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.heads import Linear
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .tower_method import TowerMethod, distinct, paired


class CLIP(TowerMethod):
    """Two linear heads and a symmetric softmax over the batch.

        x = nz(W_1 f_1(picture)),   y = nz(W_2 f_2(caption)),   nz(u) = u / ‖u‖
        S = x yᵀ / τ,   L = ( CE(S, i) + CE(Sᵀ, i) ) / 2

    τ is learned. One weakly augmented picture and one caption of each example; no smoothing, no dropout. Any two
    columns may stand for picture and caption.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding.
        temperature: where τ starts; it is kept in [0.01, 1].

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    arXiv 2103.00020; under the basic recipe of Fini et al. (2023), arXiv 2305.08675.
    """

    family = "two towers"
    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(self, towers: Towers, recipe: Recipe, *, temperature: Positive = 0.07) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        width = recipe.widths.embedding
        self.projections = nn.ModuleDict(
            {name: Linear(tower.width, width) for name, tower in distinct(towers).items()}
        )
        # Without the lower bound τ may shrink until a batch's gradients are those of its hardest pair alone.
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        return {"clip": self.objective(x, y)}
