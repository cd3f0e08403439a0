"""Decoupled softmax: tags that apply are ranked above those that do not, and do not compete with each other."""

from __future__ import annotations

from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..losses import DecoupledSoftmaxLoss, MultiLabelSoftmaxLoss
from ..losses.soft_top_k import log_soft_top_k
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import StepInfo, Target, TrainingExamples
from ._scores import ScoreOptions
from ._tags import TagScores
from .base import ONCE

Coupled = Literal["none", "sum", "mean"]
"""Forms of the softmax: tags that apply do not compete, or do, their costs summed or averaged."""


class DecoupledSoftmax(TagScores):
    """``L = −mean_i (1/|P_i|) Σ_{c ∈ P_i} log [ exp s_ic / (exp s_ic + Σ_{j ∉ P_i} exp s_ij) ]``.

    P_i are the tags that apply to example i, and s_ic = cos(f(x_i), w_c) / τ unless another head is named. Each
    competes with those that do not, and not with its like, so that an example of many tags and one of a single one are
    fitted alike; with one tag each it is `CrossEntropy`. A tag of which it is not known whether it applies is no part
    of an example's softmax. An example without any tag costs nothing and counts in the mean; one of whose tags nothing
    is known counts for nothing.

    ============  ===========================================================================================
    ``none``      the loss above
    ``sum``       ``mean_i Σ_{c ∈ P_i} (log Σ_j exp s_ij − s_ic)``: all tags compete, as in the usual softmax
    ``mean``      the same, the mean over an example's tags
    ============  ===========================================================================================

    Scores of an example tell its tags apart and say nothing by themselves: a constant added to all of them changes no
    loss. Afterwards (`classify`) the probabilities are therefore ``σ(s_c + t)``, with the threshold t of each example
    at which they sum to the number of tags that training examples have on average, counted at the start.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        coupled: whether and how tags that apply compete.
        options: head, temperature, mixup and dropout of `CrossEntropy`; the head is of cosines unless one is named.

    Raises:
        ValueError: without a label, for one that is not of tags, and for a temperature of another head than cosines.

    Source: Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification" (2023), arXiv 2310.10636. There an
    encoder of labels' names, shared with the queries', makes the vectors of tags; here each tag has a free one.
    """

    family = "tags"
    papers = ("dexml",)
    name = "decoupled_softmax"
    epoch_start_every = ONCE
    usual: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        coupled: Coupled = "none",
        **options: Unpack[ScoreOptions],
    ) -> None:
        options.setdefault("head", "cosine")
        super().__init__(towers, recipe, target=target, **options)
        # The head has the temperature in its scores.
        self.softmax = (
            DecoupledSoftmaxLoss(1.0) if coupled == "none" else MultiLabelSoftmaxLoss(1.0, reduction=coupled)
        )
        self.register_buffer("usual", torch.tensor(1.0))

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Count how many tags an example has on average."""
        tags = self.classes(examples)
        # Half a row more for either answer: with no tag, or with all of them, there would be no threshold.
        has, lacks = ((tags == answer).sum(0) + 0.5 for answer in (1, 0))
        self.usual.copy_((has / (has + lacks)).sum())

    def loss(
        self, features: Float[Tensor, "B W"], labels: Tensor, weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        rows, bank, bias = self.head(features)
        if bias is not None:
            # A coordinate more that is 1 in every example.
            rows, bank = F.pad(rows, (0, 1), value=1.0), torch.cat([bank, bias[:, None]], 1)
        unknown = labels < 0
        known = (~unknown).any(1).to(rows.dtype)
        return self.softmax(
            rows,
            bank,
            targets=labels == 1,
            ignored=unknown,
            weights=known if weights is None else known * weights,
        )

    def probabilities(self, logits: Float[Tensor, "B classes"]) -> Float[Tensor, "B classes"]:
        return log_soft_top_k(logits, self.usual.expand(len(logits)), alpha=1.0).exp()
