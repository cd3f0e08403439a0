"""The memory that a training step will hold, measured on a few examples before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...data.loading.loader import Loader
from ...methods.base import Method
from ...pairwise import evaluate_with
from ...pairwise.reduce import DEFAULT_TILE
from ...types import StepInfo
from ..step.caching import refuse_batch_norms
from ..step.stages import last_stage

PAPERS = {"grad-cache": ("MemoryReport",)}

_FEW, _MORE = 8, 24
_TILES = 4
"""Matrices of a tile's size that exist at once: scores, their exponential, their gradient, a term's own."""


@dataclass(frozen=True)
class MemoryReport:
    """The bytes of a step, by what holds them.

    Attributes:
        weights: of the model, momentum copies and buffers included.
        optimizer: gradients and the two moments of AdamW.
        encoder: kept for the backward pass, per example that is encoded at a time, with its pairs.
        loss: kept by the losses in tiles, per example of the batch, heads included.
        tiles: what the losses work on at a time, whatever the batch.
        inputs: pictures, tokens and features with their gradients, per example of the batch.
    """

    weights: int
    optimizer: int
    encoder: int
    loss: int
    tiles: int
    inputs: int

    def at(self, batch: int, microbatch: int = 0) -> dict[str, int]:
        """Return bytes by holder at a batch size.

        >>> report = MemoryReport(weights=4, optimizer=12, encoder=100, loss=3, tiles=50, inputs=10)
        >>> report.at(batch=64, microbatch=8)
        {'weights': 4, 'optimizer': 12, 'encoder': 800, 'loss': 242, 'inputs': 640}
        """
        encoded = min(microbatch, batch) if microbatch else batch
        return {
            "weights": self.weights,
            "optimizer": self.optimizer,
            "encoder": self.encoder * encoded,
            "loss": self.loss * batch + self.tiles,
            "inputs": self.inputs * batch,
        }

    def largest(self, available: int, microbatch: int = 0) -> int:
        """Return the largest batch that fits into so many bytes; 0 if none does.

        >>> MemoryReport(4, 12, encoder=100, loss=3, tiles=50, inputs=10).largest(1000, microbatch=5)
        33
        """
        fixed = self.weights + self.optimizer + self.tiles
        if microbatch:
            left = available - fixed - self.encoder * microbatch
            examples = left // max(self.loss + self.inputs, 1)
            # A smaller batch is encoded in one piece, as without microbatches.
            if examples >= microbatch:
                return examples
        return max((available - fixed) // max(self.encoder + self.loss + self.inputs, 1), 0)

    def encoded(self, available: int, batch: int) -> int:
        """Return how many examples of a batch can be encoded at a time in so many bytes; 0 if not even one can.

        >>> MemoryReport(4, 12, encoder=100, loss=3, tiles=50, inputs=10).encoded(1000, batch=16)
        7
        """
        left = available - sum(self.at(batch).values()) + self.encoder * batch
        return min(max(left // max(self.encoder, 1), 0), batch)


def measure(method: Method, loader: Loader, microbatch: int = 0) -> MemoryReport:
    """Encode a few examples twice, with and without some more, and see what is kept.

    Args:
        method: at the start of its run; nothing in it changes.
        loader: its batches.
        microbatch: more than 0 if microbatches will be used, which not every tower allows.

    Raises:
        ValueError: if microbatches are to be used and cannot.
    """
    if microbatch:
        refuse_batch_norms(method)
    whole = loader.first(_MORE)
    clock = StepInfo(0, 1, stage=last_stage(method))
    # Two sizes, whose difference leaves out whatever does not grow with the batch.
    sizes = [min(size, len(whole)) for size in (_FEW, _MORE)]
    if sizes[0] == sizes[1]:
        sizes[0] = max(1, sizes[1] // 2)
    parts = [next(whole.split(size)) for size in sizes]
    difference = max(sizes[1] - sizes[0], 1)
    encoder, loss = [], []
    with rehearsal(method):
        for loaded in parts:
            with torch.no_grad():
                part = method.prepare(loaded, clock)
                targets = method.targets(part)
            features, kept = _saved_bytes(method, lambda part=part: method.encode(part))  # type: ignore[misc] # bound now
            leaves = {name: z.detach().requires_grad_() for name, z in features.items()}
            together, fused = _saved_bytes(
                method,
                lambda z=targets | leaves, b=part: method.second_round(z, b),  # type: ignore[misc] # bound now
            )
            encoder.append(kept + fused)
            together = {n: z.detach().requires_grad_(z.requires_grad) for n, z in together.items()}
            # As at the size that is asked about: so few examples would be evaluated densely.
            with evaluate_with("tiled"):
                _, kept = _saved_bytes(method, lambda z=together, b=part: method.losses(z, b, clock))  # type: ignore[misc]
            loss.append(kept)
    inputs = sum(_bytes(v) for v in parts[1].views.values()) + 2 * sum(_bytes(z) for z in leaves.values())
    tensors = [*method.parameters(), *method.buffers()]
    return MemoryReport(
        weights=sum(map(_bytes, tensors)),
        optimizer=3 * sum(_bytes(p) for p in method.parameters() if p.requires_grad),
        encoder=max(encoder[1] - encoder[0], 0) // difference,
        loss=max(loss[1] - loss[0], 0) // difference,
        tiles=_TILES * DEFAULT_TILE[0] * DEFAULT_TILE[1] * 4,
        inputs=inputs // sizes[1],
    )


@contextmanager
def rehearsal(method: Method) -> Iterator[None]:
    """Let a method compute in the block, and leave its state and torch's generator as they were."""
    # Batch norms of heads count what they are shown, also in a rehearsal.
    state = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        yield
    method.load_state_dict(state)


def available(device: torch.device | str = "cpu") -> int:
    """Return the bytes that are free on the device; on the CPU, what Linux says can be had without swapping.

    Raises:
        OSError: where the system does not tell.
    """
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not say how much memory is free")


def _saved_bytes(method: Method, function: Callable[[], dict[str, Tensor]]) -> tuple[dict[str, Tensor], int]:
    """Return the function's result, and the bytes that autograd keeps for it, without the model's own tensors."""
    of_method = {t.untyped_storage().data_ptr() for t in [*method.parameters(), *method.buffers()]}
    held: dict[int, int] = {}

    def hold(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in of_method:
            # By storage: views of one tensor are held once.
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        result = function()
    return result, sum(held.values())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
