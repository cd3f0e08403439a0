"""BriVL: momentum contrast between pictures and texts, with a queue for each."""

from __future__ import annotations

from itertools import permutations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import Count, Fraction, Positive
from ..losses import MoCoLoss
from ..networks import KeyQueue, MomentumCopy
from ..networks.base import ImageTower, Tower, Towers
from ..networks.heads import mlp
from ..networks.state.momentum import PREFIX
from ..networks.towers.parts.regions import RegionTower
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .tower_method import TowerMethod, distinct, paired


class BriVL(TowerMethod):
    """Each picture must find its text among past texts, and each text its picture among past pictures.

        L = MoCo(q_I, k_T, queue of texts) + MoCo(q_T, k_I, queue of pictures)
        after the step:  θ_m ← m θ_m + (1 − m) θ,  and k_T, k_I take the place of the oldest keys

    q are the embeddings, k those of slow copies of both towers and heads. Negatives come from the queues
    alone, not from the batch, and are never of the anchor's own pair: many of them need no large batch. The
    copies start equal and move after every step, which is before the next keys: the paper's order. In the
    first K/B steps the queues still hold random vectors, and the loss says little.

    With ``regions`` the picture's embedding is that of its regions (`RegionTower`), as in the paper, whose
    regions are the boxes of a detector. Of its text encoder's self-attention above a language model there is
    nothing here: name a deeper text tower instead.

    Args:
        towers: the towers, by column; with ``regions`` the image tower must have features of places.
        recipe: gives the width of the embedding and of the heads' hidden layer.
        temperature: τ; fixed.
        momentum: m.
        queue: K of each queue (the paper: 9,600 for 30 million pairs).
        regions: whether pictures are read by their regions.

    Raises:
        LookupError: for ``regions`` on an image tower without features of places.

    Source: Huo et al., "WenLan: Bridging Vision and Language by Large-Scale Multi-Modal Pre-Training" (2021),
    arXiv 2103.06561.
    """

    family = "queue"
    papers = ("brivl",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.07,
        momentum: Fraction = 0.99,
        queue: Count = 1024,
        regions: bool = False,
    ) -> None:
        if regions:
            # Before the copies are made, which read pictures as their towers do.
            towers = {column: _by_regions(tower) for column, tower in towers.items()}
        super().__init__(towers)
        self.views = paired(towers)
        width = recipe.widths.embedding
        self.projections = nn.ModuleDict(
            {name: mlp(t.width, width, width, layers=2, norm=False) for name, t in distinct(towers).items()}
        )
        whole = {name: nn.Sequential(tower, self.projections[name]) for name, tower in self.towers.items()}
        self.momentum = MomentumCopy(nn.ModuleDict(whole), momentum)
        self.queues = nn.ModuleDict({column: KeyQueue(queue, width) for column in self.columns})
        self.objective = MoCoLoss(temperature)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        copies = self.momentum.module
        return {
            PREFIX + column: F.normalize(copies.get_submodule(name)(batch[column]), dim=-1)
            for column, name in self.columns.items()
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = {}
        for of, to in permutations(self.columns, 2):
            q = F.normalize(self.project(of, z[of], "global"), dim=-1)
            # A picture meets texts: the queue of its own column would make it a MoCo of pictures.
            queue = self.queues[to]
            losses[f"{of}_to_{to}"] = self.objective(q, z[PREFIX + to], queue.keys, batch.ids, queue.ids)
        return losses

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        # As in MoCo: the copy moves before the next keys, and this step's keys were not negatives of their own pairs.
        self.momentum.update()
        for m, queue in self.queues.items():
            assert isinstance(queue, KeyQueue)
            queue.enqueue(z[PREFIX + m], batch.ids)

    def passes(self) -> dict[str, float]:
        return {modality: 2 * count for modality, count in super().passes().items()}


def _by_regions(tower: Tower) -> Tower:
    """Return a tower of pictures as one that reads them by their regions, any other as it is."""
    return RegionTower(tower) if isinstance(tower, ImageTower) else tower
