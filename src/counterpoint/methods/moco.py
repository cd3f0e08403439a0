"""MoCo: two views of a picture, the keys from a slow copy of the encoder, the negatives from a queue."""

from __future__ import annotations

from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..losses import MoCoLoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Batch, StepInfo
from ._queue import MomentumContrast, QueueOptions


class MoCo(MomentumContrast):
    """Momentum contrast on one column: pictures, unless another is asked for.

        q = nz(g(f(view 1))),   k = nz(g_m(f_m(view 2))),   L = MoCo(q, k, queue),   nz(u) = u / ‖u‖
        after the step:  θ_m ← m θ_m + (1 − m) θ,  and k takes the place of the oldest keys

    The copy starts equal and moves after every step, which is before the next keys: the paper's order. The
    queue takes the keys of a step once its loss is done with. Keys of a picture's own are no negatives of it.
    g is a perceptron of one hidden layer and is left off afterwards: a user gets the tower's own features.

    The paper shuffles the batch between devices, so that batch norms do not tell a query which key is in its batch.
    There is no shuffling here. The towers of this package have no batch norms; for a tower with them, a warning names
    another.

    Args:
        towers: the tower, by its column.
        recipe: gives the width of the keys: ``ssl_output``.
        temperature: τ; fixed.
        options: what follows.
        momentum: m. The paper's 0.999 is for long runs on large data.
        queue: K, at most the rows to train on; it need not be a multiple of the batch. With 0 the negatives are the
            batch's other keys.
        symmetric: whether each view is query and key in turn, and the loss their mean; the keys of both enter
            the queue.

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (2020), arXiv
    1911.05722; head and τ of Chen et al., "Improved Baselines with Momentum Contrastive Learning" (2020),
    arXiv 2003.04297.
    """

    family = "queue"
    papers = ("moco",)
    name = "moco"

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.2,
        symmetric: bool = False,
        **options: Unpack[QueueOptions],
    ) -> None:
        super().__init__(towers, recipe, objective=MoCoLoss(temperature), symmetric=symmetric, **options)

    def contrast(
        self, q: Float[Tensor, "B d"], k: Float[Tensor, "B d"], batch: Batch, clock: StepInfo
    ) -> Float[Tensor, ""]:
        return self.of_queue(q, k, batch)
