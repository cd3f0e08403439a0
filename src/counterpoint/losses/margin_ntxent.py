"""NT-Xent with a margin on the positive, as in the verification of speakers and faces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import NonNegative, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import WholeRow, log_sum_exp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import NEG, Tile

Margin = Literal["additive", "angular"]


class MarginNTXentLoss(PairwiseLoss):
    """NT-Xent whose positive must win by a margin m on its cosine, cos θ, or on its angle.

        loss = mean over anchors a of  −log exp(ℓ_a/τ) / (exp(ℓ_a/τ) + Σ_{n ∈ N(a)} exp(<z_a, z_n>/τ)),
        additive:  ℓ = cos θ − m
        angular:   ℓ = cos(θ + m), and cos θ − m sin m where θ + m would pass π

    ==========  =================================================  ===========================================
    two-sided   all of z = [x; y] are anchors                      N(a): all views of other examples, 2B − 2
    one-sided   x alone, each with its y as the positive           N(a): the y of other examples, B − 1
    ==========  =================================================  ===========================================

    The margin acts on the cosine, before τ, and negatives have none; m = 0 two-sided is `NTXentLoss`, one-sided
    InfoNCE from x to y. Two examples of one class in a batch are false negatives, which a large margin
    makes worse: additive beyond about 0.3 and angular beyond about 0.2 hurt. A batch of one has no
    negatives: the loss is 0.

    Args:
        temperature: τ; a number is fixed.
        kind: of the margin.
        margin: m ≥ 0; on a cosine, or in radians and at most π.
        two_sided: whether both views are anchors.

    Raises:
        ValueError: for an unknown kind, a margin out of its range, or embeddings that do not pair up.

    Source: Lepage and Dehak, "Experimenting with Additive Margins for Contrastive Self-Supervised Speaker
    Verification" (2023), arXiv 2306.03664.

    >>> x = torch.eye(4)                              # the partner at 1 - 0.5, six others at 0
    >>> round(MarginNTXentLoss(temperature=0.5, margin=0.5)(x, x).item(), 4)
    1.1654
    """

    family = "margin"
    is_method = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {
        "temperature": (0.02, 0.2),
        "margin": (0.02, 0.3),
    }
    papers = ("contrastive-margins-sv",)

    def __init__(
        self,
        temperature: Positive | Temperature = 0.03,
        *,
        kind: Margin = "additive",
        margin: NonNegative = 0.1,
        two_sided: bool = True,
    ) -> None:
        super().__init__()
        if kind == "angular" and margin > math.pi:
            raise ValueError(f"an angular margin must be at most π, got {margin}")
        self.temperature = Temperature.of(temperature, Temperature(0.03))
        self.kind, self.margin, self.two_sided = kind, margin, two_sided

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views ``x`` and ``y`` of the same examples."""
        x, y = paired(x=x, y=y)
        item = self.index(x)
        anchor, partner, others = x, y, y
        if self.two_sided:
            anchor, partner, item = torch.cat([x, y]), torch.cat([y, x]), item.repeat(2)
            others = anchor
        scale = self.temperature.inverse(x.dtype)
        scaled = scale * anchor
        positive = scale * self.with_margin(dot(scaled, partner) / scale)

        def terms(tile: Tile) -> dict[str, dict[str, WholeRow]]:
            negatives = tile.dot().masked_fill(tile.same("item"), NEG)
            return {"total": {"all": WholeRow(_row_loss, tile.row.positive, negatives)}}

        rows = {"z": scaled, "item": item, "positive": positive}
        r = self.reduce(terms, rows=rows, columns={"z": others, "item": item})
        return r.total.all / self.count(anchor)

    def with_margin(self, cosine: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return ℓ of cos θ.

        >>> MarginNTXentLoss(margin=0.25).with_margin(torch.tensor([1.0, 0.0])).tolist()
        [0.75, -0.25]
        """
        if self.kind == "additive":
            return cosine - self.margin
        m = self.margin
        # Rounding can bring the square below 0, and at 0 the gradient of the root is infinite.
        sine = (1 - cosine.square()).clamp_min(torch.finfo(cosine.dtype).eps).sqrt()
        shifted = cosine * math.cos(m) - sine * math.sin(m)
        return torch.where(cosine > -math.cos(m), shifted, cosine - m * math.sin(m))


def _row_loss(positive: Float[Tensor, " r"], negatives: Float[Tensor, "r c"]) -> Float[Tensor, " r"]:
    # −log P at once: the log-sum-exp of all less the positive would lose its digits where P is near 1.
    return -F.logsigmoid(positive - log_sum_exp(negatives))
