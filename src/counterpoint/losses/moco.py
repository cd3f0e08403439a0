"""InfoNCE against a queue of keys: the loss of momentum contrast."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile
from ._bank import against, others


class MoCoLoss(PairwiseLoss):
    """Each query must find its key among K keys of earlier steps; the batch itself gives no negatives.

        loss = −mean_i log [ exp(<q_i, k_i>/τ) / ( exp(<q_i, k_i>/τ) + Σ_n exp(<q_i, n>/τ) ) ],   n in the queue

    Keys and queue get no gradient. With ids, keys of the query's own item are no negatives, which a small
    data set needs: its items come round before their last keys have left the queue. Where no negative is
    left, the loss of that query is 0.

    The queue changes after the step (see `counterpoint.networks.KeyQueue`); with this step's keys in it, the
    positives would be negatives too.

    Args:
        temperature: τ; a number is fixed. 0.07 is the paper's, 0.2 that of its second version.

    Raises:
        ValueError: for queries and keys that do not pair up, a queue that is empty or of another width, or
            only one of ``ids`` and ``queue_ids``.

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (2020), arXiv
    1911.05722; Chen et al. (2020), arXiv 2003.04297; from pictures to texts and back, Huo et al., "WenLan"
    (2021), arXiv 2103.06561.

    >>> x = torch.eye(8)                              # the key at 1, four in the queue at 0: log(1 + 4 / e)
    >>> round(MoCoLoss(temperature=1.0)(x[:2], x[:2], x[4:]).item(), 4)
    0.9048
    """

    family = "queue"
    stop_gradient = True
    papers: ClassVar[tuple[str, ...]] = ("moco", "brivl")

    def __init__(self, temperature: Positive | Temperature = 0.2) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.2))

    def forward(
        self,
        q: Float[Tensor, "B d"],
        k: Float[Tensor, "B d"],
        queue: Float[Tensor, "K d"],
        ids: Int[Tensor, " B"] | None = None,
        queue_ids: Int[Tensor, " K"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm queries, their keys, and the queue, the same on every rank."""
        q, k = paired(q=q, k=k)
        q = self.temperature.scale(q)
        positive = dot(q, k.detach())
        rows, columns = against(q, queue, ids, queue_ids)

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            return {"row": {"queue": LogSumExp(others(tile, tile.dot()))}}

        r = self.reduce(terms, rows=rows, columns=columns, same_columns=True)
        return self.mean(torch.logaddexp(positive, r.row.queue) - positive)
