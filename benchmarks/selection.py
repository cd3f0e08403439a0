"""Joint example selection: the time of bare matrix products, and the memory, that a choice from a super-batch takes.

    python benchmarks/selection.py --size 32768 --chosen 6554 --d 256

Ours chooses with a learner and a reference, 16 chunks. The floor is two products of all pairs, what the scores of both
models would take if they were formed, a panel at a time. Printed is the median of the paired ratios with the middle
half of them; with ``--repeats 0`` the peak of extra memory.
"""

from __future__ import annotations

import argparse
import time

import torch
from _timing import embeddings, peak_of, spread
from torch import Tensor

from counterpoint.pairwise.joint_selection import Judge, select


def products(views: list[Tensor], panel: int = 512) -> None:
    """Form the similarities of both models and forget them."""
    for x, y in (views[:2], views[2:]):
        for rows in torch.split(x, panel):
            rows @ y.T


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=32_768)
    parser.add_argument("--chosen", type=int, default=6_554)
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3, help="pairs of timings; 0 measures memory alone")
    options = parser.parse_args()
    views = [z.detach() for z in embeddings(options.size, options.d, 4)]
    bias = torch.tensor(-10.0)
    judges = [Judge(10 * views[0], views[1], bias), Judge(10 * views[2], views[3], bias, -1.0)]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, {vars(options)}")
    if not options.repeats:
        memory = peak_of(lambda: select(judges, options.chosen)) * 2**20 / 1e6
        print(f"memory {memory:.0f} MB")
        return
    ratios, seconds = [], []
    with torch.no_grad():
        for _ in range(options.repeats):
            began = time.perf_counter()
            select(judges, options.chosen)
            middle = time.perf_counter()
            products(views)
            ratios.append((middle - began) / (time.perf_counter() - middle))
            seconds.append(middle - began)
    print(f"time {spread(ratios)} of two products of all pairs, {min(seconds):.1f} s")


if __name__ == "__main__":
    main()
