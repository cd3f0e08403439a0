"""SwAV: balanced codes of two large crops, predicted from all crops of a picture."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import Count, Natural, Positive, Share
from ..losses import SwAVLoss
from ..modalities import MODALITIES
from ..networks import KeyQueue
from ..networks.base import ImageTower, Tower, Towers
from ..networks.heads import Prototypes, mlp
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .base import Ranges
from .needs import Needs
from .tower_method import TowerMethod

_LARGE = 2
"""Views that give codes."""
_LOOKS = {"image": ("swav", "swav_small")}
"""The large and the small view of a modality that has small ones."""
_CROPS = 4
"""Small views of a modality that has them, unless given."""


class SwAV(TowerMethod):
    """Two large and N small crops of a picture: all predict the codes of the large ones over K prototypes.

        s_v = nz(g(f(view v))) ĉᵀ,   L = SwAV(s_1, s_2; s_3, …, s_{2+N}),   nz(u) = u / ‖u‖

    See `counterpoint.losses.SwAVLoss`. Crops of one size pass the tower f together, and all crops the projector g,
    whose batch norm sees them at once, as in the released code. g and the prototypes are left off afterwards: a user
    gets the tower's own features. Other columns than pictures have views of one size alone.

    A loss that stays at ln K has collapsed: lower ε to 0.03, hold the prototypes longer, or take fewer crops.

    Args:
        towers: the tower, by its column.
        recipe: gives the widths: ``ssl_hidden``, ``ssl_output``.
        crops: N, the small crops; 4 of pictures unless given. The paper has 6.
        crop_size: their side, as a share of the tower's. The paper's 96 of 224 pixels are 0.43.
        prototypes: K; from a quarter of the batch to three times the classes that are expected. The paper has 3,000.
        queue: earlier embeddings of each large view that balance the codes beside the batch's, by the prototypes of
            today; from the step on that it is full. For batches that are small beside K.
        temperature: τ of the predictions; fixed.
        epsilon: ε of the codes.
        iterations: of Sinkhorn; with 0 nothing balances the codes.
        frozen_steps: the prototypes do not move in the first steps.

    Raises:
        ValueError: for small crops of a column that has none, or that the tower cannot take.

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (2020), arXiv
    2006.09882. The queue's first epoch (15 of 400 in the release) is not an option.
    """

    family = "images"
    papers = ("swav",)
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.3), "epsilon": (0.02, 0.1)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        crops: Natural | None = None,
        crop_size: Share = 0.5,
        prototypes: Count = 256,
        queue: Natural = 0,
        temperature: Positive = 0.1,
        epsilon: Positive = 0.05,
        iterations: Natural = 3,
        frozen_steps: Natural = 100,
    ) -> None:
        super().__init__(towers)
        ((column, tower),) = towers.items()
        self.views = _views(column, tower, crops, crop_size)
        self.projection = mlp(
            tower.width, recipe.widths.ssl_hidden, width := recipe.widths.ssl_output, layers=2
        )
        self.prototypes = Prototypes(width, prototypes)
        self.queues = nn.ModuleList(KeyQueue(queue, width) for _ in range(_LARGE if queue else 0))
        self.objective = SwAVLoss(temperature, epsilon=epsilon, iterations=iterations)
        self.frozen_steps = frozen_steps
        self._fresh: tuple[Tensor, ...] = ()

    def encode(self, batch: Batch) -> Embeddings:
        return self.encode_by_size(batch)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        rows = [len(batch)] * len(self.views)
        projected = self.projection(torch.cat([z[view] for view in self.views]))
        scores = torch.split(self.prototypes(projected, frozen=clock.step < self.frozen_steps), rows)
        self._fresh = torch.split(F.normalize(projected.detach(), dim=-1), rows)[:_LARGE]
        # By the prototypes of today; and not before it is full of embeddings.
        queues = [self.prototypes(queue.keys) for queue in self._queues() if queue.full]
        return {"swav": self.objective(scores[:_LARGE], scores[_LARGE:], queues=queues)}

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        for queue, embeddings in zip(self._queues(), self._fresh, strict=False):
            queue.enqueue(embeddings, batch.ids)

    def _queues(self) -> list[KeyQueue]:
        return [queue for queue in self.queues if isinstance(queue, KeyQueue)]


def _views(column: str, tower: Tower, crops: int | None, size: float) -> dict[str, View]:
    """Return the large views of a column, ``column.1`` and ``column.2``, and the small ones behind them.

    Raises:
        ValueError: for small views of a modality that has none, or that the tower cannot take.
    """
    usual = MODALITIES.get(tower.modality).contrasted
    large, small = _LOOKS.get(tower.modality, (usual, ""))
    crops = _CROPS * bool(small) if crops is None else crops
    if crops and not small:
        raise ValueError(f"crops={crops}: views of {tower.modality} are of one size; leave crops out")
    if crops and isinstance(tower, ImageTower):
        try:
            tower.check_side(tower.input.scaled(size).size)
        except ValueError as error:
            raise ValueError(f"{error}; write swav,crops=0 for large views alone") from error
    looks = [View(tower.modality, large, column)] * _LARGE
    looks += [View(tower.modality, small, column, size=size)] * crops
    return {f"{column}.{number}": view for number, view in enumerate(looks, 1)}
