"""SLIP: CLIP, and SimCLR on two further views of the picture."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import NonNegative, Positive
from ..losses import InfoNCELoss, NTXentLoss
from ..networks.base import Towers
from ..networks.heads import mlp
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .tower_method import TowerMethod, contrasted, paired


class SLIP(TowerMethod):
    """L = L_CLIP(image, text) + w · NT-Xent(g(f_I(image.1)), g(f_I(image.2))).

    g is a three-layer perceptron with batch norm. The picture passes its tower three times, the caption once; of other
    columns the first one stands for the picture.

    Args:
        towers: the towers, by column.
        recipe: gives the widths: ``embedding``, ``ssl_hidden``, ``ssl_output``.
        temperature: where CLIP's learned τ starts, within [0.01, 1].
        ssl_weight: w.
        ssl_temperature: of NT-Xent; fixed.

    Source: Mu et al., "SLIP: Self-supervision meets Language-Image Pre-training" (2021), arXiv 2112.12750, as
    compared against by Fini et al. (2023), arXiv 2305.08675.
    """

    family = "CLIP with self-supervision"
    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "ssl_weight": (0.25, 4.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.07,
        ssl_weight: NonNegative = 1.0,
        ssl_temperature: Positive = 0.1,
    ) -> None:
        super().__init__(towers)
        column, tower = next(iter(towers.items()))
        self.contrasted = contrasted(column, tower, 2)
        self.views = {**paired(towers), **self.contrasted}
        widths = recipe.widths
        self.projections = nn.ModuleDict(linear_heads(towers, widths.embedding))
        self.ssl_projection = mlp(tower.width, widths.ssl_hidden, widths.ssl_output)
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        self.ssl_objective = NTXentLoss(ssl_temperature)
        self.ssl_weight = ssl_weight

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        v1, v2 = (F.normalize(self.ssl_projection(z[view]), dim=-1) for view in self.contrasted)
        return {"clip": self.objective(x, y), "simclr": self.ssl_weight * self.ssl_objective(v1, v2)}
