"""The multi-similarity loss: soft maxima of what is too far and of what is too near."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import Finite, NonNegative, Positive
from ..pairwise.inputs import softplus
from ..pairwise.reductions import Reduction
from ._pairs import ViewPairLoss, Weights, log_sum


class MultiSimilarityLoss(ViewPairLoss):
    """Positives above a similarity and negatives below it, the farthest and the nearest most of all.

        l(a) = 1/α log[1 + Σ_{p ∈ P(a)} exp(−α (s_ap − m))] + 1/β log[1 + Σ_{n ∈ N(a)} exp(β (s_an − m))]

    and the loss is the mean over anchors. Without the paper's mining of pairs, as its users have it. With ``mix`` see
    `PairLoss`.

    Args:
        alpha: α, of positives.
        beta: β, of negatives.
        base: m. The defaults are pytorch-metric-learning's; mixtures were published with 18, 75 and 0.77, which could
            not be checked.
        mix: w, the weight of mixtures.

    Raises:
        ValueError: for labels that are not one integer per row, or views that do not match.

    Source: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning" (2019), arXiv
    1904.06627; with mixtures Venkataramanan et al. (2022), arXiv 2106.04990.

    >>> import torch
    >>> x = torch.eye(2)                              # the positive at 1, two negatives at 0
    >>> loss = MultiSimilarityLoss(1.0, 1.0, 0.0)     # log(1 + 1/e) + log(1 + 2)
    >>> round(loss(x, x, labels=torch.tensor([0, 1])).item(), 4)
    1.4119
    """

    family = "supervised"
    is_method = True
    papers = ("metrix",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"alpha": (1.0, 20.0), "beta": (10.0, 100.0)}

    def __init__(
        self, alpha: Positive = 2.0, beta: Positive = 50.0, base: Finite = 0.5, *, mix: NonNegative = 0.0
    ) -> None:
        super().__init__(mix)
        self.alpha, self.beta, self.base = alpha, beta, base

    def terms(self, s: Float[Tensor, "r c"], pull: Weights, push: Weights) -> Mapping[str, Reduction]:
        above = s - self.base
        return {"pull": log_sum(-self.alpha * above, pull), "push": log_sum(self.beta * above, push)}

    def joined(self, sums: SimpleNamespace) -> Float[Tensor, ""]:
        return self.mean(softplus(sums.pull) / self.alpha + softplus(sums.push) / self.beta)
