"""Supervised contrast between features of several models or modalities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, Sum
from ..pairwise.tile import NEG, Tile


class SupConBanksLoss(PairwiseLoss):
    """Supervised contrast whose anchors, positives and negatives are features of their own.

    P(k) are the examples of k's class among those of ``positive_mask``, k included. With anchors a, a bank b and
    positives p:

        without positives:  loss = mean_k mean_{j∈P(k)}  log Σ_i exp(<a_k, b_i>/τ) − <a_k, b_j>/τ
        with positives:     loss = mean_k mean_{j∈P(k)}  log [exp(<a_k, p_j>/τ) + N_k] − <a_k, p_j>/τ
        N_k = Σ_{i≠k} exp(<a_k, b_i>/τ)

    Without positives of their own, the positives are rows of the bank. The mean over k is over the examples of
    ``anchor_mask``. An anchor without a positive is left out of it, and the loss is 0 where all are. An example
    labelled −1 is alone in its class.

    The exponential of the positive itself in the second form keeps the loss above 0.

    Args:
        temperature: τ; fixed.

    Raises:
        ValueError: for features, labels or masks that are not one a row.

    Source: Cappellazzo et al., "Continual Contrastive Spoken Language Understanding" (2023), arXiv 2310.02699, whose
    second form has no exponential of the positive, so that it may be negative.

    >>> x, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
    >>> loss = SupConBanksLoss(temperature=1.0)
    >>> round(loss(x, x, labels=labels).item(), 4)                  # log(e + 3) − 1/2
    1.2437
    >>> round(loss(x, x, x, labels=labels).item(), 4)               # (log(e + 3) − 1 + log 4) / 2
    1.065
    """

    family = "labels"
    needs_labels = True
    papers = ("coconut-slu",)

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self,
        anchors: Float[Tensor, "B d"],
        bank: Float[Tensor, "B d"],
        positives: Float[Tensor, "B d"] | None = None,
        *,
        labels: Int[Tensor, " B"],
        anchor_mask: Bool[Tensor, " B"] | None = None,
        positive_mask: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm features of the same examples.

        Args:
            anchors: features that take part as anchors.
            bank: features that they are told apart from.
            positives: features of the positives; those of the bank unless given.
            labels: the class of each example, −1 for none.
            anchor_mask: which examples are anchors; all unless given.
            positive_mask: which examples are positives; all unless given.
        """
        named = {"anchors": anchors, "bank": bank}
        if positives is not None:
            named["positives"] = positives
        anchors, bank, *own = paired(**named)
        item = self.index(anchors)
        every = torch.ones_like(item, dtype=torch.bool)
        anchor_mask = every if anchor_mask is None else anchor_mask
        positive_mask = every if positive_mask is None else positive_mask
        for name, one in (("labels", labels), ("anchor_mask", anchor_mask), ("positive_mask", positive_mask)):
            if one.shape != item.shape or one.is_floating_point():
                raise ValueError(
                    f"{name} must be one per row, ({len(item)},), got {tuple(one.shape)} {one.dtype}"
                )
        sides = {"item": item, "group": torch.where(labels < 0, -1 - item, labels)}
        rows = {"z": anchors / self.temperature, **sides}
        columns = {"z": bank, "usable": positive_mask, **sides}

        def of_bank(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits = tile.dot()
            if own:
                return {"row": {"all": LogSumExp(logits.masked_fill(tile.same("item"), NEG))}}
            positive = tile.same("group") & tile.column.usable[None]
            return {
                "row": {
                    "all": LogSumExp(logits),
                    "positives": Sum(logits * positive),
                    "count": Sum(positive.to(logits)),
                }
            }

        r = self.reduce(of_bank, rows=rows, columns=columns).row
        if own:
            # With the positive's own exponential: log(e^s + Σ) − s = log(1 + e^(Σ − s)).
            def of_positives(tile: Tile) -> dict[str, dict[str, Reduction]]:
                positive = tile.same("group") & tile.column.usable[None]
                excess = F.softplus(tile.row.others[:, None] - tile.dot())
                return {"row": {"terms": Sum(excess * positive), "count": Sum(positive.to(excess))}}

            p = self.reduce(
                of_positives, rows={**rows, "others": r.all}, columns={**columns, "z": own[0]}
            ).row
            count, values = p.count, p.terms / p.count.clamp_min(1)
        else:
            count, values = r.count, r.all - r.positives / r.count.clamp_min(1)
        return self.mean(values, weights=(anchor_mask & (count > 0)).to(values))
