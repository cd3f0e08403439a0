"""Momentum contrast: two views of an example, the keys from a slow copy of the encoder, negatives from a queue."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from itertools import permutations
from typing import ClassVar, TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import Fraction, Natural
from ..networks import KeyQueue, MomentumCopy
from ..networks.base import Towers
from ..networks.batch_norm import has_batch_norms
from ..networks.heads import mlp
from ..networks.state.momentum import PREFIX
from ..pairwise import Loss
from ..pairwise.ranks import Ranks as Processes
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, contrasted


class QueueOptions(TypedDict, total=False):
    """Options of the copy and the queue, see `MoCo`: m (0.99) and K (1,024, or the rows to train on if fewer)."""

    momentum: Fraction
    queue: Natural


class MomentumContrast(TowerMethod):
    """The base of methods whose queries meet the keys of a slow copy and of a queue; see `MoCo`.

    Args:
        towers: the tower, by its column.
        recipe: gives the width of the keys: ``ssl_output``.
        objective: the loss of queries, their keys and the keys of the queue.
        momentum: m.
        queue: K.
        symmetric: whether each view is query and key in turn.
    """

    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.5)}
    name: ClassVar[str]

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        objective: Loss,
        momentum: Fraction = 0.99,
        queue: Natural = 1024,
        symmetric: bool = False,
    ) -> None:
        super().__init__(towers)
        ((column, tower),) = towers.items()
        if has_batch_norms(tower):
            warnings.warn(
                f"{self.name}: the tower of {column!r} has batch norms, whose statistics may tell a query which key is "
                f"in its batch; choose a tower without batch norms with --towers.{tower.modality}",
                stacklevel=2,
            )
        self.views = contrasted(column, tower, 2)
        self.query_and_key = list(permutations(self.views, 2))[: 1 + symmetric]
        width = recipe.widths.ssl_output
        # No batch norms: by the statistics of a batch a query could tell which key is of it, and learn nothing else.
        self.projection = mlp(tower.width, tower.width, width, layers=2, norm=False)
        self.momentum = MomentumCopy(nn.Sequential(tower, self.projection), momentum)
        self.queue = KeyQueue(queue, width) if queue else None
        self.objective = objective

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        return {
            PREFIX + view: F.normalize(self.momentum(batch[view]), dim=-1) for _, view in self.query_and_key
        }

    def encode(self, batch: Batch) -> Embeddings:
        return {view: self.features(self.views[view].column, batch[view]) for view, _ in self.query_and_key}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = [
            self.contrast(F.normalize(self.projection(z[query]), dim=-1), z[PREFIX + key], batch, clock)
            for query, key in self.query_and_key
        ]
        return {self.name: torch.stack(losses).mean()}

    @abstractmethod
    def contrast(
        self, q: Float[Tensor, "B d"], k: Float[Tensor, "B d"], batch: Batch, clock: StepInfo
    ) -> Float[Tensor, ""]:
        """Compute the loss of the queries of one view and the keys of the other."""

    def of_queue(self, q: Float[Tensor, "B d"], k: Float[Tensor, "B d"], batch: Batch) -> Float[Tensor, ""]:
        """Compute the loss against all keys of the queue, or of the batch where there is no queue."""
        if self.queue is not None:
            return self.objective(q, k, self.queue.keys, batch.ids, self.queue.ids)
        processes = Processes.present()
        counts = processes.counts(len(k), k.device)
        # Those of all ranks, like a queue; a query's own key among them is no negative, as it has the query's id.
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

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        # After the step, and before the next keys: the paper's order.
        self.momentum.update()
        if self.queue is not None:
            # Only now that the loss is done with: this step's keys would have been negatives of their own queries.
            self.queue.enqueue(*self.arriving(z, batch))

    def arriving(self, z: Embeddings, batch: Batch) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        """Return the keys that enter the queue after a step, and the item that each is of."""
        keys = [z[PREFIX + view] for _, view in self.query_and_key]
        # Keys of one view after the other, and so the ids.
        return torch.cat(keys), batch.ids.repeat(len(keys))

    def passes(self) -> dict[str, float]:
        return {modality: len(self.query_and_key) * count for modality, count in super().passes().items()}
