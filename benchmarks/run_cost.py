"""The cost of a study's run beyond its steps, under the recipe ``seconds``: by part, and all of it.

    python benchmarks/run_cost.py [DATA] [ARM ...]

A process is started once for all runs that it takes in hand. The parts are of the last of several runs: those before
have made what the runs of a study share (data, digests, decoded pictures).
"""

from __future__ import annotations

import sys
import tempfile
import time

BEGAN = time.perf_counter()

from pathlib import Path  # noqa: E402 # the time of the imports is one of the numbers

from counterpoint.recipes import load, override  # noqa: E402 # as above
from counterpoint.study.training.runner import run  # noqa: E402 # as above
from counterpoint.training.run import Run  # noqa: E402 # as above

STEPS, REPETITIONS = 20, 4


def cost(arm: str, data: str, seed: int) -> tuple[float, float, float]:
    """Return the seconds of a run, those of its steps with their validation, and those of its evaluation."""
    recipe = override(load("seconds"), {"steps": STEPS})
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        state = run(Run(arm, data, recipe, seed), Path(folder) / "run")
        return time.perf_counter() - began, state.seconds, state.evaluation_seconds


def main(data: str = "digits", *arms: str) -> None:
    print(f"imports: {time.perf_counter() - BEGAN:.2f} s, once a process")
    for arm in arms or ("clip", "siglip", "moco"):
        runs = [cost(arm, data, seed) for seed in range(REPETITIONS)]
        whole, steps, evaluation = runs[-1]
        print(
            f"{arm} on {data}, beyond {STEPS} steps: first run {runs[0][0] - runs[0][1]:.2f} s, a further one "
            f"{whole - steps:.2f} s (evaluation {evaluation:.2f} s); those steps, with validation: {steps:.2f} s"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
