"""MoCHi: MoCo with further negatives, mixed of the hardest keys."""

from __future__ import annotations

from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from ..forms import Count, Fraction, Natural, Positive
from ..losses import MoCHiLoss
from ..losses.mochi import draw
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Batch, StepInfo
from ._queue import MomentumContrast, QueueOptions


class MoCHi(MomentumContrast):
    """`MoCo` whose every query meets s mixtures of its N hardest keys, and s' of itself with one of them.

    The mixed negatives are drawn anew every step, from torch's generator. Nothing is mixed before the queue is
    full of keys and ``warmup`` is over. The accuracy of the proxy task (the key ranks first) is lower than
    MoCo's, as it must be.

    Args:
        towers: the tower, by its column.
        recipe: gives the width of the keys: ``ssl_output``.
        temperature: τ; fixed.
        hardest: N; all keys of a smaller queue.
        pairs: s.
        with_query: s'. On small data many of these spread the features too far.
        warmup: the share of the steps without mixtures.
        symmetric: as for `MoCo`.
        options: ``momentum`` (0.99) and ``queue`` (1,024).

    Raises:
        ValueError: for N below 1, negative s or s', or ``warmup`` outside [0, 1].

    Source: Kalantidis et al., "Hard Negative Mixing for Contrastive Learning" (2020), arXiv 2010.01028.
    """

    family = "queue"
    papers = ("mochi",)
    draws = True
    name = "mochi"

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.2,
        hardest: Count = 64,
        pairs: Natural = 64,
        with_query: Natural = 8,
        warmup: Fraction = 0.05,
        symmetric: bool = False,
        **options: Unpack[QueueOptions],
    ) -> None:
        objective = MoCHiLoss(temperature, hardest=hardest)
        super().__init__(towers, recipe, objective=objective, symmetric=symmetric, **options)
        self.hardest = min(hardest, len(self.long_queue()))
        self.key_pairs, self.with_query, self.warmup = pairs, with_query, warmup

    def contrast(
        self, q: Float[Tensor, "B d"], k: Float[Tensor, "B d"], batch: Batch, clock: StepInfo
    ) -> Float[Tensor, ""]:
        queue = self.long_queue()
        # The hardest of random vectors are hard by chance.
        if clock.progress < self.warmup or not queue.full:
            return self.of_queue(q, k, batch)
        drawn = draw(q, self.hardest, self.key_pairs, self.with_query)
        return self.objective(q, k, queue.keys, batch.ids, queue.ids, **drawn)
