"""The cost of executors: six short runs on Ray and by two ``work``, over the same by two processes of ``local``.

    python benchmarks/executors.py [STEPS] [ROUNDS]

All three have two processes, which begin with each round; the cluster, of two machines with a processor each, is there
before. Prints the ratio of each to ``local --jobs 2``, round by round: lowest, median, highest.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from counterpoint.execution import Local, Ray, WorkList
from counterpoint.recipes import load, override
from counterpoint.study.training.run import TrainingRun
from counterpoint.training.run import Run

ARMS, SEEDS = ("clip", "siglip"), (0, 1, 2)


def study(folder: Path, steps: int) -> list[TrainingRun]:
    recipe = override(load("cpu"), {"steps": steps, "validate_every": steps, "threads": 1})
    return [
        TrainingRun(Run(arm, "emoji", recipe, seed), folder / arm / f"seed-{seed}", ("retrieval",))
        for seed in SEEDS
        for arm in ARMS
    ]


def by_two_works(units: list[TrainingRun], folder: Path) -> None:
    WorkList.of("training", units, folder).write(folder)
    words = [sys.executable, "-m", "counterpoint", "work", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for process in [subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]:
        assert process.wait() == 0


def seconds(carry_out: Callable[[list[TrainingRun], Path], object], steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        units = study(Path(folder), steps)
        began = time.perf_counter()
        carry_out(units, Path(folder))
        took = time.perf_counter() - began
        assert all(unit.read() is not None for unit in units)
        return took


def main(steps: int = 200, rounds: int = 5) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ways: dict[str, Callable[[list[TrainingRun], Path], object]] = {
        "ray": lambda units, folder: Ray(cluster.address).carry_out(units),
        "two work": by_two_works,
    }
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    seconds(lambda units, folder: Local(2).carry_out(units), 2)  # pictures are prepared once
    for number in range(rounds):
        local = seconds(lambda units, folder: Local(2).carry_out(units), steps)
        for name in list(ways) if number % 2 else list(ways)[::-1]:
            ratios[name].append(seconds(ways[name], steps) / local)
            print(
                f"round {number}: {name} {ratios[name][-1]:.2f} of local, which took {local:.1f} s",
                flush=True,
            )
    cluster.shutdown()
    for name, each in ratios.items():
        print(f"{name}: {min(each):.2f} {statistics.median(each):.2f} {max(each):.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
