"""Teaching CLIP to count: beside CLIP's loss, each picture chooses between its caption and a false one."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import NonNegative, Positive
from ..losses import CountToTenLoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired


class CountToTen(TowerMethod):
    """CLIP's loss of the first two columns, and for rows that have the third a choice between it and the second.

        L = CLIP(x, y) + λ mean_i softplus((x_i · n_i − x_i · y_i) / τ),   z = nz(W f(column))

    The third column says something else of the example than the second, that is false of it: the caption with another
    number in the paper, any contrast caption in VideoCon. It is a negative of its own example alone; in `NegCLIP` it is
    one of all. With λ = 0 it is CLIP.

    Args:
        towers: of the pair, then of what is false; the last two are of one modality.
        recipe: gives the width of the embedding.
        weight: λ.
        temperature: where τ starts, which both terms share; learned within [0.01, 1].

    Raises:
        ValueError: if the last two columns are not of one modality.

    Source: Paiss et al., "Teaching CLIP to Count to Ten" (2023), arXiv 2302.12066. Bansal et al., "VideoCon" (2023),
    arXiv 2311.10111, teach a model that answers to tell a caption from its contrast; of one that embeds it is this.
    """

    family = "two towers"
    needs: ClassVar[Needs] = Needs(3, 3, further=(1,))
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    papers = ("count-to-ten", "videocon")
    tunable: ClassVar[Ranges] = {"weight": (0.1, 10.0), "temperature": (0.03, 0.2)}

    def __init__(
        self, towers: Towers, recipe: Recipe, *, weight: NonNegative = 1.0, temperature: Positive = 0.07
    ) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective = CountToTenLoss(weight, Temperature(temperature, bounds=(0.01, 1.0)))

    @property
    def embeds(self) -> tuple[str, ...]:
        return tuple(self.columns)[:2]

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        first, true, false = self.columns
        both = batch.has(first) & batch.has(true)
        x, y, n = (
            F.normalize(self.project(column, z[column][both], "global"), dim=-1) for column in self.columns
        )
        if not self.objective.infonce.count(x):
            return {"count-to-ten": (x * y).sum() + n.sum()}
        return {"count-to-ten": self.objective(x, y, n, counting=batch.has(false)[both])}
