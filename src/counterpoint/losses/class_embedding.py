"""Class-specific embedding loss: captions and the prompts of the classes that their examples have."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import NonNegative
from ..pairwise.reductions import Reduction, Sum
from ..pairwise.tile import Tile
from ._checks import check_tags
from ._class_scores import ClassLoss, matched
from ._labels import of_tile


class ClassEmbeddingLoss(ClassLoss):
    """A hinge embedding loss with a margin and a weight of each class by its number of examples.

        x_ic = 1 − <z_i, t_c>,   Δ_c = Δ / n_c^η,   ω_c = n_c^−ρ / Σ_k n_k^−ρ
        loss = mean_i Σ_c ω_c · { x_ic if c applies to i, else max(0, Δ_c − x_ic) }

    z are unit-norm features of captions and t those of the prompts of classes. It pulls a prompt to the captions of
    examples that have the class and pushes it from others within the margin, which is larger for rare classes. The
    weights ω sum to 1. The released code rewards the distance of positives; this is the form that the paper states.
    It also compares token vectors at shifted positions, where this loss takes features of whole texts.

    Args:
        margin: Δ.
        margin_power: η; 0 for one margin.
        weight_power: ρ; 0 for equal weights.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Xia et al., "LMPT: Prompt Tuning with Class-Specific Embedding Loss for Long-tailed Multi-Label Visual
    Recognition" (2023), arXiv 2305.04536.

    >>> t, counts = torch.eye(2), torch.tensor([1.0, 1.0])
    >>> z = torch.tensor([[0.6, 0.8]])   # ½ (1 − 0.6) of the positive, ½ (0.5 − 0.2) of the other
    >>> round(ClassEmbeddingLoss(margin=0.5)(z, t, counts, targets=torch.tensor([[True, False]])).item(), 4)
    0.35
    """

    family = "tags"
    papers = ("lmpt",)

    def __init__(
        self,
        margin: NonNegative = 0.2,
        *,
        margin_power: NonNegative = 0.25,
        weight_power: NonNegative = 2.0,
    ) -> None:
        super().__init__()
        self.margin, self.margin_power, self.weight_power = margin, margin_power, weight_power

    def forward(
        self,
        z: Float[Tensor, "B d"],
        bank: Float[Tensor, "C d"],
        counts: Float[Tensor, " C"],
        *,
        targets: Bool[Tensor, "B C"],
        known: Bool[Tensor, "B C"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of captions and class prompts.

        Args:
            z: unit-norm features of captions.
            bank: t, unit-norm features of prompts, the same on every rank.
            counts: n, the training examples of each class; none counts as one.
            targets: the classes that the example of a caption has.
            known: the classes of which that is known; all unless given. An example of which nothing is known counts for
                nothing.
        """
        z, bank = matched(z, bank)
        masks = {"targets": targets} if known is None else {"targets": targets, "known": known}
        check_tags(z, bank, **masks)
        counts = counts.to(bank).clamp_min(1)
        weight = counts**-self.weight_power
        columns = {
            "z": bank,
            "margin": self.margin / counts**self.margin_power,
            "weight": weight / weight.sum(),
        }

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            distance = 1 - tile.dot()
            true, certain = of_tile("targets", tile), of_tile("known", tile)
            assert true is not None
            costs = torch.where(true, distance, (tile.column.margin - distance).relu()) * tile.column.weight
            return {"row": {"tags": Sum(costs if certain is None else costs.masked_fill(~certain, 0.0))}}

        r = self.reduce(terms, rows={"z": z, **masks}, columns=columns, same_columns=True)
        any_known = torch.ones_like(r.row.tags) if known is None else known.any(1).to(r.row.tags)
        return self.mean(r.row.tags, any_known)
