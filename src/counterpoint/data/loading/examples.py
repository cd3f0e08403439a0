"""All examples that a run trains on, for what a method learns of all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor

from ...pairwise.ranks import Ranks
from ...types import Batch, StepInfo, View
from .loader import Loader

_PLAIN = "plain"


@final
class AllExamples:
    """All examples that a step's batches are drawn from, in the order of the data.

    See `counterpoint.types.TrainingExamples`.

    Args:
        loader: of the run; on several ranks, of this rank.
        clock: of the step whose examples they are: of tasks that come in turn, those of its task.
        device: where batches are wanted.
        size: examples of a batch at most.
    """

    def __init__(self, loader: Loader, clock: StepInfo, device: torch.device, size: int) -> None:
        self.device, self.size = device, size
        self.rows = loader.order.rows(clock.step, clock.steps)
        self.ids = torch.from_numpy(loader.data.ids_of(self.rows))
        self.labels: Mapping[str, Tensor] = {
            name: label.tensor(self.rows) for name, label in loader.labels.items()
        }
        shown = {view.column: View(view.modality, _PLAIN, view.column) for view in loader.views.values()}
        # A steady view shows a row as it is: what the run's batches have drawn is not drawn again for a look.
        steady = {
            view.column: loader.steady[name]
            for name, view in loader.views.items()
            if name in loader.steady and view.size == 1 and (name == view.column or name not in loader.inputs)
        }
        self.loader = Loader(
            loader.data,
            loader.order,
            shown,
            augmentation=loader.augmentation,
            inputs=loader.inputs,
            labels=loader.labels,
            steady=steady,
            rank=loader.rank,
            world=loader.world,
        )

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        """Return what a function of batches says of all examples ``(N, …)``, in their order, on the processor."""
        ranks = Ranks.present()
        mine = np.array_split(self.rows, ranks.size)[ranks.rank]
        # As many batches on every rank: where parts of a model are gathered, the ranks meet in each.
        largest = -(-len(self.rows) // ranks.size)
        parts = np.array_split(mine, -(-largest // self.size))
        here = torch.cat([function(self.loader.of(part, 0).to(self.device)) for part in parts])
        self.loader.data.replaced()  # what was read here is of no step
        return ranks.gather(here, ranks.counts(len(here), here.device)).cpu()
