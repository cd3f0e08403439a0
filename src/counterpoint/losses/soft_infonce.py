"""InfoNCE against keys, with targets that a teacher softens and focal weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import Fraction, NonNegative, Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import WholeRow
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile

_LEAST = 1e-6
"""The least base of a focal weight, whose power below 1 has no finite gradient at 0."""


class SoftInfoNCELoss(PairwiseLoss):
    """Each query must find its key among those of all ranks and of a queue, to a degree that a teacher states.

        p_i = softmax_j <q_i, k_j>/τ,   y_i = α softmax_j <t_i, k_j>/τ + (1 − α) [j = i]
        loss = −mean_i Σ_j y_ij (1 − p_ij)^γ log p_ij

    Key i is that of query i. The keys of all ranks come first, those of the queue behind them. Keys, teacher and
    targets get no gradient. γ = 0 is cross-entropy. The focal weight is differentiated, as usual.

    Args:
        temperature: τ, of queries and teacher alike; learned from 0.07 within [0.001, 0.5] unless stated.
        gamma: γ.

    Raises:
        ValueError: for queries, keys and teacher that do not pair up, and keys of a queue of another width.

    Source: Li et al., "Align before Fuse: Vision and Language Representation Learning with Momentum Distillation"
    (2021), arXiv 2107.07651; the focal weight, Park and Han, "Multi-Modal Representation Learning with Text-Driven Soft
    Masks" (2023), arXiv 2304.00719.

    >>> x = torch.eye(4)                              # the key at 1, three others at 0: log(1 + 3 / e)
    >>> round(SoftInfoNCELoss(temperature=1.0)(x, x, x, x[:0]).item(), 4)
    0.7437
    """

    family = "queue"
    stop_gradient = True
    papers: ClassVar[tuple[str, ...]] = ("albef", "softmask")

    def __init__(
        self, temperature: Positive | Temperature | None = None, *, gamma: NonNegative = 0.0
    ) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.07, bounds=(0.001, 0.5)))
        self.gamma = gamma

    def forward(
        self,
        q: Float[Tensor, "B d"],
        k: Float[Tensor, "B d"],
        teacher: Float[Tensor, "B d"],
        queue: Float[Tensor, "K d"],
        alpha: Fraction = 0.0,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm queries.

        Args:
            q, k: queries and their keys.
            teacher: the teacher's own queries.
            queue: further keys, the same on every rank; there may be none.
            alpha: α, how far the teacher is believed.
        """
        q, k, teacher = paired(q=q, k=k, teacher=teacher)
        if queue.ndim != 2 or queue.shape[1] != k.shape[1]:
            raise ValueError(
                f"the queue must be (K, {k.shape[1]}), as wide as the keys; got {tuple(queue.shape)}"
            )
        keys = torch.cat([self.ranks.gather(k.detach(), self.ranks.counts(len(k), k.device)), queue.to(k)])
        q, teacher = self.temperature.scale(q), self.temperature.scale(teacher.detach()).detach()

        def of_rows(
            logits: Float[Tensor, "r c"], soft: Float[Tensor, "r c"], own: Bool[Tensor, "r c"]
        ) -> Float[Tensor, " r"]:
            log_p = logits.log_softmax(1)
            target = alpha * soft.softmax(1) + (1 - alpha) * own.to(soft)
            weight = (1 - log_p.exp()).clamp_min(_LEAST) ** self.gamma if self.gamma else 1.0
            return -(target * weight * log_p).sum(1)

        def terms(tile: Tile) -> dict[str, dict[str, WholeRow]]:
            soft = tile.dot("teacher", "z").detach()
            return {"row": {"loss": WholeRow(of_rows, tile.dot(), soft, tile.same("item"))}}

        r = self.reduce(
            terms,
            rows={"z": q, "teacher": teacher, "item": self.index(q)},
            columns={"z": keys, "item": torch.arange(len(keys), device=keys.device)},
            same_columns=True,
        )
        return self.mean(r.row.loss)
