"""CLIPPO: one tower for pictures and for texts that are drawn as pictures, on pairs of any two of them."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..pairwise.ranks import Ranks as Processes
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired


class CLIPPO(TowerMethod):
    """CLIP's loss of a batch of pairs, each the first two columns that its row has.

    ::

        z = nz(W f(pixels)),   S = z z'ᵀ / τ,   L = ( CE(S, i) + CE(Sᵀ, i) ) / 2

    Its texts are read by the tower ``pixels`` unless another is named: drawn, and looked at by tower and head of
    pictures. Sources are mixed, so that pairs of a picture and a text and pairs of two texts are each other's
    negatives: ``clippo --data emoji --data glosses,share=0.5``. Rows with one column alone are left out of the loss.
    The paper's tower is a vision transformer with attention pooling, ``--towers.image vit-map``; its shares of pairs
    of texts are 0.25, 0.5 and 0.75. On two columns without gaps it is CLIP with towers of its own.

    Args:
        towers: two or more, by column; their order says which two a row with more of them gives.
        recipe: gives the width of the embedding.
        temperature: where τ starts; it is kept in [0.01, 1].

    Source: Tschannen et al., "Image-and-Language Understanding from Pixels Only" (2022), arXiv 2212.08045.
    """

    family = "more than two modalities"
    papers = ("clippo",)
    needs: ClassVar[Needs] = Needs(2, None)
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(self, towers: Towers, recipe: Recipe, *, temperature: Positive = 0.07) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        units = torch.stack(
            [F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns], 1
        )
        there = torch.stack([batch.has(column) for column in self.columns], 1)
        first = there.long().argsort(dim=1, descending=True, stable=True)[there.sum(1) > 1, :2, None]
        x, y = units[there.sum(1) > 1].gather(1, first.expand(-1, -1, units.shape[-1])).unbind(1)
        # Of all ranks, so that all agree on what is computed; one of them may have no pair.
        if not sum(Processes.present().counts(len(x), x.device)):
            return {"clippo": units.sum() * 0}
        return {"clippo": self.objective(x, y)}
