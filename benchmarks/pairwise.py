"""Time and memory of tiled InfoNCE and SigLIP beside open_clip's losses, against B.

    python benchmarks/pairwise.py 4096 8192 16384 --plot pairwise.png
    python benchmarks/pairwise.py 131072 --d 256 --alone

Each pair of losses runs alternately in one process. Printed are the median of the paired ratios with the middle
half of them, the same against four bare matrix products (the arithmetic that cannot be avoided), and the peak of
extra memory. ``--alone`` runs ours only, for batches that no dense loss can hold, and prints the process's peak.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from _timing import Comparison, compare, embeddings, floor, step
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor

from counterpoint.losses import InfoNCELoss, SigLIPLoss
from counterpoint.training.record.peak_memory import PeakMemory


def infonce(x: Tensor, y: Tensor, tile: int | None, repeats: int) -> Comparison:
    ours, theirs = InfoNCELoss().evaluated("tiled", tile), ClipLoss()

    def dense(x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = theirs(x, y, ours.temperature.inverse())
        return loss

    return compare(ours, dense, (x, y), repeats, lambda: floor(x, y))


def siglip(x: Tensor, y: Tensor, tile: int | None, repeats: int) -> Comparison:
    ours, theirs = SigLIPLoss().evaluated("tiled", tile), SigLipLoss()

    def dense(x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = theirs(x, y, ours.temperature.inverse(), ours.bias)
        return loss

    return compare(ours, dense, (x, y), repeats, lambda: floor(x, y))


PAIRS = {"InfoNCE / ClipLoss": infonce, "SigLIP / SigLipLoss": siglip}


def alone(n: int, d: int, tile: int | None) -> None:
    for loss in (InfoNCELoss(), SigLIPLoss()):
        memory = PeakMemory()
        seconds = step(loss.evaluated("tiled", tile), embeddings(n, d))
        print(
            f"B {n:7d} {type(loss).__name__:8s} {seconds:8.1f} s, "
            f"process at most {memory.read() / 1e9:.2f} GB, embeddings and their gradients included"
        )


def plot(path: Path, found: dict[str, dict[int, Comparison]]) -> None:
    """Plot seconds and MiB against B, ours and theirs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time, memory = figure.subplots(1, 2)
    sizes = list(next(iter(found.values())))
    for name, by_size in found.items():
        for side, style in ((0, "o-"), (1, "s--")):
            label = name.split(" / ")[side]
            time.plot(
                sizes,
                [statistics.median(t[side] for t in c.seconds) for c in by_size.values()],
                style,
                label=label,
            )
            memory.plot(sizes, [c.memory[side] for c in by_size.values()], style, label=label)
    for axis, title in ((time, "seconds of a forward and backward pass"), (memory, "peak extra memory, MiB")):
        axis.set(xscale="log", yscale="log", xlabel="batch size B", title=title)
        axis.set_xticks(sizes, [f"{n:,}" for n in sizes])
        axis.minorticks_off()
        axis.legend()
    figure.savefig(path, dpi=150)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", type=int, nargs="*", default=[1024, 2048], help="batch sizes B")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--tile", type=int, help="rows and columns of ours; its default unless given")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="ours only")
    parser.add_argument("--plot", type=Path, help="a file for the curves")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, d = {options.d}")
    found: dict[str, dict[int, Comparison]] = {name: {} for name in PAIRS}
    for n in options.sizes:
        if options.alone:
            alone(n, options.d, options.tile)
            continue
        x, y = embeddings(n, options.d)
        for name, pair in PAIRS.items():
            result = found[name][n] = pair(x, y, options.tile, options.repeats)
            print(
                f"B {n:6d} {name:20s} time {result.time}"
                f" ({result.over_bare} of four products, {statistics.median(result.bare):.2f} s)"
                f"  memory {result.memory[0]:.1f} / {result.memory[1]:.1f} MiB = {result.share:.1%}"
            )
    if options.plot and not options.alone:
        plot(options.plot, found)


if __name__ == "__main__":
    main()
