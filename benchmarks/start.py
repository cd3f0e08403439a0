"""The time from the start of a process to its first batch, at 90 % of an epoch over that at step 0, in alternation.

    python benchmarks/start.py [RECORDS] [PAIRS]

Prints the seconds of both and the ratios, pair by pair: lowest, median, highest; once from the start of the process,
once from the opening of the data, when all packages are loaded. The bar is 1.5.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _linked import linked

from counterpoint.data.source import load
from counterpoint.recipes import load as load_recipe
from counterpoint.recipes import override
from counterpoint.training.run import Run
from counterpoint.training.start import prepare

SHARE = 0.9
BATCH = 256


def first_batch(folder: str, share: float) -> tuple[int, float]:
    """Return the step that a run begins at, and the seconds from the opening of its data to its first batch."""
    began = time.perf_counter()
    data = load(folder)
    recipe = override(load_recipe("cpu"), {"batch_size": BATCH, "steps": 10**9})
    _, loader = prepare(Run("clip", folder, recipe), data)
    step = int(share * loader.order.steps_per_epoch)
    next(iter(loader.batches(step, step + 1)))
    return step, time.perf_counter() - began


def measured(folder: Path, share: float) -> tuple[int, float, float]:
    """Return the step, and the seconds of a process of its own, with and without the loading of packages."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "child", str(folder), str(share)],
        check=True,
        capture_output=True,
        text=True,
    )
    whole = time.perf_counter() - began
    step, within = json.loads(done.stdout.splitlines()[-1])
    return step, whole, within


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(first_batch(sys.argv[2], float(sys.argv[3]))))
        return
    records, pairs = (int(x) for x in [*sys.argv[1:], *("1000000", "5")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as scratch:
        folder = linked(Path(scratch), records)
        measured(folder, 0.0)
        late, early = [], []
        for pair in range(pairs):
            for share in (SHARE, 0.0) if pair % 2 else (0.0, SHARE):
                (late if share else early).append(measured(folder, share))
    print(f"{records:,} records, batches of {BATCH}, {pairs} pairs; steps {early[0][0]:,} and {late[0][0]:,}")
    for name, part in (("from the start of the process", 1), ("from the opening of the data", 2)):
        ratios = [b[part] / a[part] for a, b in zip(early, late, strict=True)]
        print(
            f"{name}: {statistics.median(a[part] for a in early):.2f} s, at {SHARE:.0%} "
            f"{statistics.median(b[part] for b in late):.2f} s; ratio {min(ratios):.3f} … "
            f"{statistics.median(ratios):.3f} … {max(ratios):.3f}"
        )


if __name__ == "__main__":
    main()
