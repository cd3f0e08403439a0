"""The ways in which several processes share a model: each has all of it, or a part of its towers' blocks.

Whatever the way, the gradient is the mean of the ranks' (see `counterpoint.pairwise.ranks`), that of one process.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...methods.base import Method
from ...networks.base import Tower
from ...networks.towers.parts.blocks import residual_blocks
from ...pairwise.ranks import Ranks
from ...recipes.schema import Recipe
from ...types import Batch
from .distributed import average_gradients, is_part


class ParallelStrategy(ABC):
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


def shared(method: Method, recipe: Recipe, device: torch.device, batch_size: int) -> ParallelStrategy:
    """Let the processes that there are share a method, as its recipe says; an optimiser is to be built afterwards.

    Args:
        method: what is trained; under ``fsdp`` its parameters are replaced.
        recipe: how.
        device: where the method is.
        batch_size: examples of a step, of all ranks together.

    Raises:
        ValueError: for ``fsdp`` where it cannot be.
    """
    ranks = Ranks.present()
    check_mode(method, recipe, batch_size)
    if recipe.parallel.mode == "fsdp":
        return ShardedStrategy(method, device, batch_size, ranks)
    if ranks.size == 1 or not any(p.requires_grad for p in method.parameters()):
        return SingleProcess()
    return Overlapped(method, ranks)


@final
class SingleProcess(ParallelStrategy):
    """One process, or nothing to train: there is nothing to exchange."""

    def last(self, outputs: Iterable[Tensor]) -> None:
        return None

    def average(self) -> None:
        return None


@final
class Overlapped(ParallelStrategy):
    """Every process has the whole model; gradients travel while the backward pass goes on (``parallel.mode: ddp``).

    The exchange is ``DistributedDataParallel``'s, in a group of its own: losses have collectives in their backward
    pass too, and between these and a bucket of gradients no order is agreed.
    """

    def __init__(self, method: Method, ranks: Ranks) -> None:
        self.method, self.ranks = method, ranks
        # A parameter that no loss of a step reaches is no error here.
        self.exchange = DistributedDataParallel(
            _Outputs(method),
            process_group=_group_of_gradients(dist.group.WORLD),
            find_unused_parameters=True,
            gradient_as_bucket_view=True,
        )
        self.announced = False

    def last(self, outputs: Iterable[Tensor]) -> None:
        # Earlier backward passes of the step were not announced: their gradients have been added up without exchange.
        trained = [output for output in outputs if output.requires_grad]
        if not trained:
            return
        self.exchange(trained)
        self.announced = True

    def average(self) -> None:
        # Behind frozen towers heads alone have gradients, of a pass that was not the last that was planned.
        if not self.announced:
            average_gradients(self.method, self.ranks)
        self.announced = False


@final
class ShardedStrategy(ParallelStrategy):
    """Every process has a part of the weights, gradients and moments of the towers' blocks (``parallel.mode: fsdp``).

    Blocks are torch's ``fully_shard``'s: gathered when they are reached, forwards and backwards, and let go behind. So
    are those of momentum copies. They travel in float32, also where they compute in less. What is outside of blocks
    (embeddings of tokens, heads, losses) is whole everywhere, and its gradients are averaged behind the last backward
    pass.
    """

    def __init__(self, method: Method, device: torch.device, batch_size: int, ranks: Ranks) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        self.method, self.ranks, self.largest = method, ranks, -(-batch_size // ranks.size)
        # Nobody writes into what a tower returns.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
        mesh = init_device_mesh(device.type, (ranks.size,))
        for tower in _with_blocks(method):
            for block in residual_blocks(tower):
                for parameter in block.parameters():
                    # Parts are cut along the first axis of memory: convolutions keep theirs in another order.
                    parameter.data = parameter.data.contiguous()
                fully_shard(block, mesh=mesh)
            # The tower itself has no part in it but to let a block be gathered while the one before it computes.
            outside = {p for p in tower.parameters() if not is_part(p)}
            fully_shard(tower, mesh=mesh, ignored_params=outside)
            for name in {"states", "patches"} & set(dir(tower)):
                register_fsdp_forward_method(tower, name)

    def parts(self, batch: Batch, size: int) -> Iterator[Batch]:
        # As many on every rank: the ranks meet wherever a block is gathered.
        return batch.divide(-(-self.largest // size))

    def last(self, outputs: Iterable[Tensor]) -> None:
        return None

    def average(self) -> None:
        average_gradients(self.method, self.ranks)


def _with_blocks(method: Method) -> list[Tower]:
    """Return the towers, momentum copies' too, that have blocks to be shared out and compute in every step."""
    # What a frozen tower remembers it does not compute, and the ranks remember different examples.
    return [
        m
        for m in method.modules()
        if isinstance(m, Tower) and m.memory is None and len(residual_blocks(m)) > 1
    ]


def check_mode(method: Method, recipe: Recipe, batch_size: int) -> None:
    """Check that the processes that there are can share a method as its recipe says; nothing is changed.

    Args:
        method: what is to be trained.
        recipe: how.
        batch_size: examples of a step, of all ranks together.

    Raises:
        ValueError: for ``fsdp`` where it cannot be.
    """
    if recipe.parallel.mode != "fsdp":
        return
    fault, ranks = "", Ranks.present()
    smallest, largest = batch_size // ranks.size, -(-batch_size // ranks.size)
    towers = [type(m).__name__ for m in method.modules() if isinstance(m, Tower)]
    if ranks.size == 1:
        fault = "it shares a model between processes, and there is one: start several with torchrun, or leave it out"
    elif torch.__version__ < "2.7":
        fault = f"it needs torch 2.7 or newer, and this is {torch.__version__}"
    elif len(method.stages) > 1:
        fault = f"the stages of {type(method).__name__} move different parameters, which ddp alone can do: take ddp"
    elif recipe.precision == "16-mixed":
        fault = "it has no scaled loss, which 16-mixed needs: take bf16-mixed or 32"
    elif not _with_blocks(method):
        fault = (
            f"no tower ({', '.join(towers)}) has blocks that could be shared out: take another tower, or ddp"
        )
    elif recipe.microbatch and smallest < -(-largest // recipe.microbatch):
        fault = (
            f"in microbatches of {recipe.microbatch} the {smallest} examples of one rank are fewer than the "
            f"microbatches of another, which has {largest}: take larger microbatches, or a batch size that "
            f"{ranks.size} divides"
        )
    if fault:
        raise ValueError(f"parallel.mode=fsdp: {fault}")


class _Outputs(nn.Module):
    """Outputs of a method as those of a module, which is how ``DistributedDataParallel`` learns of them."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        # Without buffers, which are alike already: batch norms see the rows of all ranks.
        self.trained = nn.ParameterList(p for p in method.parameters() if p.requires_grad)

    def forward(self, outputs: list[Tensor]) -> list[Tensor]:
        return outputs


@lru_cache(maxsize=1)
def _group_of_gradients(world: Any) -> Any:
    """Return a second group of all ranks, formed once in the life of the first."""
    return dist.new_group()
