"""Every pairwise loss in tiles against itself as a dense matrix: time at one batch size, memory at another.

    python benchmarks/losses.py --time 8192 --memory 16384 [NAME ...]

A loss is given what the conformance suite gives it in its first case (``--cases``: in each), so many examples
that a similarity matrix has B² numbers: half as many where two views of each stand in one matrix, three times as many
where it is cut into three groups; a queue has as many keys, and there are as many labels. The two evaluators run
alternately in one process. Printed are the median of the paired ratios of time with the middle half of them, and the
ratio of peak extra memory, each measured in a process of its own: where one is killed because the machine has no more
memory, its peak is more than that.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from _timing import alternate, peak, spread
from torch import Tensor

from counterpoint.pairwise import evaluate_with

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "conformance"))
import cases_classes
import cases_queues
import cases_targets
from case_tools import Case, Inputs, apply, call, flatten
from loss_cases import CASES


def given(case: Case, size: int, d: int) -> Inputs:
    """The case's inputs in float32, those of the batch differentiable, a matrix of which has B² similarities."""
    n = round(size / (case.cells**0.5 if case.cells > 1 else case.matrices[1]))
    cases_queues.K = cases_targets.LABELS = cases_classes.CLASSES = cases_classes.KEYS = n
    example = case.inputs(torch.Generator().manual_seed(0), n, d)
    example = tuple(apply(v, lambda t: t.float() if t.is_floating_point() else t) for v in example)
    if case.swap in (cases_targets.turned, cases_classes.turned, cases_classes.turned_tags):
        example[1].requires_grad_()  # the vectors of labels are trained, unlike the keys of a queue
    return case.leaves(example)


def evaluated(case: Case, inputs: Inputs, evaluator: str) -> Callable[..., Tensor]:
    """A pass over the inputs, whatever tensors it is called with: those only have their gradients cleared."""
    objective = case.build().float()

    def loss(*_: Tensor) -> Tensor:
        with evaluate_with(evaluator):  # type: ignore[arg-type] # one of two
            return call(objective, inputs)

    return loss


def memory(place: int, size: int, d: int, evaluator: str) -> float:
    """MiB at the peak of a pass over the inputs of a case, by its place among all."""
    case = CASES[place]
    inputs = given(case, size, d)
    return peak(evaluated(case, inputs, evaluator), flatten(inputs))


def apart(case: Case, size: int, d: int, evaluator: str) -> float | None:
    """Measure the memory in a process of its own; None where that process did not survive."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as process:
        try:
            return process.submit(memory, CASES.index(case), size, d, evaluator).result()
        except BrokenProcessPool:
            return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="of losses; all pairwise ones unless given")
    parser.add_argument("--time", type=int, default=2048, help="B of the timings")
    parser.add_argument("--memory", type=int, default=4096, help="B of the peaks")
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", action="store_true", help="every case of a loss")
    options = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, d = {options.d}", flush=True
    )
    cases = [case for case in CASES if case.tileable and case.build().pairwise]
    if not options.cases:
        cases = list({case.name: case for case in reversed(cases)}.values())[::-1]
    chosen = [case for case in cases if not options.names or case.name in options.names]
    for case in chosen:
        inputs = given(case, options.time, options.d)
        tiled, dense = (evaluated(case, inputs, e) for e in ("tiled", "dense"))
        seconds = alternate(tiled, dense, flatten(inputs), options.repeats)
        time = spread([ours / theirs for ours, theirs, _ in seconds])
        print(f"{case!s:36s} B {options.time}: time {time}", flush=True)
        ours, theirs = (apart(case, options.memory, options.d, e) for e in ("tiled", "dense"))
        share = (
            "no room for dense"
            if ours is None or theirs is None
            else f"{theirs:.0f} MiB = {ours / theirs:.1%}"
        )
        print(f"{case!s:36s} B {options.memory}: memory {ours:.0f} / {share}", flush=True)


if __name__ == "__main__":
    main()
