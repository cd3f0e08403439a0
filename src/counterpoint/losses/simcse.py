"""SimCSE: one-way InfoNCE between two passes of a sentence, with or without hard negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Finite, Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import WholeRow, log_sum_exp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class SimCSELoss(PairwiseLoss):
    """Each x must find its y among all y of the batch, and among all hard negatives if there are any.

        loss = mean_i  log [ Σ_j exp(<x_i, y_j>/τ) + Σ_j exp(<x_i, n_j>/τ + w · 1[i = j]) ] − <x_i, y_i>/τ

    x and y are two dropout passes of the same sentences, or premises and what they entail; n contradicts x. One
    direction only, and x is not contrasted with x. A batch of one without negatives costs 0.

    Two equal passes (dropout 0, evaluation mode) make the positives trivial, and sentences that occur twice
    are false negatives: neither is looked for here.

    Args:
        temperature: τ; a number is fixed.
        hard_negative_weight: w, added to the logit of an anchor's own negative n_i: the logarithm of how much
            more it counts than those of the others.

    Raises:
        ValueError: for a weight that is not finite, or embeddings that do not pair up.

    Source: Gao et al., "SimCSE: Simple Contrastive Learning of Sentence Embeddings" (2021), arXiv 2104.08821.

    >>> x = torch.eye(4)                              # the match at 1, three others at 0: log(1 + 3 / e)
    >>> round(SimCSELoss(temperature=1.0)(x, x).item(), 4)
    0.7437
    """

    family = "softmax"
    is_method = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.02, 0.2)}
    papers = ("simcse",)

    def __init__(
        self, temperature: Positive | Temperature = 0.05, *, hard_negative_weight: Finite = 0.0
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.05))
        self.hard_negative_weight = hard_negative_weight

    def forward(
        self,
        x: Float[Tensor, "B d"],
        y: Float[Tensor, "B d"],
        negatives: Float[Tensor, "B d"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, and of one hard negative for each x."""
        x, y = paired(x=x, y=y)
        anchor = self.temperature.scale(x)
        rows, columns = {"z": anchor}, {"z": y}
        if negatives is not None:
            _, negatives = paired(x=x, negatives=negatives)
            index = self.index(x)
            rows["own"] = index
            columns = {"z": torch.cat([y, negatives]), "own": torch.cat([torch.full_like(index, -1), index])}

        def terms(tile: Tile) -> dict[str, dict[str, WholeRow]]:
            logits = tile.dot()
            if negatives is not None and self.hard_negative_weight:
                logits = logits + self.hard_negative_weight * tile.same("own").to(logits)
            return {"total": {"all": WholeRow(log_sum_exp, logits)}}

        r = self.reduce(terms, rows=rows, columns=columns)
        return r.total.all / self.count(x) - self.mean(dot(anchor, y))
