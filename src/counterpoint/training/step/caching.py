"""Gradient caching: the exact gradient of a large batch, with the encoders' memory of a small one.

A contrastive loss couples all examples, so that accumulating the gradients of smaller batches is another
loss. Its gradient in the features, though, is all that the encoders need to know of it:

    1. features of all examples, a microbatch at a time, without a graph
    2. the loss of all features; backward as far as the features
    3. each microbatch encoded again, its graph fed with the gradient of its features

A joint encoder of pairs (`Method.fuse`) is a second level of the same kind, between 1 and 2: pairs are fused without a
graph, and fused again behind the loss, so that their gradient reaches the features before 3.

Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (2021), arXiv
2101.06983.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ...methods.base import Method
from ...networks.base import Tower
from ...types import Batch, Embeddings, Pairs, StepInfo
from ..sharing.parallel import ParallelStrategy, SingleProcess

PAPERS = {"grad-cache": ("backward",)}

Losses = dict[str, Tensor]
Generators = tuple[Tensor, list[Tensor]]
"""The states of torch's generators: the processor's and the devices'."""


def backward(
    method: Method,
    batch: Batch,
    clock: StepInfo,
    microbatch: int,
    *,
    propagate: Callable[[Tensor], None] = Tensor.backward,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    parallel: ParallelStrategy | None = None,
) -> tuple[Losses, Embeddings]:
    """Compute the losses of a batch and its features, and add their gradient to every parameter's ``grad``.

        z = encode(batch), a microbatch at a time and without a graph;   u = ∂L(z)/∂z
        ∂L/∂θ = Σ over microbatches b of (∂z_b/∂θ)ᵀ u_b, each encoded once more

    Pairs are fused as many at a time as examples are encoded. Dropout is the same in both encodings of a
    microbatch, and torch's generators end where a single forward pass would have left them. Targets (of momentum
    copies, say) are computed once, for the whole batch.

    Args:
        method: whose ``encode`` works sample by sample; see `refuse_batch_norms`.
        batch: all examples of the step.
        clock: where the run stands.
        microbatch: how many are encoded at a time; the last may be fewer.
        propagate: the backward pass of the loss; scales it where gradients are scaled.
        autocast: the precision that encoding and losses run under.
        parallel: the way in which processes share the method; one process unless given.

    Raises:
        ValueError: if ``encode`` uses batch statistics, or ``microbatch`` is not positive.
    """
    if microbatch < 1:
        raise ValueError(f"microbatch={microbatch} must be at least 1")
    refuse_batch_norms(method)
    parallel = parallel or SingleProcess()
    parts = list(parallel.parts(batch, microbatch))
    with torch.no_grad(), autocast():
        # Of the whole batch: the batch norms of a momentum copy are the batch's, not a microbatch's.
        targets = method.targets(batch)
        features, states = _without_graph(method.encode, parts)
    z = targets | features
    fused: Embeddings = {}
    groups: list[Pairs] = []
    group_states: list[Generators] = []
    with torch.no_grad(), autocast():
        pairs = method.pairs(z, batch)
        if pairs:
            groups = list(_split(pairs, microbatch))
            fused, group_states = _without_graph(lambda group: method.fuse(z, group), groups)
    with autocast():
        losses = method.losses(z | pairs | fused, batch, clock)
    propagate(torch.stack(list(losses.values())).sum())
    # The second encoding draws what was drawn; whoever draws after the step must not notice.
    with _generators_kept():
        start = 0
        for group, state in zip(groups, group_states, strict=True):
            rows = slice(start, start := start + len(next(iter(group.values()))))
            _restore(state)
            with autocast():
                _send_back(_used(method.fuse(z, group), fused, rows))
        start = 0
        for number, (part, state) in enumerate(zip(parts, states, strict=True), start=1):
            rows = slice(start, start := start + len(part))
            _restore(state)
            with autocast():
                used = _used(method.encode(part), features, rows)
            if number == len(parts):
                parallel.last([output for output, _ in used])
            _send_back(used)
    return losses, z | pairs | fused


def _without_graph(
    compute: Callable[[Any], Embeddings], parts: Sequence[Any]
) -> tuple[Embeddings, list[Generators]]:
    """Return what is computed of all parts, and the state of the generators before each of them.

    The tensors are leaves: the graph of the loss ends there, and their ``grad`` will hold its gradient.
    """
    states, computed = [], []
    for part in parts:
        # What draws in this part must draw the same when it is computed again.
        states.append(_generators())
        computed.append(compute(part))
    return {name: torch.cat([z[name] for z in computed]).requires_grad_() for name in computed[0]}, states


def _split(pairs: Pairs, size: int) -> Iterator[Pairs]:
    """Yield consecutive parts of at most ``size`` pairs; of none, one part without any."""
    count = len(next(iter(pairs.values())))
    for start in range(0, max(count, 1), size):
        yield {name: tensor[start : start + size] for name, tensor in pairs.items()}


def _used(outputs: Embeddings, leaves: Embeddings, rows: slice) -> list[tuple[Tensor, Tensor]]:
    """Return the outputs that a loss read, each with its gradient."""
    # What no loss reads has no gradient, and what comes from frozen towers has no graph to send one through.
    used = [(outputs[name], leaf.grad[rows]) for name, leaf in leaves.items() if leaf.grad is not None]
    return [(output, gradient) for output, gradient in used if output.requires_grad]


def _send_back(used: list[tuple[Tensor, Tensor]]) -> None:
    # Not through `propagate`: these are gradients of the scaled loss already.
    if used:
        torch.autograd.backward([output for output, _ in used], [gradient for _, gradient in used])


def refuse_batch_norms(method: nn.Module) -> None:
    """Raise where a trained tower has batch norms: their statistics would be a microbatch's.

    Raises:
        ValueError: naming the tower.
    """
    # Towers alone: heads may have batch norms, as losses show them the whole batch.
    for name, tower in method.named_modules():
        if (
            not isinstance(tower, Tower)
            or tower.frozen
            or not any(p.requires_grad for p in tower.parameters())
        ):
            continue
        if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in tower.modules()):
            raise ValueError(
                f"the tower {name!r} has batch norms, so its features depend on the batch they are computed in, "
                "and a microbatch would change the result: take a tower without them (--towers.image cnn), "
                "freeze it (tune=frozen), or leave --microbatch out"
            )


def _generators() -> Generators:
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), devices


def _restore(state: Generators) -> None:
    cpu, devices = state
    torch.set_rng_state(cpu)
    if devices:
        torch.cuda.set_rng_state_all(devices)


@contextmanager
def _generators_kept() -> Iterator[None]:
    state = _generators()
    try:
        yield
    finally:
        _restore(state)
