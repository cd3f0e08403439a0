"""One number made of several arms, with its interval: differences of differences, the best of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .bootstrap import (
    average_over_seeds,
    check_options,
    draw_seeds,
    pair,
    plug_in_scores,
    resample,
)
from .comparison import Verdict, decide
from .intervals import TInterval, VerdictInterval, verdict_interval
from .outcomes import Outcomes, check_same_examples, parse_runs

ArmScores = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Contrast:
    """A function of the arms' scores, and what is known of its value.

    Attributes:
        interval: of the function's value.
        p: two-sided, of the value 0.
        bias: mean over replicates − estimate. Where the function selects (a maximum), the selection is partly
            luck and the estimate itself is about this much too large.
        verdict: ``better``: above zero; ``worse``: below; ``equivalent``: within ± margin; and so on, as in
            `decide`.
        notes: what limits the verdict.
    """

    name: str
    interval: VerdictInterval
    p: float
    bias: float
    verdict: Verdict
    failed: Mapping[str, tuple[Any, ...]]
    notes: tuple[str, ...]


def linear(weights: Mapping[str, float]) -> Callable[[ArmScores], float]:
    """Return the contrast Σ weight · score.

    >>> linear({"slip": 1, "clip": -1})({"slip": 0.5, "clip": 0.25, "siglip": 0.9})
    0.25
    """
    if not weights:
        raise ValueError("weights is empty; give at least one arm")
    return lambda scores: float(sum(weight * scores[arm] for arm, weight in weights.items()))


def linear_contrast(
    outcomes: Outcomes,
    function: Callable[[ArmScores], float],
    *,
    name: str = "contrast",
    confidence: float = 0.95,
    n_boot: int = 2000,
    seed: int = 0,
) -> Contrast:
    """Return a number made of all arms' scores, with the verdict interval of `VerdictInterval`.

    Each replicate draws seeds (shared by all arms) and examples, averages each arm's scores over the drawn
    seeds and calls ``function`` on them, so whatever it selects is selected again. The t interval over seeds
    takes its standard error from the jackknife: the function of the scores without seed s, for each s; for
    linear functions that is exactly the paired t interval. The part of the test examples is the variance of
    the function over resampled examples with all seeds kept.

    Args:
        outcomes: one metric under all arms that ``function`` needs. Arms are cut to the seeds that all
            finished.
        function: from arm → score to one number; `linear` makes the common ones.
        name: what to call it.

    Raises:
        ValueError: no common seed, NaN outcomes, arms with different examples.

    Does the best of two extra losses lose its advantage under another recipe?

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> rates = {"clip/basic": 0.5, "slip/basic": 0.6, "byolip/basic": 0.62}
    >>> rates |= {"clip/new": 0.7, "slip/new": 0.7, "byolip/new": 0.7}
    >>> outcomes = Outcomes({arm: rng.random((6, 1000)) < rate for arm, rate in rates.items()})
    >>> def advantage(scores, recipe):
    ...     return max(scores[f"slip/{recipe}"], scores[f"byolip/{recipe}"]) - scores[f"clip/{recipe}"]
    >>> found = linear_contrast(outcomes, lambda scores: advantage(scores, "basic") - advantage(scores, "new"))
    >>> effect = found.interval
    >>> print(f"{effect.estimate:.2f} ({effect.low:.2f} to {effect.high:.2f}): {found.verdict}")
    0.11 (0.07 to 0.15): better
    """
    check_options(n_boot, confidence)
    arms = {arm: parse_runs(runs, f"arm {arm!r}", outcomes.statistic) for arm, runs in outcomes.arms.items()}
    if not arms:
        raise ValueError("outcomes has no arms; give those that the function needs")
    failed = {arm: runs.failed for arm, runs in arms.items() if runs.failed}
    n_examples = check_same_examples(arms)
    notes = [f"{arm} failed on seeds {list(seeds)}" for arm, seeds in failed.items()]
    if any(not runs.fixed for runs in arms.values()):
        arms, dropped = pair(arms)
        notes += [f"seeds {list(seeds)} of {arm} were left out" for arm, seeds in dropped.items() if seeds]
    n_seeds = max((len(runs.seeds) for runs in arms.values() if not runs.fixed), default=1)

    seed_rng, example_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    scores = dict(
        zip(arms, resample(list(arms.values()), example_rng, n_boot, outcomes.statistic), strict=True)
    )
    drawn = draw_seeds(seed_rng, n_seeds, n_boot)
    # A fixed model is the same under every seed.
    everywhere = {arm: np.broadcast_to(s, (n_boot, n_seeds)) for arm, s in scores.items()}
    replicates = _apply(function, {arm: average_over_seeds(s, drawn) for arm, s in everywhere.items()})
    all_seeds = _apply(function, {arm: s.mean(1) for arm, s in everywhere.items()})
    all_seeds = all_seeds[~np.isnan(all_seeds)]
    plug_in = {
        arm: np.broadcast_to(plug_in_scores(runs, outcomes.statistic), (n_seeds,))
        for arm, runs in arms.items()
    }
    estimate = float(function({arm: float(s.mean()) for arm, s in plug_in.items()}))
    interval = verdict_interval(
        replicates,
        _jackknife(function, plug_in, estimate, confidence) if n_seeds > 1 else None,
        estimate=estimate,
        example_variance=float(np.var(all_seeds, ddof=1)) if len(all_seeds) > 1 else 0.0,
        n_seeds=n_seeds,
        n_examples=n_examples,
        confidence=confidence,
    )
    p = interval.p_value()
    n_failed = sum(map(len, failed.values()))
    margin = outcomes.margin
    p_equivalent = 1.0 if margin is None else interval.p_equivalent(margin)
    verdict, held_back = decide(
        interval, p_holm=p, p_equivalent=p_equivalent, margin=margin, failed_a=n_failed, failed_b=n_failed
    )
    if held_back:
        notes.append(held_back)
    return Contrast(
        name, interval, p, float(interval.replicates.mean()) - estimate, verdict, failed, tuple(notes)
    )


def _apply(
    function: Callable[[ArmScores], float], scores: Mapping[str, Float[np.ndarray, " replicates"]]
) -> Float[np.ndarray, " replicates"]:
    columns = [s.tolist() for s in scores.values()]
    return np.array(
        [float(function(dict(zip(scores, row, strict=True)))) for row in zip(*columns, strict=True)]
    )


def _jackknife(
    function: Callable[[ArmScores], float],
    plug_in: Mapping[str, Float[np.ndarray, " seeds"]],
    estimate: float,
    confidence: float,
) -> TInterval:
    n = len(next(iter(plug_in.values())))
    without = _apply(function, {arm: (s.sum() - s) / (n - 1) for arm, s in plug_in.items()})
    variance = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
    return TInterval(estimate, float(np.sqrt(variance)), n - 1, confidence)
