"""Time and memory of pairwise losses, beside open_clip's.

``python benchmarks/pairwise.py 1024 2048 --d 512`` runs each pair of losses alternately in one process, so
that whatever else the machine does falls on both. Printed are the median of the paired ratios with the middle
half of them, the same against four bare matrix products, and the peak of extra memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from counterpoint.objectives import InfoNCE, SigLIP

Loss = Callable[[Tensor, Tensor], Tensor]


def embeddings(n: int, d: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x, y = (F.normalize(torch.randn(n, d, generator=g), dim=-1) for _ in range(2))
    return x.requires_grad_(), y.requires_grad_()


def step(loss: Loss, x: Tensor, y: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    x.grad = y.grad = None
    start = time.perf_counter()
    loss(x, y).backward()
    return time.perf_counter() - start


def peak(loss: Loss, x: Tensor, y: Tensor) -> float:
    """The highest sum of live allocations during one pass, in MiB."""
    x.grad = y.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss(x, y).backward()
    live = highest = 0
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
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


def spread(ratios: list[float]) -> str:
    """The median, and the middle half."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def compare(name: str, ours: Loss, theirs: Loss, x: Tensor, y: Tensor, tile: int, repeats: int) -> None:
    for loss in (ours, theirs):  # warm up
        step(loss, x, y)
    times = [(step(ours, x, y), step(theirs, x, y), floor(x, y, tile)) for _ in range(repeats)]
    memory = peak(ours, x, y), peak(theirs, x, y)
    print(
        f"B {len(x):6d} tile {tile:5d} {name:20s} time {spread([a / b for a, b, _ in times])}"
        f" ({statistics.median(a for a, _, _ in times) * 1e3:.0f} ms,"
        f" {spread([a / c for a, _, c in times])} of four products)"
        f"  memory {memory[0]:.1f} / {memory[1]:.1f} MiB = {memory[0] / memory[1]:.1%}"
    )


def run(x: Tensor, y: Tensor, tile: int, repeats: int) -> None:
    infonce, clip = InfoNCE().evaluated("tiled", tile), ClipLoss()
    siglip, sigmoid = SigLIP().evaluated("tiled", tile), SigLipLoss()

    def clip_loss(x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = clip(x, y, infonce.temperature.inverse())
        return loss

    def sigmoid_loss(x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = sigmoid(x, y, siglip.temperature.inverse(), siglip.bias)
        return loss

    compare("InfoNCE / ClipLoss", infonce, clip_loss, x, y, tile, repeats)
    compare("SigLIP / SigLipLoss", siglip, sigmoid_loss, x, y, tile, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="+", help="batch sizes B")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--tile", type=int, nargs="+", default=[1024])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, d = {options.d}")
    for n in options.sizes:
        x, y = embeddings(n, options.d)
        for tile in options.tile:
            run(x, y, tile, options.repeats)


if __name__ == "__main__":
    main()
