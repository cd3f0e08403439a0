"""Every pairwise objective in tiles against itself as a dense matrix: time at one batch size, memory at another.

    python benchmarks/objectives.py --time 8192 --memory 16384 [NAME ...]

The two evaluators run alternately in one process. Printed are the median of the paired ratios of time with the
middle half of them, and the ratio of peak extra memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _timing import compare, embeddings, peak
from torch import Tensor

from counterpoint import objectives
from counterpoint.pairwise import Objective, evaluate_with


def inputs_of(objective: Objective, n: int, d: int) -> tuple[list[Tensor], dict[str, Tensor]] | None:
    """Views and labels for an objective that needs no more than these."""
    extra: dict[str, Tensor] = {}
    if objective.needs_ids:
        extra["ids"] = torch.arange(n)
    if objective.needs_labels:
        extra["labels"] = torch.arange(n) % 64
    views = embeddings(n, d)
    try:
        objective(*[view[:8] for view in views], **{k: v[:8] for k, v in extra.items()})
    except (TypeError, ValueError):
        return None
    return views, extra


def evaluated(objective: Objective, evaluator: str, extra: dict[str, Tensor]) -> Callable[..., Tensor]:
    def loss(*views: Tensor) -> Tensor:
        with evaluate_with(evaluator):  # type: ignore[arg-type] # one of two
            value: Tensor = objective(*views, **extra)
            return value

    return loss


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="objectives; all pairwise ones unless given")
    parser.add_argument("--time", type=int, default=2048, help="B of the timings")
    parser.add_argument("--memory", type=int, default=4096, help="B of the peaks")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, d = {options.d}")
    for name in options.names or objectives.names():
        objective = objectives.create(name)
        if not (objective.pairwise and objective.tileable):
            continue
        given = inputs_of(objective, options.time, options.d)
        if given is None:
            print(f"{name:22s} takes more than views, ids and labels: not timed here")
            continue
        views, extra = given
        tiled, dense = (evaluated(objective, e, extra) for e in ("tiled", "dense"))
        result = compare(tiled, dense, views, options.repeats)
        large = inputs_of(objective, options.memory, options.d)
        assert large is not None
        views, extra = large
        share = peak(evaluated(objective, "tiled", extra), views) / peak(
            evaluated(objective, "dense", extra), views
        )
        print(f"{name:22s} B {options.time}: time {result.time}   B {options.memory}: memory {share:.1%}")


if __name__ == "__main__":
    main()
