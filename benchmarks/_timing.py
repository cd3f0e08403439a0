"""Paired timings and peak memory of losses, for the benchmarks of the pairwise engine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

Loss = Callable[..., Tensor]


def embeddings(n: int, d: int, views: int = 2) -> list[Tensor]:
    """Random unit-norm views that ask for gradients."""
    g = torch.Generator().manual_seed(0)
    return [F.normalize(torch.randn(n, d, generator=g), dim=-1).requires_grad_() for _ in range(views)]


def step(loss: Loss, inputs: Sequence[Tensor]) -> float:
    """Seconds of one forward and backward pass."""
    for tensor in inputs:
        tensor.grad = None
    start = time.perf_counter()
    loss(*inputs).backward()
    return time.perf_counter() - start


def peak(loss: Loss, inputs: Sequence[Tensor]) -> float:
    """The highest sum of live allocations during one pass, in MiB."""
    for tensor in inputs:
        tensor.grad = None
    return peak_of(lambda: loss(*inputs).backward())


def peak_of(function: Callable[[], object]) -> float:
    """The highest sum of live allocations during a call, in MiB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    kineto = profiler.profiler
    assert kineto is not None
    live = highest = 0
    events = kineto.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        live += event.nbytes()
        highest = max(highest, live)
    return highest / 2**20


def floor(x: Tensor, y: Tensor, tile: int = 1024) -> float:
    """Seconds of the four matrix products per tile that a row and column log-sum-exp cannot do without."""
    start = time.perf_counter()
    with torch.no_grad():
        for a in x.split(tile):
            for b in y.split(tile):
                s = a @ b.T
                s = a @ b.T
                s @ b
                s.T @ a
    return time.perf_counter() - start


@dataclass(frozen=True)
class Comparison:
    """Two losses measured in alternation.

    Attributes:
        seconds: of each pair of passes, ours and theirs.
        bare: seconds of what cannot be avoided, measured beside each pair; empty where it was not asked for.
        memory: peaks in MiB, ours and theirs.
    """

    seconds: tuple[tuple[float, float], ...]
    bare: tuple[float, ...]
    memory: tuple[float, float]

    @property
    def time(self) -> str:
        """The median of the paired ratios, and the middle half of them."""
        return spread([ours / theirs for ours, theirs in self.seconds])

    @property
    def over_bare(self) -> str:
        """Return the median and the middle half of our time over what cannot be avoided."""
        return spread([ours / bare for (ours, _), bare in zip(self.seconds, self.bare, strict=True)])

    @property
    def share(self) -> float:
        """Return our peak over theirs."""
        return self.memory[0] / self.memory[1]


def alternate(
    ours: Loss,
    theirs: Loss,
    inputs: Sequence[Tensor],
    repeats: int,
    bare: Callable[[], float] = lambda: 0.0,
) -> list[tuple[float, float, float]]:
    """Seconds of the two, and of what cannot be avoided, by turns: whatever else the machine does falls on all."""
    for loss in (ours, theirs):  # warm up
        step(loss, inputs)
    return [(step(ours, inputs), step(theirs, inputs), bare()) for _ in range(repeats)]


def compare(
    ours: Loss,
    theirs: Loss,
    inputs: Sequence[Tensor],
    repeats: int,
    bare: Callable[[], float] | None = None,
) -> Comparison:
    """Measure time and memory of the two."""
    found = alternate(ours, theirs, inputs, repeats, bare or (lambda: 0.0))
    return Comparison(
        tuple((a, b) for a, b, _ in found),
        tuple(least for *_, least in found) if bare else (),
        (peak(ours, inputs), peak(theirs, inputs)),
    )


def spread(ratios: Sequence[float]) -> str:
    """The median, and the middle half."""
    if len(ratios) < 2:
        return f"{ratios[0]:.2f}"
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"
