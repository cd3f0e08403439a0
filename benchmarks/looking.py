"""The share of a run of SBCL that goes to its looks at all examples.

    python benchmarks/looking.py [DATA] [EPOCHS]

The registered method with its defaults under the recipe ``cpu``, trained and evaluated as `compare` does, of which
training counts. Prints the seconds of all looks over the seconds of all steps, looks included.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from counterpoint.data.source import load_any
from counterpoint.methods.sbcl import SBCL
from counterpoint.recipes import load, override
from counterpoint.study.training.runner import run
from counterpoint.training.run import Run
from counterpoint.types import StepInfo, TrainingExamples


def main(data: str = "scenes:basic,train=2000,validation=50,test=50", epochs: int = 31) -> None:
    spent: list[float] = []
    on_epoch_start = SBCL.on_epoch_start

    def timed(self: SBCL, examples: TrainingExamples, clock: StepInfo) -> None:
        began = time.perf_counter()
        on_epoch_start(self, examples, clock)
        spent.append(time.perf_counter() - began)

    SBCL.on_epoch_start = timed  # type: ignore[method-assign] # what the benchmark measures
    recipe = load("cpu")
    steps = epochs * (len(load_any(data).splits.train) // recipe.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        state = run(
            Run("sbcl", data, override(recipe, {"steps": steps, "validate_every": steps})),
            Path(folder) / "run",
        )
    spoken = f"{sum(spent):.1f} s of {state.seconds:.1f} s in {len(spent)} calls, {steps} steps"
    print(f"on_epoch_start of sbcl on {data}: {spoken}: {sum(spent) / state.seconds:.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
