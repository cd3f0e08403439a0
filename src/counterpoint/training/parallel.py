"""The ways in which several processes share a model: each has all of it, or a part of its towers' blocks.

Whatever the way, the gradient is the mean of the ranks' (see `counterpoint.pairwise.ranks`), that of one process.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, final

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..methods.base import Method
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch
from .distributed import average_gradients


class Parallel(ABC):
    """Way in which processes share a model; the calls of a step come in the order of these methods."""

    def parts(self, batch: Batch, size: int) -> Iterator[Batch]:
        """Yield microbatches of at most ``size`` examples."""
        return batch.split(size)

    @abstractmethod
    def last(self, outputs: Iterable[Tensor]) -> None:
        """Say that the backward pass of these outputs, which begins now, is the last one of the step."""

    @abstractmethod
    def average(self) -> None:
        """Bring gradients to their mean over ranks, as far as the backward pass has not done so."""


def shared(method: Method, recipe: Recipe) -> Parallel:
    """Let the processes that there are share a method on its device, as its recipe says."""
    ranks = Ranks.present()
    if ranks.size == 1:
        return Alone()
    return Overlapped(method, ranks) if any(p.requires_grad for p in method.parameters()) else Alone()


@final
class Alone(Parallel):
    """One process, or nothing to train: there is nothing to exchange."""

    def last(self, outputs: Iterable[Tensor]) -> None:
        return None

    def average(self) -> None:
        return None


@final
class Overlapped(Parallel):
    """Every process has the whole model; gradients travel while the backward pass goes on (``parallel.mode: ddp``).

    The exchange is ``DistributedDataParallel``'s, in a group of its own: losses have collectives in their backward
    pass too, and between these and a bucket of gradients no order is agreed.
    """

    def __init__(self, method: Method, ranks: Ranks) -> None:
        self.method, self.ranks = method, ranks
        # A parameter that no loss of a step reaches is no error here; batch norms see all ranks' rows already.
        self.exchange = DistributedDataParallel(
            _Outputs(method),
            process_group=_group_of_gradients(dist.group.WORLD),
            broadcast_buffers=False,
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )
        self.announced = False

    def last(self, outputs: Iterable[Tensor]) -> None:
        # Earlier backward passes of the step were not announced: their gradients have been added up without exchange.
        trained = [output for output in outputs if output.requires_grad]
        if not trained:
            return
        with warnings.catch_warnings():
            # Told of models in which every loss reaches every parameter, of which there are many here.
            warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
            self.exchange(trained)
        self.announced = True

    def average(self) -> None:
        # Behind frozen towers heads alone have gradients, of a pass that was not the last that was planned.
        if not self.announced:
            average_gradients(self.method, self.ranks)
        self.announced = False


class _Outputs(nn.Module):
    """Outputs of a method as those of a module, which is how ``DistributedDataParallel`` learns of them."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, outputs: list[Tensor]) -> list[Tensor]:
        return outputs


@lru_cache(maxsize=1)
def _group_of_gradients(world: Any) -> Any:
    """Return a second group of all ranks, formed once in the life of the first."""
    return dist.new_group()
