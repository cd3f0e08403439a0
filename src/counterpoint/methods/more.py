"""MoRE: the contrast of several columns, each with a hub that all have in common, or all with all."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import BelowOne, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, distinct, paired


class MoRE(TowerMethod):
    """A sum of CLIP's losses, one for each pair of a hub and another column, or one for each pair of columns.

        L = Σ_c ( CE(S_hc, i) + CE(S_hcᵀ, i) ) / 2,   S_hc = z_h z_cᵀ / τ,   z_c = nz(W_c f_c(column c))

    Columns that never meet in a term, or in a row, are aligned through the hub alone. Rows with gaps are used: a term
    takes those that have both of its columns, and is 0 where no row of the batch has. With two columns it is CLIP.

    A term's scale is one for all: τ starts at 0.07 and is learned. In the release it is 0.02 and never learns, since
    the optimiser is not given it; there heads are perceptrons with batch norms, which here are CLIP's linear ones, so
    that what differs from CLIP are the terms alone. The release's mean over words counts padding in; here a text is
    read as its tower reads any.

    Args:
        towers: two or more, by column.
        recipe: gives the width of the embedding.
        hub: the column that all others are contrasted with: ``text`` if there is one, else the first, unless given;
            ``none`` contrasts all pairs.
        temperature: where τ starts; it is kept in [0.01, 1].
        dropkey: probability that a query of a transformer's attention does not see a key, in training, in all towers
            that can do so: ``image=vit``, ``series=transformer``, which an arm has by itself where neither it nor the
            recipe names others.

    Raises:
        UnknownNameError: for a hub that is none of the columns.
        ValueError: for ``dropkey`` where no tower has attention that could drop keys.

    Source: Samrajya Thapa et al., "MoRE: Multi-Modal Contrastive Pre-training with Transformers on X-Rays, ECGs, and
    Diagnostic Report" (2024), arXiv 2410.16239; DropKey: Li et al. (2023), arXiv 2208.02646.
    """

    family = "more than two modalities"
    needs: ClassVar[Needs] = Needs(2, None)
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    papers = ("more",)
    asks: ClassVar[Mapping[str, str]] = {"dropkey": "drops_keys"}
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        hub: str = "",
        temperature: Positive = 0.07,
        dropkey: BelowOne = 0.0,
    ) -> None:
        super().__init__(towers)
        hub = hub or ("text" if "text" in towers else next(iter(towers)))
        if hub not in (*towers, "none"):
            raise unknown("hub", hub, (*towers, "none"))
        self.column_pairs = [pair for pair in combinations(towers, 2) if hub in ("none", *pair)]
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        attending = [tower for tower in distinct(towers).values() if tower.drops_keys]
        if dropkey and not attending:
            raise ValueError(
                f"dropkey={dropkey:g}: none of the towers of {', '.join(towers)} can drop keys; image=vit and "
                "series=transformer can"
            )
        for tower in attending:
            tower.dropkey = dropkey

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        units = {
            column: F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns
        }
        return {f"{a}-{b}": self.term(a, units[a], b, units[b], batch) for a, b in self.column_pairs}

    def term(self, a: str, x: Tensor, b: str, y: Tensor, batch: Batch) -> Tensor:
        """Return the loss of two columns over the rows of all ranks that have both; 0 where there is none."""
        if {a, b} & batch.present.keys():
            both = batch.has(a) & batch.has(b)
            x, y = x[both], y[both]
        # Of all ranks, so that all agree on what is computed; one of them may have no row.
        if not sum(Ranks.present().counts(len(x), x.device)):
            return (x * y).sum()
        return self.objective(x, y)
