"""AMCL: several projection heads, and a temperature of its own for every pair."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import AMCLLoss
from ..networks.base import Towers
from ..networks.heads import mlp
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, contrasted, paired


class AMCL(TowerMethod):
    """L = Σ_c L_AMCL(z_1^c, z_2^c) with z_v^c = nz(g_c(f(view v))), nz(u) = u / ‖u‖; see the loss.

    ===========  ===========================================================================================
    two columns  a picture and its caption, under C linear heads a tower. What a user gets are the C
                 embeddings side by side, whose cosine is the mean of those of the heads
    one column   two augmented views (``on=images``); g_c are perceptrons, which are left off afterwards
    ===========  ===========================================================================================

    The heads share no weights; all share the network of the temperatures.

    Args:
        towers: the towers, by column.
        recipe: gives the widths: ``embedding`` for two columns, else ``ssl_hidden`` and ``ssl_output``.
        heads: C, at least 1.
        beta: of the regulariser of the temperatures.
        tau_min, tau_max: the lowest and the highest temperature.
        top_k: the number of hardest negatives in the form of the released code; all of them, in the
            log-sum-exp form, unless given.

    Raises:
        ValueError: for no heads, and what the loss refuses.

    Source: Wang et al., "Adaptive Multi-head Contrastive Learning" (2024), arXiv 2310.05615.
    """

    family = "one modality"
    papers = ("amcl",)
    needs: ClassVar[Needs] = Needs(1, 2)
    tunable: ClassVar[Ranges] = {"beta": (1e-5, 1e-2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        heads: Count = 3,
        beta: NonNegative = 1e-4,
        tau_min: Positive = 0.05,
        tau_max: Positive = 2.0,
        top_k: Count | None = None,
    ) -> None:
        super().__init__(towers)
        widths = recipe.widths
        self.is_pair = len(towers) == 2
        width = widths.embedding if self.is_pair else widths.ssl_output
        if self.is_pair:
            self.views = paired(towers)
            each = [linear_heads(towers, width) for _ in range(heads)]
        else:
            ((column, tower),) = towers.items()
            self.views = contrasted(column, tower, 2)
            each = [{column: mlp(tower.width, widths.ssl_hidden, width)} for _ in range(heads)]
        self.projections = nn.ModuleDict({name: nn.ModuleList(one[name] for one in each) for name in each[0]})
        self.objective = AMCLLoss(width, beta=beta, tau_min=tau_min, tau_max=tau_max, top_k=top_k)

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return torch.cat(self._heads(column, features), dim=-1) if self.is_pair else features

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (self._heads(view.column, z[name]) for name, view in self.views.items())
        return {"amcl": self.objective(x, y)}

    def _heads(self, column: str, features: Tensor) -> list[Tensor]:
        heads = self.projections[self.columns[column]]
        assert isinstance(heads, nn.ModuleList)
        return [F.normalize(head(features), dim=-1) for head in heads]
