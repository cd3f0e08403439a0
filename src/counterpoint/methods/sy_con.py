"""Sy-CON: learn the pictures of a new task, and keep what the model made of them before."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import Count, Fraction, Positive
from ..losses import MoCoLoss, SyConLoss
from ..networks import KeyQueue, MomentumCopy, initialise
from ..networks.base import Towers
from ..networks.heads import mlp
from ..networks.state.momentum import PREFIX
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod, contrasted

PREVIOUS = "previous."
"""Prefix of the names of the previous model's outputs."""


class SyCon(TowerMethod):
    """Two views of each picture in a stream of tasks, plasticity and stability without a weight between them.

        q = nz(g(f(view))),   k = nz(g_m(f_m(view))),   p = nz(h(q)),   o = nz(g_old(f_old(view)))
        L = SyCon(q, k, p, o, queues of k, queues of o)
        after the step:  θ_m ← m θ_m + (1 − m) θ,  and k, o take the place of the oldest in their view's queues
        after a task:    (f, g)_old ← (f, g),  h starts anew, and the queues of o with it

    In the first task there is no previous model, and the loss is MoCo's over both views; on data without tasks
    that is all there is. Train it on a stream: ``--data emoji:stream``, where `MoCo` is what it is compared
    with. The previous model is in evaluation mode and has no gradient. The optimiser and its schedule go on
    through the whole stream (the paper starts them anew with every task).

    Args:
        towers: the tower, by its column.
        recipe: gives the width of the keys, ``ssl_output``, and of h's hidden layer, ``ssl_hidden``.
        temperature: τ of plasticity; fixed.
        stability_temperature: τ' of stability; fixed.
        momentum: m.
        queue: K of each queue. There is one for each view, of keys and of previous outputs.

    Source: Cha et al., "Sy-CON: Symmetric Contrastive Loss for Continual Self-Supervised Representation
    Learning" (2023), arXiv 2306.05101.
    """

    family = "queue"
    papers = ("sy-con",)
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.5), "stability_temperature": (0.05, 0.5)}
    task: Tensor
    draw: Tensor

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.2,
        stability_temperature: Positive = 0.2,
        momentum: Fraction = 0.99,
        queue: Count = 1024,
    ) -> None:
        super().__init__(towers)
        ((column, tower),) = towers.items()
        self.views = contrasted(column, tower, 2)
        width = recipe.widths.ssl_output
        self.projection = mlp(tower.width, tower.width, width, layers=2, norm=False)
        whole = nn.Sequential(tower, self.projection)
        # With a momentum of 1 it stays what it is until it is started again.
        self.momentum, self.previous = MomentumCopy(whole, momentum), MomentumCopy(whole, 1.0)
        self.predictor = mlp(width, recipe.widths.ssl_hidden, width, layers=2)
        self.queues = nn.ModuleList(KeyQueue(queue, width) for _ in self.views)
        self.previous_queues = nn.ModuleList(KeyQueue(queue, width) for _ in self.views)
        self.first = MoCoLoss(temperature)
        self.objective = SyConLoss(temperature, stability_temperature=stability_temperature)
        self.register_buffer("task", torch.zeros((), dtype=torch.int64))
        self.register_buffer("draw", torch.zeros((), dtype=torch.int64))

    def reset_parameters(self) -> None:
        self.draw.copy_(
            torch.randint(2**31, ())
        )  # what later tasks draw follows from the seed, on every rank alike

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        targets = {PREFIX + v: F.normalize(self.momentum(batch[v]), dim=-1) for v in self.views}
        if self.task > 0:
            # Every time, as train() of the method wakes all its parts.
            self.previous.eval()
            targets |= {PREVIOUS + v: F.normalize(self.previous(batch[v]), dim=-1) for v in self.views}
        return targets

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        q = [F.normalize(self.projection(z[v]), dim=-1) for v in self.views]
        k = [z[PREFIX + v] for v in self.views]
        keys, ids = _contents(self.queues)
        # No previous model yet: its queues hold random vectors.
        if self.task == 0:
            # Queries of one view meet keys of the other, this step's and the queue's alike.
            views = [self.first(q[a], k[b], keys[b], batch.ids, ids[b]) for a, b in ((0, 1), (1, 0))]
            return {"sy_con": torch.stack(views).mean()}
        p = [F.normalize(self.predictor(view), dim=-1) for view in q]
        old = [z[PREVIOUS + v] for v in self.views]
        previous, previous_ids = _contents(self.previous_queues)
        return {"sy_con": self.objective(q, k, p, old, keys, previous, batch.ids, ids, previous_ids)}

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        self.momentum.update()
        for made, queues in ((PREFIX, self.queues), (PREVIOUS, self.previous_queues)):
            for view, queue in zip(self.views, queues, strict=True):
                if made + view in z:
                    assert isinstance(queue, KeyQueue)
                    queue.enqueue(z[made + view], batch.ids)
        if clock.ends_task:
            self.begin_task()

    def begin_task(self) -> None:
        """Make the model as it is the previous one, with another predictor and queues of nobody's outputs."""
        self.task += 1
        self.previous.restart()
        for module, name in ((self.predictor, "predictor"), (self.previous_queues, "queues")):
            initialise(module, int(self.draw), f"{name} of task {int(self.task)}")

    def passes(self) -> dict[str, float]:
        """Count passes through the trained tower, its copy and the previous one; the last has none in a first task."""
        return {modality: 3 * count for modality, count in super().passes().items()}


def _contents(queues: nn.ModuleList) -> tuple[list[Tensor], list[Tensor]]:
    """Return the keys of both queues, and the ids of the items that the keys are of."""
    contents = [(queue.keys, queue.ids) for queue in queues if isinstance(queue, KeyQueue)]
    return [keys for keys, _ in contents], [ids for _, ids in contents]
