"""WhitenedCSE: several dropout passes of a caption, each whitened under a shuffle of its own."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ..forms import Fraction, Natural, Positive
from ..losses import WhitenedCSELoss
from ..networks.base import Towers
from ..networks.whitening import GroupWhitening
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, contrasted

GROUP = 6
"""Channels of a group in the paper's code: 768 in 128 groups."""

Views = Annotated[int, Field(ge=2)]
"""Range of the number of views: the first needs at least one other."""


class WhitenedCSE(TowerMethod):
    """L = Σ_{v=2..V} InfoNCE(z_1 → z_v) with z_v = nz(tanh(W SGW_v(f(view v)) + b)), nz(u) = u / ‖u‖.

    SGW is `GroupWhitening` of the batch's features; each view draws a shuffle of the channels for itself, the
    same on all ranks. The views are V dropout passes of one caption (with ``augmentation.captions: shared``
    where an example has several), or V augmentations of the picture. Whitening and head are left off
    afterwards: a user gets the tower's own features.

    Args:
        towers: the towers, by column.
        recipe: of the run; gives nothing here, as the head is as wide as the tower.
        views: V, at least 2.
        groups: of channels; unless given, groups of six or of the next larger size that divides the width. 0 whitens
            nothing: SimCSE with V passes, under this head.
        shuffle: whether each view draws a shuffle; without it the groups are always the same.
        temperature: fixed.
        detach_whitening: whether the whitening matrix carries no gradient.
        dropout: of the tower's residual blocks, where the tower takes a rate: on texts, where it is 0.1 unless given.

    Raises:
        ValueError: for fewer than two views, groups that do not divide the width, or dropout of a tower that takes no
            rate.

    Source: Zhuo et al., "WhitenedCSE: Whitening-based Contrastive Learning of Sentence Embeddings" (2023),
    arXiv 2305.17746.
    """

    family = "one modality"
    papers = ("whitened-cse",)
    needs: ClassVar[Needs] = Needs(1, 1, prefers="text")
    draws = True
    tunable: ClassVar[Ranges] = {"temperature": (0.02, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        views: Views = 3,
        groups: Natural | None = None,
        shuffle: bool = True,
        temperature: Positive = 0.05,
        detach_whitening: bool = True,
        dropout: Fraction | None = None,
    ) -> None:
        super().__init__(towers)
        ((column, tower),) = towers.items()
        self.views = contrasted(column, tower, views)
        width = tower.width
        if groups is None:
            groups = width // next(s for s in range(min(GROUP, width), width + 1) if width % s == 0)
        self.whitening = GroupWhitening(width, groups, detach=detach_whitening) if groups else None
        self.shuffle = shuffle
        self.head = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.objective = WhitenedCSELoss(temperature)
        if dropout and not tower.takes_dropout:
            raise ValueError(
                f"dropout={dropout:g}: the {tower.modality} tower {tower.name!r} takes no rate; leave it out"
            )
        rate = 0.1 if dropout is None else dropout
        self.dropout = rate if tower.takes_dropout else 0.0

    def encode(self, batch: Batch) -> Embeddings:
        dropped = {"dropout": self.dropout} if self.dropout else {}
        return {name: self.tower(view.column)(batch[name], **dropped) for name, view in self.views.items()}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        views = [F.normalize(self.head(self._whitened(z[name])), dim=-1) for name in self.views]
        return {"whitened-cse": self.objective(*views)}

    def _whitened(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        if self.whitening is None:
            return features
        if not self.shuffle:
            return self.whitening(features)
        drawn = torch.randperm(self.whitening.width).to(features.device)
        return self.whitening(features, Ranks.present().stack(drawn)[0])  # the first rank's
