"""One loss on the views of each example: how every contrastive loss becomes an arm of a comparison."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Fraction
from ..networks.base import Towers
from ..networks.heads import mlp
from ..pairwise import Loss
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, StepInfo, Target
from .dropout import Rates, check_rates, dropped, listed, stated
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, contrasted, paired

Head = Literal["mlp", "identity", "relu"]
"""Ways from features to what a loss of one column sees; all but the perceptron are the user's way, too."""


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

    ``supcon,on=images,head=relu`` has no perceptron, and sees z = nz(relu(f(view))): the means of classes become an
    orthogonal frame, however unequal classes are (``head=identity`` is the control). ReLU comes before normalisation
    and behind the last layer, as a perceptron that ends in a linear layer would undo it. Whoever measures the frame
    must not centre, and the tower must be well wider than there are classes. A view of which nothing is above 0 stays
    0; ``dead``, the share of them, is logged. ``sampler=bound:1`` binds a row of each class to every batch, so that
    batches which are never shuffled, too, have the frame as their only minimum.

    Args:
        towers: the towers of the one or the two columns.
        recipe: gives the widths: ``embedding`` for two columns, else ``ssl_hidden`` and ``ssl_output``.
        objective: the loss of unit-norm views ``(B, d)``.
        name: of the loss in logs.
        views: V; more than 2 where the loss takes them. Unless given, 2, or as many as there are rates of dropout.
        target: the label that a loss which needs classes gets; ``group`` unless given.
        head: of one column: SimCLR's perceptron (``mlp``), none (``identity``), or ReLU alone (``relu``).
        dropout: of the tower's residual blocks, on one column whose tower takes a rate: on texts, where it is 0.1
            unless given; or a rate for each view, of which one at most is 0: two such views would be equal.

    Raises:
        ValueError: for a number of views that the loss or the pair does not have; for a head or dropout of two columns;
            for several rates that are not one for each view, or twice 0; for a tower that cannot drop anything.

    Source: for rates by view, Sedghamiz et al., "SupCL-Seq: Supervised Contrastive Learning for Downstream Optimized
    Sequence Representations" (2021), arXiv 2109.07424; for ReLU, Kini et al., "Symmetric Neural-Collapse
    Representations with Supervised Contrastive Loss: The Impact of ReLU and Batching" (2023), arXiv 2306.07960, of
    which no code was found to check by; its loss is `SupConLoss`.
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
        head: Head = "mlp",
        dropout: Fraction | Rates | None = None,
    ) -> None:
        super().__init__(towers)
        rates = listed(0.1 if dropout is None else dropout)
        if views is None:
            views = 2 if len(towers) == 2 else max(2, len(rates))
        # A user's loss may be any module; then it has the facts of a loss that states none.
        facts = type(objective) if isinstance(objective, Loss) else Loss
        self.is_pair = len(towers) == 2
        most = 2 if self.is_pair or not facts.many_views else None
        if views < 2 or (most is not None and views > most):
            raise ValueError(
                f"views={views}: {name} on {' and '.join(towers)} takes {'2' if most else '2 or more'}"
            )
        widths = recipe.widths
        self.by_view: tuple[float, ...] = ()
        if self.is_pair:
            if head != "mlp":
                raise ValueError(
                    f"head={head}: two columns have linear heads; give on=COLUMN or leave it out"
                )
            if dropout:
                raise ValueError(f"dropout={stated(rates)}: dropout is for one column, on=COLUMN")
            self.views = paired(towers)
            self.projections = nn.ModuleDict(linear_heads(towers, widths.embedding))
        else:
            ((column, tower),) = towers.items()
            self.views = contrasted(column, tower, views)
            projection: nn.Module = nn.ReLU() if head == "relu" else nn.Identity()
            if head == "mlp":
                projection = mlp(tower.width, widths.ssl_hidden, widths.ssl_output)
            self.projections = nn.ModuleDict({column: projection})
            if dropout and len(rates) == 1 and not tower.takes_dropout:
                rates *= views  # of layers of its own, if it has any
            if len(rates) > 1:
                if len(rates) != views:
                    raise ValueError(
                        f"dropout={stated(rates)} has {len(rates)} rates for {views} views; give one for each view"
                    )
                check_rates(rates, tower)
                self.by_view = rates
            self.dropout = max(rates) if tower.takes_dropout or self.by_view else 0.0
        self.objective, self.name, self.head, self.dead = objective, name, head, torch.tensor(0.0)
        self.labels = "group" if target is None else target.label
        self.needs_ids, self.needs_labels, self.papers = facts.needs_ids, facts.needs_labels, facts.papers
        self.ordered = isinstance(objective, Loss) and objective.ordered

    def encode(self, batch: Batch) -> Embeddings:
        if self.by_view:
            (column,) = self.columns
            return dropped(self.tower(column), {name: batch[name] for name in self.views}, self.by_view)
        options = {"dropout": self.dropout} if self.dropout else {}
        return {name: self.tower(view.column)(batch[name], **options) for name, view in self.views.items()}

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        left_off = self.head == "mlp" and not self.is_pair
        return features if left_off else super().project(column, features, head)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        heads = {name: self.projections[self.columns[view.column]] for name, view in self.views.items()}
        views = [F.normalize(head(z[name]), dim=-1) for name, head in heads.items()]
        if self.head == "relu":
            self.dead = (torch.cat(views).detach() == 0).all(1).float().mean()
        loss = self.objective(*views, **self.loss_inputs(z, batch))
        # A loss that was detached on its way would train nothing, and nobody would notice.
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"{self.name} must return one number that depends on the embeddings, got {got}")
        return {self.name: loss}

    def numbers(self) -> dict[str, float]:
        return {"dead": float(self.dead)} if self.head == "relu" else {}

    def loss_inputs(self, z: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Return what the loss takes beside the views.

        Raises:
            UnknownNameError: for a label that the data does not have.
        """
        extras = {}
        if self.needs_ids:
            extras["ids"] = batch.ids
        if self.needs_labels:
            if self.labels not in batch.labels:
                raise unknown("label", self.labels, batch.labels)
            extras["labels"] = batch.labels[self.labels]
        return extras
