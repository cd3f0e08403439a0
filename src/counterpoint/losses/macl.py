"""Model-aware contrastive learning: the temperature follows alignment, and the gradient does not shrink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import Fraction, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import WholeRow, log_sum_exp
from ..pairwise.tile import NEG, Tile


class MACLLoss(PairwiseLoss):
    """NT-Xent at a temperature that rises with the alignment of the batch, each anchor reweighted by 1/(1 − P).

    With z = [x; y], P_a the softmax at anchor a of its partner against all views of other examples, and sg
    a constant to the gradient:

        A = sg(mean_i <x_i, y_i>),   τ = max(τ_0 (1 + α (A − A_0)), τ_0/20),
        loss = mean_a −V_a log P_a,   V_a = sg(1 / (1 − P_a))

    =============  ==============================  ===========================================================
    temperature    ``reweight=False``              NT-Xent, milder on hard negatives as alignment grows
    reweighting    ``alpha=0``                     the gradient of `DCLLoss`, halved, as that sums over views
    neither        ``alpha=0, reweight=False``     `NTXentLoss` at τ_0
    =============  ==============================  ===========================================================

    Values do not compare with those of InfoNCE, as V rises while the fit improves: choose no model by them. A
    batch of one has no negatives: the loss is 0.

    Args:
        temperature: τ_0 > 0.
        alpha: α in [0, 1], how far the temperature follows; the authors' code leaves it open.
        threshold: A_0 in [0, 1], the alignment at which τ is τ_0.
        reweight: whether V is other than 1.

    Raises:
        ValueError: for an option out of its range, or embeddings that do not pair up.

    Source: Huang et al., "Model-Aware Contrastive Learning: Towards Escaping the Dilemmas" (2023), arXiv
    2207.07874.

    >>> x = torch.eye(4)                              # A = 1: log(1 + 6 / e) at twice the temperature
    >>> round(MACLLoss(temperature=0.5, alpha=1.0, reweight=False)(x, x).item(), 4)
    1.1654
    """

    family = "softmax"
    is_method = True
    symmetric = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.05, 0.5)}
    stop_gradient = True
    papers = ("macl",)

    def __init__(
        self,
        temperature: Positive = 0.1,
        *,
        alpha: Fraction = 0.5,
        threshold: Fraction = 0.0,
        reweight: bool = True,
    ) -> None:
        super().__init__()
        self.temperature, self.alpha, self.threshold, self.reweight = temperature, alpha, threshold, reweight

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views ``x`` and ``y`` of the same examples."""
        x, y = paired(x=x, y=y)
        z, partner = torch.cat([x, y]), torch.cat([y, x])
        item = self.index(x).repeat(2)

        def terms(tile: Tile) -> dict[str, dict[str, WholeRow]]:
            negatives = tile.dot().masked_fill(tile.same("item"), NEG)
            return {"total": {"all": WholeRow(self.row_loss, tile.row.positive, negatives)}}

        scaled = z / self.adapted(x, y)
        rows = {"z": scaled, "item": item, "positive": dot(scaled, partner)}
        r = self.reduce(terms, rows=rows, columns={"z": z, "item": item})
        return r.total.all / self.count(z)

    def row_loss(self, positive: Float[Tensor, " r"], negatives: Float[Tensor, "r c"]) -> Float[Tensor, " r"]:
        """Return the loss of complete rows: −log P, and with ``reweight`` over 1 − P."""
        margin = positive - log_sum_exp(negatives)
        # The log-sum-exp of all less the positive would lose its digits where P is near 1.
        loss = -F.logsigmoid(margin)
        # 1/(1 − P) = 1 + exp(margin). Up to e⁶⁰ its product with −log P keeps all digits in float32.
        return loss * (1 + margin.detach().clamp_max(60).exp()) if self.reweight else loss

    @torch.no_grad()
    def adapted(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return τ for this batch, the same on all ranks."""
        alignment = self.mean((x * y).sum(-1))
        return self.temperature * (1 + self.alpha * (alignment - self.threshold)).clamp_min(0.05)
