"""Circle loss: each similarity is weighted by how far it is from its optimum."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative, Positive
from ..pairwise.inputs import softplus
from ..pairwise.reductions import Reduction
from ._pairs import ViewPairLoss, Weights, log_sum


class CircleLoss(ViewPairLoss):
    """Every positive must beat every negative, and a similarity far from its optimum counts for more.

        l(a) = log[ 1 + Σ_p exp(−γ [1 + m − s_ap]_+ (s_ap − 1 + m)) · Σ_n exp(γ [s_an + m]_+ (s_an − m)) ]

    The factors in brackets have no gradient. Anchors without positives or without negatives cost nothing, and the loss
    is the mean over the others, as pytorch-metric-learning has it (over those whose l is not 0). With ``mix`` see
    `PairLoss`.

    Args:
        margin: m; the paper's 0.4 is for retrieval of fine classes, 0.25 for faces.
        gamma: γ; 80 with the first, 256 with the second.
        mix: w, the weight of mixtures.

    Raises:
        ValueError: for labels that are not one integer per row, or views that do not match.

    Source: Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization" (2020), arXiv 2002.10857;
    with mixtures Venkataramanan et al. (2022), arXiv 2106.04990.

    >>> import torch
    >>> x = torch.eye(2)                              # log(1 + exp(−0.16) · 2 exp(−0.16))
    >>> round(CircleLoss(gamma=1.0)(x, x, labels=torch.tensor([0, 1])).item(), 4)
    0.897
    """

    family = "supervised"
    is_method = True
    stop_gradient = True
    papers = ("metrix",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"margin": (0.1, 0.5), "gamma": (16.0, 256.0)}

    def __init__(self, margin: Positive = 0.4, gamma: Positive = 80.0, *, mix: NonNegative = 0.0) -> None:
        super().__init__(mix)
        self.margin, self.gamma = margin, gamma

    def terms(self, s: Float[Tensor, "r c"], pull: Weights, push: Weights) -> Mapping[str, Reduction]:
        m, now = self.margin, s.detach()
        return {
            "pull": log_sum(-self.gamma * (1 + m - now).relu() * (s - 1 + m), pull),
            "push": log_sum(self.gamma * (now + m).relu() * (s - m), push),
        }

    def joined(self, sums: SimpleNamespace) -> Float[Tensor, ""]:
        losses = softplus(sums.pull + sums.push)
        # NaN is not 0 and stays: a run that has gone wrong is not to look like one that has nothing left to learn.
        return self.mean(losses, weights=(losses != 0).to(losses))
