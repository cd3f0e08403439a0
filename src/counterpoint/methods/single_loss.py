"""One loss on the views of each example: how every contrastive loss becomes an arm of a comparison."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BeforeValidator
from torch import Tensor, nn

from ..forms import Fraction
from ..networks.base import Tower, Towers
from ..networks.heads import mlp
from ..networks.towers.blocks import dropout_layers, dropping
from ..pairwise import Loss
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Clock, Embeddings, Target
from .base import TowerMethod, contrasted, paired
from .dual_encoder import linear_heads
from .needs import Needs

Rates = Annotated[
    tuple[float, ...], BeforeValidator(lambda text: text.split("+") if isinstance(text, str) else text)
]
"""Rates of dropout, by view; as text they stand between plus signs."""


class SingleLoss(TowerMethod):
    """``L = loss(z_1, …, z_V)`` with z_v = nz(g(f(view v))), nz(u) = u / ‖u‖.

    ===========  ===========================================================================================
    two columns  a picture and its caption under CLIP's towers, views and linear heads; V = 2
    one column   V augmented views of the picture (``on=images``), V passes of one caption under dropout
                 (``on=texts``, SimCSE), V views of whatever the column holds (``on=COLUMN``); g is SimCLR's
                 perceptron, which is left off afterwards: a user gets the tower's own features
    ===========  ===========================================================================================

    Several rates of dropout give each view its own, as SupCL-Seq has it: ``supcon,on=text,dropout=0.1+0+0.05+0.2``
    (the paper reads the frozen tower by a linear classifier afterwards: the task ``probe``). A library's tower that has
    dropout layers then drops in these alone, all of them at the view's rate, whatever the order of the rates; they have
    their own rates again after each pass, also after one that failed. Other towers drop the inputs of their blocks.

    Args:
        towers: the towers of the one or the two columns.
        recipe: gives the widths: ``embedding`` for two columns, else ``ssl_hidden`` and ``ssl_output``.
        objective: the loss of unit-norm views ``(B, d)``.
        name: of the loss in logs.
        views: V; more than 2 where the loss takes them. Unless given, 2, or as many as there are rates of dropout.
        target: the label that a loss which needs classes gets; ``group`` unless given.
        dropout: of the tower's residual blocks, on one column whose tower takes a rate: on texts; or a rate for each
            view, of which one at most is 0: two such views would be equal.

    Raises:
        ValueError: for a number of views that the loss or the pair does not have; for several rates that are not one
            for each view, twice 0, or of a tower that cannot drop anything.

    Source: for rates by view, Sedghamiz et al., "SupCL-Seq: Supervised Contrastive Learning for Downstream Optimized
    Sequence Representations" (2021), arXiv 2109.07424.
    """

    needs: ClassVar[Needs] = Needs(1, 2)

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        objective: nn.Module,
        name: str,
        *,
        views: int | None = None,
        target: Target | None = None,
        dropout: Fraction | Rates = 0.1,
    ) -> None:
        super().__init__(towers)
        rates = dropout if isinstance(dropout, tuple) else (dropout,)
        if views is None:
            views = 2 if len(towers) == 2 else max(2, len(rates))
        # A user's loss may be any module; then it has the facts of a loss that states none.
        facts = type(objective) if isinstance(objective, Loss) else Loss
        self.pairs = len(towers) == 2
        most = 2 if self.pairs or not facts.many_views else None
        if views < 2 or (most is not None and views > most):
            raise ValueError(
                f"views={views}: {name} on {' and '.join(towers)} takes {'2' if most else '2 or more'}"
            )
        widths = recipe.widths
        self.by_view: tuple[float, ...] = ()
        if self.pairs:
            if len(rates) > 1:
                raise ValueError(f"dropout={_stated(rates)}: rates by view are for one column, on=COLUMN")
            self.views = paired(towers)
            self.projections = nn.ModuleDict(linear_heads(towers, widths.embedding))
        else:
            ((column, tower),) = towers.items()
            self.views = contrasted(column, tower, views)
            self.projections = nn.ModuleDict({column: mlp(tower.width, widths.ssl_hidden, widths.ssl_output)})
            self.by_view = self._rates(rates, views, tower) if len(rates) > 1 else ()
            self.dropout = max(rates) if tower.takes_dropout or self.by_view else 0.0
        self.objective, self.name = objective, name
        self.labels = "group" if target is None else target.label
        self.needs_ids, self.needs_labels, self.papers = facts.needs_ids, facts.needs_labels, facts.papers

    def encode(self, batch: Batch) -> Embeddings:
        if self.by_view:
            rates = zip(self.views.items(), self.by_view, strict=True)
            return {
                name: _dropped(self.tower(view.column), batch[name], rate) for (name, view), rate in rates
            }
        dropped = {"dropout": self.dropout} if self.dropout else {}
        return {name: self.tower(view.column)(batch[name], **dropped) for name, view in self.views.items()}

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return super().project(column, features, head) if self.pairs else features

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        heads = {name: self.projections[self.columns[view.column]] for name, view in self.views.items()}
        views = [F.normalize(head(z[name]), dim=-1) for name, head in heads.items()]
        loss = self.objective(*views, **self.beside(batch))
        # A loss that was detached on its way would train nothing, and nobody would notice.
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"{self.name} must return one number that depends on the embeddings, got {got}")
        return {self.name: loss}

    def beside(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the loss takes of a batch beside the views.

        Raises:
            UnknownName: for a label that the data does not have.
        """
        extras = {}
        if self.needs_ids:
            extras["ids"] = batch.ids
        if self.needs_labels:
            if self.labels not in batch.labels:
                raise unknown("label", self.labels, batch.labels)
            extras["labels"] = batch.labels[self.labels]
        return extras

    def _rates(self, rates: tuple[float, ...], views: int, tower: Tower) -> tuple[float, ...]:
        stated = _stated(rates)
        if len(rates) != views:
            raise ValueError(
                f"dropout={stated} has {len(rates)} rates for {views} views; give one for each view"
            )
        if not all(0 <= rate <= 1 for rate in rates):
            raise ValueError(f"dropout={stated}: rates lie between 0 and 1")
        if rates.count(0.0) > 1:
            raise ValueError(f"dropout={stated}: two views without dropout are equal; let one at most have 0")
        if not (tower.takes_dropout or dropout_layers(tower)):
            raise ValueError(f"dropout={stated}: the {tower.modality} tower {tower.name!r} has no dropout")
        return rates


def _stated(rates: tuple[float, ...]) -> str:
    return "+".join(f"{rate:g}" for rate in rates)


def _dropped(tower: Tower, inputs: Tensor, rate: float) -> Tensor:
    """Return features under a rate of dropout: of the tower's own layers, or where it has none of its blocks."""
    layers = dropout_layers(tower)
    # Set for every view, also where it is the layers' own: what was set for the view before it is over.
    with dropping(layers, [rate] * len(layers)):
        features: Tensor = tower(inputs) if layers else tower(inputs, dropout=rate)
    return features
