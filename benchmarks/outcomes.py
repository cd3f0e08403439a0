"""Seconds that a bootstrap takes of statistics which are computed anew on every resample of the examples.

    python benchmarks/outcomes.py --tags 60 --examples 1000 --seeds 5 --replicates 1000

Each statistic that states its form under weights is timed by it and, with ``--plain``, by its function on every
resample. Outcomes are random; a tenth of the tags are there.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from counterpoint.evaluation import STATISTICS
from counterpoint.statistics import Statistic, multi_bootstrap


def outcomes(statistic: Statistic, seeds: int, examples: int, tags: int) -> np.ndarray:
    """Random outcomes of some examples under each seed, which all know the same truth."""
    rng = np.random.default_rng(0)
    wide = (tags if statistic.several else 1,)
    true = rng.random((examples, *wide)) < 0.1
    scores = rng.random((seeds, examples, *wide)) * (1 + true)
    return np.concatenate([np.broadcast_to(true, scores.shape), scores], axis=2)


def seconds(statistic: Statistic, values: np.ndarray, replicates: int) -> float:
    began = time.perf_counter()
    multi_bootstrap(values, score=statistic, n_boot=replicates)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("tags", 60), ("examples", 1000), ("seeds", 5), ("replicates", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    for name, statistic in STATISTICS.items():
        if statistic.weighted is None:
            continue
        values = outcomes(statistic, given.seeds, given.examples, given.tags)
        line = f"{name}: {seconds(statistic, values, given.replicates):.2f} s"
        if given.plain:
            plain = Statistic(statistic.function, statistic.columns, several=statistic.several)
            line += f", without weights {seconds(plain, values, given.replicates):.2f} s"
        print(line)


if __name__ == "__main__":
    main()
