"""The resident memory of a trainer and of its worker, with many records against few, and its growth over steps.

    python benchmarks/memory.py [MANY] [FEW] [STEPS] [WARM]

Prints megabytes after WARM steps, and what STEPS further steps add. The bars: many at most 150 MB more than few, in
each process, and a growth of at most 5 MB over 2,000 steps.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import tempfile
from pathlib import Path

from _linked import linked

from counterpoint.data.source import load
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.training.loop import TrainingProgress, fit
from counterpoint.training.run import Run
from counterpoint.training.start import prepare

SMALL = {
    **{"batch_size": 64, "workers": 1, "threads": 1, "log_every": 10**6, "checkpoint_every": 10**6},
    **{
        "towers.image_size": 16,
        "towers.context": 12,
        "towers.vocabulary": 300,
        "augmentation.synonyms": False,
    },
}


def resident(process: int | str) -> float:
    """Return the megabytes that a process has in memory."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def trained(folder: str, warm: int, steps: int) -> dict[str, list[float]]:
    """Return the memory of trainer and worker after a number of steps, and after some more."""
    recipe = override(load_recipe("cpu"), {**SMALL, "steps": warm + steps})
    method, loader = prepare(Run("clip", folder, recipe), load(folder))
    seen: dict[str, list[float]] = {"trainer": [], "worker": []}

    def told(now: TrainingProgress) -> None:
        if now.step in (warm, warm + steps):
            seen["trainer"].append(resident("self"))
            seen["worker"].append(
                max(resident(child.pid) for child in multiprocessing.active_children() if child.pid)
            )

    fit(method, loader, recipe, on_step=told)
    return seen


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(trained(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
        return
    many, few, steps, warm = (
        int(x) for x in [*sys.argv[1:], *("10000000", "10000", "2000", "500")[len(sys.argv) - 1 :]]
    )
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for records in (few, many):
            child = [
                sys.executable,
                __file__,
                "child",
                str(linked(Path(scratch), records)),
                str(warm),
                str(steps),
            ]
            done = subprocess.run(child, check=True, capture_output=True, text=True)
            found[records] = json.loads(done.stdout.splitlines()[-1])
    for process in ("trainer", "worker"):
        for records in (few, many):
            before, after = found[records][process]
            print(
                f"{process}, {records:,} records: {before:.0f} MB after {warm:,} steps, {after - before:+.1f} MB "
                f"over {steps:,} more"
            )
        print(f"{process}: {found[many][process][1] - found[few][process][1]:+.0f} MB for many")


if __name__ == "__main__":
    main()
