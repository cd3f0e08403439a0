"""One order over many tasks: mean ranks, and mean differences from a baseline with the tasks resampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
from jaxtyping import Float

from ..schema import ArmSummary

PAPERS = {"medical-vl-benchmark": ("mean_ranks",)}

REPLICATES = 10_000


@dataclass(frozen=True)
class ArmStanding:
    """One arm over all tasks.

    Attributes:
        arm: which.
        rank: the mean over tasks of its rank among the arms; 1 is best, ties share.
        difference: the mean over tasks of its score minus the baseline's.
        low, high: the 95 % interval of that, tasks resampled: what other tasks of this kind might give. It does not
            say what other seeds would.
        tasks: how many there are.
    """

    arm: str
    rank: float
    difference: float
    low: float
    high: float
    tasks: int


def mean_ranks(
    scores: Mapping[str, Float[np.ndarray, " tasks"]], baseline: str, seed: int = 0
) -> list[ArmStanding]:
    """Rank arms by their mean rank over tasks, the best first.

    Scores of different metrics are never averaged: their ranks are, and their differences from a baseline.

    Args:
        scores: of every arm on the same tasks, higher is better.
        baseline: one of the arms.
        seed: of the resampling.

    Raises:
        ValueError: if arms have different tasks, or there is none, or no such baseline.

    Source: this package's, for comparisons over many tasks such as that of Roy et al. (2024), arXiv 2406.07450.

    >>> found = mean_ranks({"clip": np.array([0.1, 0.5]), "slip": np.array([0.2, 0.5])}, "clip")
    >>> [(it.arm, it.rank) for it in found]
    [('slip', 1.25), ('clip', 1.75)]
    """
    counts = {len(values) for values in scores.values()}
    if baseline not in scores or len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"standings need the same tasks of every arm and the baseline {baseline!r} among them; got arms "
            f"{', '.join(scores)} with {sorted(counts)} tasks"
        )
    arms, table = list(scores), np.stack(list(scores.values()))
    from scipy.stats import rankdata  # here, as it takes half a second

    ranks = rankdata(-table, axis=0).mean(1)
    resampled = np.random.default_rng(seed).integers(table.shape[1], size=(REPLICATES, table.shape[1]))
    standings = []
    for arm, values, rank in zip(arms, table, ranks, strict=True):
        difference = values - scores[baseline]
        low, high = np.quantile(difference[resampled].mean(1), (0.025, 0.975))
        mean = float(difference.mean())
        standings.append(ArmStanding(arm, float(rank), mean, float(low), float(high), len(difference)))
    return sorted(standings, key=lambda it: it.rank)


def of_arms(
    arms: Sequence[ArmSummary], tasks: Mapping[str, tuple[str, ...]]
) -> dict[str, Float[np.ndarray, " tasks"]]:
    """Return the scores of a study's arms, means over seeds, on the metrics that count as tasks and all arms have.

    Args:
        arms: of a study.
        tasks: patterns of metrics by task, see :class:`counterpoint.study.presets.StudyPreset`.
    """
    by_arm = {
        arm.name: {
            (it.task, it.test, it.metric): it.mean if it.higher_is_better else -it.mean
            for it in arm.metrics
            if it.subset == "all"
            and it.mean is not None
            and any(fnmatch(it.metric, pattern) for pattern in tasks.get(it.task, ()))
        }
        for arm in arms
    }
    shared = [key for key in next(iter(by_arm.values())) if all(key in scores for scores in by_arm.values())]
    return {arm: np.array([scores[key] for key in shared]) for arm, scores in by_arm.items()}
