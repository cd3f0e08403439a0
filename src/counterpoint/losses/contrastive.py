"""The contrastive loss: positives at cosine 1, negatives below a margin."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import Finite, NonNegative
from ..pairwise.reductions import Reduction, Sum
from ._pairs import ViewPairLoss, Weights


class ContrastiveLoss(ViewPairLoss):
    """Every positive must have cosine 1 with its anchor, and every negative less than a margin.

        loss = mean over positive pairs of (1 − s)  +  mean over negative pairs with s > m of (s − m)

    Both sides are means over the whole batch, of negatives over those that are too near alone: a mean over all would
    vanish as they get few. The paper has ρ⁺ = −s, as here but for a constant; its release has distances, d and 0.5 − d.
    With ``mix`` see `PairLoss`; mixtures are weighted terms of the same two means.

    Args:
        margin: m, of cosines.
        mix: w, the weight of mixtures.

    Raises:
        ValueError: for labels that are not one integer per row, or views that do not match.

    Source: Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping" (2006); with mixtures
    Venkataramanan et al. (2022), arXiv 2106.04990.

    >>> import torch
    >>> z = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])   # positive at 0.6; negatives at 0.8 and 0.96
    >>> round(ContrastiveLoss()(z, labels=torch.tensor([0, 0, 1])).item(), 4)
    0.78
    """

    family = "supervised"
    is_method = True
    papers = ("metrix",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"margin": (0.1, 0.8)}

    def __init__(self, margin: Finite = 0.5, *, mix: NonNegative = 0.0) -> None:
        super().__init__(mix)
        self.margin = margin

    def terms(self, s: Float[Tensor, "r c"], pull: Weights, push: Weights) -> Mapping[str, Reduction]:
        near = (s - self.margin).relu() * push
        return {
            "pull": Sum((1 - s) * pull),
            "positives": Sum((pull > 0).to(s)),
            "push": Sum(near),
            "near": Sum((near > 0).to(s)),
        }

    def joined(self, sums: SimpleNamespace) -> Float[Tensor, ""]:
        sides = ((sums.pull, sums.positives), (sums.push, sums.near))
        pull, push = (self.mean(total / count.clamp_min(1), weights=count) for total, count in sides)
        return pull + push
