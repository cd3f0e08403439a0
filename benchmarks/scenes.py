"""Scenes per second: annotations, captions, and pictures with masks and boxes, as they are made in training.

python benchmarks/scenes.py [processes]

Each process makes scenes of its own from a cold start: dyeing and scaling sprites is part of what is timed, drawing
the vectors (once, into the cache folder) is not.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from counterpoint.data.synthetic.scenes.world import Scenes

COUNT, BATCH = 5_000, 250


def timed(process: int) -> dict[str, float]:
    """Seconds of processor time that each part took, so that a busy machine tells the same as an idle one."""
    world = Scenes.parse("scenes:basic,train=200000")
    start = process * COUNT
    batches = [np.arange(first, first + BATCH) for first in range(start, start + COUNT, BATCH)]
    times = [time.process_time()]
    for rows in batches:
        for row in rows:
            world.scene(int(row))
    times.append(time.process_time())
    for rows in batches:
        for row in rows:
            world.captions(int(row))
    times.append(time.process_time())
    for rows in batches:
        world.draw(rows)
    times.append(time.process_time())
    parts = ("annotations", "captions", "pictures, masks and boxes")
    return dict(zip(parts, np.diff(times).tolist(), strict=True))


def main(processes: int) -> None:
    basic = Scenes.parse("scenes:basic")
    basic.draw(np.arange(1))  # into the cache folder, if they are not there yet
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(timed, range(processes)))
    print(f"{processes} process(es), {COUNT:,} scenes each, {basic.pixels} px")
    for part in found[0]:
        print(f"{part:<28}{sum(COUNT / one[part] for one in found):>10,.0f} a second")
    print(f"{'all':<28}{sum(COUNT / sum(one.values()) for one in found):>10,.0f} a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
