"""One loss on the views of each example: how every contrastive loss becomes an arm of a comparison."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Fraction
from ..networks.base import Towers
from ..networks.heads import mlp
from ..pairwise import Loss
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Clock, Embeddings, Target
from .base import TowerMethod, contrasted, paired
from .dual_encoder import linear_heads
from .needs import Needs


class SingleLoss(TowerMethod):
    """``L = loss(z_1, …, z_V)`` with z_v = nz(g(f(view v))), nz(u) = u / ‖u‖.

    ===========  ===========================================================================================
    two columns  a picture and its caption under CLIP's towers, views and linear heads; V = 2
    one column   V augmented views of the picture (``on=images``), V passes of one caption under dropout
                 (``on=texts``, SimCSE), V views of whatever the column holds (``on=COLUMN``); g is SimCLR's
                 perceptron, which is left off afterwards: a user gets the tower's own features
    ===========  ===========================================================================================

    Args:
        towers: the towers of the one or the two columns.
        recipe: gives the widths: ``embedding`` for two columns, else ``ssl_hidden`` and ``ssl_output``.
        objective: the loss of unit-norm views ``(B, d)``.
        name: of the loss in logs.
        views: V; more than 2 where the loss takes them.
        target: the label that a loss which needs classes gets; ``group`` unless given.
        dropout: of the tower's residual blocks, on one column whose tower takes a rate: on texts.

    Raises:
        ValueError: for a number of views that the loss or the pair does not have.
    """

    needs: ClassVar[Needs] = Needs(1, 2)

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        objective: nn.Module,
        name: str,
        *,
        views: int = 2,
        target: Target | None = None,
        dropout: Fraction = 0.1,
    ) -> None:
        super().__init__(towers)
        # A user's loss may be any module; then it has the facts of a loss that states none.
        facts = type(objective) if isinstance(objective, Loss) else Loss
        self.pairs = len(towers) == 2
        most = 2 if self.pairs or not facts.many_views else None
        if views < 2 or (most is not None and views > most):
            raise ValueError(
                f"views={views}: {name} on {' and '.join(towers)} takes {'2' if most else '2 or more'}"
            )
        widths = recipe.widths
        if self.pairs:
            self.views = paired(towers)
            self.projections = nn.ModuleDict(linear_heads(towers, widths.embedding))
        else:
            ((column, tower),) = towers.items()
            self.views = contrasted(column, tower, views)
            self.projections = nn.ModuleDict({column: mlp(tower.width, widths.ssl_hidden, widths.ssl_output)})
            self.dropout = dropout if tower.takes_dropout else 0.0
        self.objective, self.name = objective, name
        self.labels = "group" if target is None else target.label
        self.needs_ids, self.needs_labels, self.papers = facts.needs_ids, facts.needs_labels, facts.papers

    def encode(self, batch: Batch) -> Embeddings:
        dropped = {"dropout": self.dropout} if self.dropout else {}
        return {name: self.tower(view.column)(batch[name], **dropped) for name, view in self.views.items()}

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return super().project(column, features, head) if self.pairs else features

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        heads = {name: self.projections[self.columns[view.column]] for name, view in self.views.items()}
        views = [F.normalize(head(z[name]), dim=-1) for name, head in heads.items()]
        extras = {}
        if self.needs_ids:
            extras["ids"] = batch.ids
        if self.needs_labels:
            if self.labels not in batch.labels:
                raise unknown("label", self.labels, batch.labels)
            extras["labels"] = batch.labels[self.labels]
        loss = self.objective(*views, **extras)
        # A loss that was detached on its way would train nothing, and nobody would notice.
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"{self.name} must return one number that depends on the embeddings, got {got}")
        return {self.name: loss}
