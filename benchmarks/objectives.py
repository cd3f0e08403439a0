"""Every pairwise objective in tiles against itself as a dense matrix: time at one batch size, memory at another.

    python benchmarks/objectives.py --time 8192 --memory 16384 [NAME ...]

An objective is given what the conformance suite gives it in its first case (in all cases if it is named), so many
examples that a similarity matrix has B² numbers: half as many where two views of each stand in one matrix. The two
evaluators run alternately in one process. Printed are the median of the paired ratios of time with the middle half of
them, and the ratio of peak extra memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from _timing import alternate, peak, spread
from torch import Tensor

from counterpoint.pairwise import evaluate_with

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "conformance"))
from case_tools import Case, Inputs, call, flatten
from objective_cases import CASES


def given(case: Case, size: int, d: int) -> Inputs:
    """The case's inputs in float32, those of the batch differentiable."""
    n = round(size / case.matrices[1] / case.cells**0.5)
    example = case.inputs(torch.Generator().manual_seed(0), n, d)
    return case.leaves(case.each(example, lambda t: t.float() if t.is_floating_point() else t))


def evaluated(case: Case, inputs: Inputs, evaluator: str) -> Callable[..., Tensor]:
    """A pass over the inputs, whatever tensors it is called with: those only have their gradients cleared."""
    objective = case.build().float()

    def loss(*_: Tensor) -> Tensor:
        with evaluate_with(evaluator):  # type: ignore[arg-type] # one of two
            return call(objective, inputs)

    return loss


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="of objectives; all pairwise ones unless given")
    parser.add_argument("--time", type=int, default=2048, help="B of the timings")
    parser.add_argument("--memory", type=int, default=4096, help="B of the peaks")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, d = {options.d}", flush=True
    )
    cases = [case for case in CASES if case.tileable and case.build().pairwise]
    if options.names:
        chosen = [case for case in cases if case.name in options.names]
    else:
        chosen = list({case.name: case for case in reversed(cases)}.values())[::-1]
    for case in chosen:
        inputs = given(case, options.time, options.d)
        tiled, dense = (evaluated(case, inputs, e) for e in ("tiled", "dense"))
        seconds = alternate(tiled, dense, flatten(inputs), options.repeats)
        time = spread([ours / theirs for ours, theirs, _ in seconds])
        inputs = given(case, options.memory, options.d)
        peaks = [peak(evaluated(case, inputs, e), flatten(inputs)) for e in ("tiled", "dense")]
        print(
            f"{case!s:36s} B {options.time}: time {time}   B {options.memory}: memory {peaks[0]:.0f} / "
            f"{peaks[1]:.0f} MiB = {peaks[0] / peaks[1]:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
