"""Error rates of verdicts: how often the rule of superiority is wrong about a known effect."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from counterpoint.catalog.verdicts import judge
from counterpoint_reproductions.lab.results import refuting

DRAWS, SEEDS, DELTA = 2_000, 5, 1.0


def verdicts(effect: float, k: int, sd: float) -> Counter[str]:
    """Count the verdicts on claims of k parts of the same effect, from t intervals over five seeds."""
    rng = np.random.default_rng([k, int(10 * effect), int(10 * sd)])
    values = rng.normal(effect, sd, (DRAWS, k, SEEDS))
    middle, error = values.mean(-1), values.std(-1, ddof=1) / np.sqrt(SEEDS)
    half, wide = (error * stats.t.ppf((1 + c) / 2, SEEDS - 1) for c in (0.95, refuting(k)))
    ends = np.stack([middle - half, middle + half, middle - wide, middle + wide], axis=-1)
    counts: Counter[str] = Counter()
    for claim in ends.tolist():
        parts = [
            judge("superiority", low, high, (low_star, high_star), delta=DELTA, n_seeds=SEEDS)
            for low, high, low_star, high_star in claim
        ]
        of_parts = {part.verdict for part in parts}
        if "not reproduced" in of_parts:
            counts["not reproduced"] += 1
            counts["opposite"] += any(part.reason == "opposite" for part in parts)
        else:
            counts["reproduced" if of_parts == {"reproduced"} else "inconclusive"] += 1
    return counts


@pytest.mark.parametrize("sd", [0.3, 1.2])
@pytest.mark.parametrize("k", [1, 4, 8])
def test_a_verdict_is_wrong_at_most_one_time_in_twenty(k: int, sd: float) -> None:
    assert verdicts(0.0, k, sd)["reproduced"] <= 0.05 * DRAWS
    assert verdicts(DELTA, k, sd)["not reproduced"] <= 0.05 * DRAWS
    assert verdicts(DELTA / 2, k, sd)["opposite"] <= 0.05 * DRAWS  # between them only the sign can be wrong


@pytest.mark.parametrize("k", [1, 4, 8])
def test_a_precise_design_decides(k: int) -> None:
    precise = 0.1
    assert verdicts(0.0, k, precise)["not reproduced"] >= 0.99 * DRAWS
    assert verdicts(2 * DELTA, k, precise)["reproduced"] >= 0.99 * DRAWS
    assert verdicts(DELTA / 2, k, precise)["not reproduced"] >= 0.95 * DRAWS


def test_without_correction_eight_parts_would_be_wrong_too_often() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(DELTA, 0.6, (DRAWS, 8, SEEDS))
    high = values.mean(-1) + stats.t.ppf(0.975, SEEDS - 1) * values.std(-1, ddof=1) / np.sqrt(SEEDS)
    assert (high < DELTA).any(1).mean() > 0.05
