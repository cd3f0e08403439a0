"""The plain dual encoder: a view of each of two columns, a head each, one loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.base import Towers
from ..networks.heads import Linear
from ..types import Batch, Embeddings, StepInfo, ViewSpec
from .tower_method import TowerMethod, distinct, paired


class DualEncoder(TowerMethod):
    """``loss(x, y)`` with x = nz(head_1(f_1(column 1))), y = nz(head_2(f_2(column 2))), nz(u) = u / ‖u‖.

    The base of the methods that differ from each other in nothing but heads, views and loss.

    Args:
        towers: the towers, by column.
        heads: the head of each tower, all into one space.
        objective: the loss of unit-norm embeddings ``(B, d)`` of the two columns.
        name: of the loss in logs.
        views: how the columns are looked at, by column; see `paired` for what is not given.
        order: the columns as the loss takes them; that of the towers unless given.
    """

    def __init__(
        self,
        towers: Towers,
        heads: Mapping[str, nn.Module],
        objective: nn.Module,
        name: str,
        *,
        views: ViewSpec | None = None,
        order: Sequence[str] = (),
    ) -> None:
        super().__init__(towers)
        self.views = {**paired(towers), **(views or {})}
        self.projections = nn.ModuleDict(heads)
        self.objective = objective
        self.name, self.order = name, tuple(order or towers)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.order)
        return {self.name: self.objective(x, y)}


def linear_heads(towers: Towers, width: int) -> dict[str, nn.Module]:
    """Return CLIP's heads: linear, without bias, from N(0, width^−½)."""
    return {name: Linear(tower.width, width) for name, tower in distinct(towers).items()}


def begin_as_identity(method: TowerMethod) -> None:
    """Let the linear heads of a method, and of methods within it, begin as the identity where they can."""
    parts = [part.projections for part in method.modules() if isinstance(part, TowerMethod)]
    for head in (head for heads in parts for head in heads.values()):
        if isinstance(head, nn.Linear) and head.in_features == head.out_features:
            nn.init.eye_(head.weight)


def heads_into_first(towers: Towers) -> dict[str, nn.Module]:
    """Return heads into the space of the first tower's features: none for that tower, linear ones for the others."""
    (first, tower), *others = distinct(towers).items()
    return {first: nn.Identity(), **{name: Linear(other.width, tower.width) for name, other in others}}
