"""Gradient caching: the exact gradient of a large batch, with the encoders' memory of a small one.

A contrastive loss couples all examples, so that accumulating the gradients of smaller batches is another
loss. Its gradient in the features, though, is all that the encoders need to know of it:

    1. features of all examples, a microbatch at a time, without a graph
    2. the loss of all features; backward as far as the features
    3. each microbatch encoded again, its graph fed with the gradient of its features

Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (2021), arXiv
2101.06983.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from ...methods.base import Method
from ...networks.base import Tower
from ...types import Batch, Embeddings, StepInfo
from ..sharing.parallel import ParallelStrategy, SingleProcess

PAPERS = {"grad-cache": ("backward",)}

Losses = dict[str, Tensor]


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

    Dropout is the same in both encodings of a microbatch, and torch's generators end where a single forward
    pass would have left them. Targets (of momentum copies, say) are computed once, for the whole batch.

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
    states, encoded = [], []
    with torch.no_grad(), autocast():
        # Of the whole batch: the batch norms of a momentum copy are the batch's, not a microbatch's.
        targets = method.targets(batch)
        for part in parts:
            # What draws in this microbatch must draw the same when it is encoded again.
            states.append(_generators())
            encoded.append(method.encode(part))
    # Leaves: the loss's graph ends here, and `grad` will hold u. The microbatches themselves are not held twice.
    features = {name: torch.cat([z[name] for z in encoded]).requires_grad_() for name in encoded[0]}
    del encoded
    with autocast():
        losses = method.losses(targets | features, batch, clock)
    propagate(torch.stack(list(losses.values())).sum())
    start = 0
    # The second encoding draws what was drawn; whoever draws after the step must not notice.
    with _generators_kept():
        for number, (part, state) in enumerate(zip(parts, states, strict=True), start=1):
            _restore(state)
            with autocast():
                z = method.encode(part)
            rows = slice(start, start + len(part))
            start += len(part)
            # Views that no loss reads have no gradient, and those of frozen towers have no graph to send one through.
            used = [(z[name], f.grad[rows]) for name, f in features.items() if f.grad is not None]
            used = [(output, gradient) for output, gradient in used if output.requires_grad]
            if number == len(parts):
                parallel.last([z for z, _ in used])
            if used:
                # Not through `propagate`: u is of the scaled loss already.
                torch.autograd.backward([z for z, _ in used], [g for _, g in used])
    return losses, targets | features


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


def _generators() -> tuple[Tensor, list[Tensor]]:
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), devices


def _restore(state: tuple[Tensor, list[Tensor]]) -> None:
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
