"""MoCo: two views of a picture, the keys from a slow copy of the encoder, the negatives from a queue."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...losses import MoCoLoss
from ...networks import KeyQueue, MomentumCopy
from ...networks.base import ImageTower, TextTower
from ...networks.heads import mlp
from ...networks.momentum import PREFIX
from ...pairwise import Loss
from ...pairwise.ranks import Ranks as Processes
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings, View
from ..base import Ranges, TwoTower


class MoCo(TwoTower):
    """Momentum contrast on pictures alone.

        q = nz(g(f(view 1))),   k = nz(g_m(f_m(view 2))),   L = MoCo(q, k, queue),   nz(u) = u / ‖u‖
        after the step:  θ_m ← m θ_m + (1 − m) θ,  and k takes the place of the oldest keys

    The copy starts equal and moves after every step, which is before the next keys: the paper's order. The
    queue takes the keys of a step once its loss is done with. Keys of a picture's own are no negatives of it,
    so that the queue may be larger than the data. g is a perceptron of one hidden layer and is left off
    afterwards: a user gets the tower's own features. The text tower is not trained.

    The paper shuffles the batch between devices, lest batch norms tell a query which key is in its batch. The
    towers of this package norm the channels of each example alone, so there is nothing to shuffle; an image
    tower with batch norms would be open to it.

    Args:
        image, text: the towers.
        recipe: gives the width of the keys: ``ssl_output``.
        temperature: τ; fixed.
        momentum: m. The paper's 0.999 is for long runs on large data.
        queue: K. Any number; it need not be a multiple of the batch. With 0 the negatives are the batch's other keys.
        symmetric: whether each view is query and key in turn, and the loss their mean; the keys of both enter
            the queue.

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (2020), arXiv
    1911.05722; head and τ of Chen et al., "Improved Baselines with Momentum Contrastive Learning" (2020),
    arXiv 2003.04297.
    """

    papers = ("moco",)
    embeds = ("image",)
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.5)}
    name: ClassVar[str] = "moco"

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        objective: Loss | None = None,
        temperature: float = 0.2,
        momentum: float = 0.99,
        queue: int = 1024,
        symmetric: bool = False,
    ) -> None:
        super().__init__(image, text)
        text.requires_grad_(False)
        self.views = {"image.1": View("image", "simclr"), "image.2": View("image", "simclr")}
        self.query_and_key = [("image.1", "image.2"), ("image.2", "image.1")][: 1 + symmetric]
        width = recipe.widths.ssl_output
        self.projection = mlp(image.width, image.width, width, layers=2, norm=False)
        self.momentum = MomentumCopy(nn.Sequential(image, self.projection), momentum)
        self.queue = KeyQueue(queue, width) if queue else None
        self.objective = MoCoLoss(temperature) if objective is None else objective

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        return {
            PREFIX + view: F.normalize(self.momentum(batch[view]), dim=-1) for _, view in self.query_and_key
        }

    def encode(self, batch: Batch) -> Embeddings:
        return {view: self.image_tower(batch[view]) for view, _ in self.query_and_key}

    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return features

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        losses = [
            self.contrast(F.normalize(self.projection(z[query]), dim=-1), z[PREFIX + key], batch, clock)
            for query, key in self.query_and_key
        ]
        return {self.name: torch.stack(losses).mean()}

    def contrast(
        self, q: Float[Tensor, "B d"], k: Float[Tensor, "B d"], batch: Batch, clock: Clock
    ) -> Float[Tensor, ""]:
        """The loss of the queries of one view and the keys of the other."""
        if self.queue is not None:
            return self.objective(q, k, self.queue.keys, batch.ids, self.queue.ids)
        processes = Processes.present()
        counts = processes.counts(len(k), k.device)
        keys, ids = processes.gather(k, counts), processes.gather(batch.ids, counts)
        return self.objective(q, k, keys, batch.ids, ids)

    def long_queue(self) -> KeyQueue:
        """Return the queue, for methods that choose among its keys.

        Raises:
            ValueError: for ``queue=0``.
        """
        if self.queue is None:
            raise ValueError(f"queue=0: {self.name} chooses among the keys of a queue; give at least 1")
        return self.queue

    def after_step(self, z: Embeddings, batch: Batch, clock: Clock) -> None:
        super().after_step(z, batch, clock)
        self.momentum.update()
        if self.queue is None:
            return
        keys = [z[PREFIX + view] for _, view in self.query_and_key]
        self.queue.enqueue(torch.cat(keys), batch.ids.repeat(len(keys)))

    def passes(self) -> dict[str, int]:
        return {"image": 2 * len(self.query_and_key)}
