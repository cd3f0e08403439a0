"""Deep Boosting Learning: a target model that must beat an anchor of the same kind on every pair."""

from __future__ import annotations

import copy
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import BelowOne, Fraction, NonNegative, Positive
from ..losses import BoostLoss, HingeLoss
from ..losses.boost import Kind
from ..networks import MomentumCopy
from ..networks.base import Tower, Towers
from ..networks.state.momentum import PREFIX
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .tower_method import TowerMethod, paired

Anchor = Literal["beside", "momentum", "frozen"]
"""Origins of the anchor: a branch trained beside the target, a slow copy of it, or the target as it once was."""

BESIDE = "anchor."
"""Before the names of what a branch beside the target embeds."""


class DBL(TowerMethod):
    """L = hinge(S) + α · boost(S, A) [+ hinge(A)], with the cosines S of the target and A of the anchor, detached.

    ============  ==========================================================================================
    ``beside``    the anchor has towers and heads of its own, learns beside the target by the hinge alone,
                  and stands in the same mode, with its own dropout if there is any
    ``momentum``  an exponential average of the target, in evaluation mode: θ_A ← μ θ_A + (1 − μ) θ after
                  every step, μ rising from ``momentum`` to 1 by a cosine over the run
    ``frozen``    the target as it was after a share ``start`` of the steps, which train it by the hinge alone;
                  with ``start=0`` the weights that it began with, which must be pretrained then
    ============  ==========================================================================================

    The first step of momentum boosts over an equal copy: every hinge of the relative loss is active there. An anchor
    that is worse than the target asks for little. α = 0 is the hinge alone, and has no anchor. The target is what a
    user gets; each step runs every tower twice.

    The released code has an optimiser for each branch and clips their gradients apart; here one optimiser moves both,
    and a limit on the norm is on that of all. There the frozen anchor comes from another run, here from the same one,
    so that an arm's steps are all there were. Margin, weight and γ are those of that code.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding.
        boost: whether the target must beat the anchor's gaps or its scores; see `BoostLoss`.
        anchor: where the anchor comes from.
        weight: α.
        margin: of the hinge, in cosines, and of the boost.
        gamma: γ, of the absolute boost.
        momentum: μ at the start. The paper's 0.99995 is for long runs.
        start: the share of the steps before a frozen anchor is made.

    Raises:
        ValueError: for options out of their range; for ``frozen`` from the start with a tower that is not pretrained.

    Source: Diao et al., "Deep Boosting Learning: A Brand-new Cooperative Approach for Image-Text Matching" (2024),
    arXiv 2404.18114.
    """

    family = "two towers"
    papers = ("dbl",)
    tunable: ClassVar[Ranges] = {"margin": (0.05, 0.4), "weight": (0.1, 4.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        boost: Kind = "relative",
        anchor: Anchor = "beside",
        weight: NonNegative = 1.0,
        margin: Positive = 0.2,
        gamma: Fraction = 0.5,
        momentum: Fraction = 0.99,
        start: BelowOne = 0.5,
    ) -> None:
        super().__init__(towers)
        if anchor == "frozen" and start == 0:
            for column, tower in towers.items():
                if not tower.pretrained:
                    raise ValueError(
                        f"anchor=frozen,start=0 wants the {column} tower pretrained, but it is {tower.name!r}; name "
                        f"weights as {tower.modality}=NAME@WEIGHTS, or let start be the share that trains the anchor"
                    )
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.hinge, self.boost = HingeLoss(margin), BoostLoss(boost, margin=margin, gamma=gamma)
        self.weight, self.kind, self.start = weight, anchor, start
        self.made: Tensor
        self.anchor = None
        if weight and anchor == "beside":
            self.anchor = copy.deepcopy(_Branch(self.towers, self.projections))
            for branch_tower in self.anchor.towers.values():
                assert isinstance(branch_tower, Tower)
                # What has no weights from a file starts at random, and elsewhere than the target does.
                branch_tower.weights_set = branch_tower.weights_set and branch_tower.pretrained
        self.copy = None
        if weight and anchor != "beside":
            self.copy = MomentumCopy(_Branch(self.towers, self.projections), momentum, "cosine")
        self.register_buffer("made", torch.tensor(anchor != "frozen" or start == 0))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.copy is not None:
            self.copy.eval()
        return self

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        if self.copy is None or not self.made:
            return {}
        return {PREFIX + c: self.copy(self.columns[c], batch[c]) for c in self.columns}

    def encode(self, batch: Batch) -> Embeddings:
        beside = {}
        if self.anchor is not None:
            beside = {BESIDE + c: self.anchor(self.columns[c], batch[c]) for c in self.columns}
        return {**super().encode(batch), **beside}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        terms = {"hinge": self.hinge(x, y)}
        anchors = [z[name] for prefix in (BESIDE, PREFIX) for c in self.columns if (name := prefix + c) in z]
        if anchors:
            terms["boost"] = self.weight * self.boost(x, y, *anchors)
        if self.anchor is not None:
            terms["anchor"] = self.hinge(*anchors)
        return terms

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        if self.copy is None:
            return
        progress = min((clock.step + 1) / clock.steps, 1.0)
        if self.kind == "momentum":
            self.copy.update(progress)
            self.copy.take_buffers()
        elif not self.made and progress >= self.start:
            self.copy.restart()
            self.made.fill_(True)

    def passes(self) -> dict[str, float]:
        return {modality: (2 if self.weight else 1) * n for modality, n in super().passes().items()}


class _Branch(nn.Module):
    """Towers and heads: from a column's inputs to unit-norm embeddings."""

    def __init__(self, towers: nn.ModuleDict, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.towers, self.heads = towers, heads

    def forward(self, name: str, inputs: Tensor) -> Tensor:
        return F.normalize(self.heads[name](self.towers[name](inputs)), dim=-1)
