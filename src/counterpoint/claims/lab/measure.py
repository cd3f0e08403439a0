"""From outcomes to results: one value with its interval, and the rule it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict, Unpack

import numpy as np
from jaxtyping import Float
from scipy import stats

from ...catalog.evidence import Direction, Result
from ...statistics import Outcomes, linear, linear_contrast, t_interval
from ...statistics.outcomes import AnyStatistic, ArmOutcomes


class Rule(TypedDict, total=False):
    """The rule that judges a result; see `counterpoint.catalog.evidence.Result`."""

    expected: Direction
    bound: float
    refuted_at: float | None
    decides: bool


def of_arms(
    name: str,
    metric: str,
    arms: Mapping[str, ArmOutcomes],
    function: Callable[[Mapping[str, float]], float],
    *,
    statistic: AnyStatistic = "mean",
    **rule: Unpack[Rule],
) -> Result:
    """A number made of several arms' scores, its interval from seeds and examples.

    Args:
        name, metric: what is measured.
        arms: outcomes, seeds × examples.
        function: from arm → score to the number; whatever it selects is selected again in each resample.
        statistic: from outcomes to a score.
        rule: how it is judged.
    """
    seeds = [
        {s for s, run in outcomes.items() if run is not None}
        for outcomes in arms.values()
        if isinstance(outcomes, Mapping)
    ]
    if seeds and not set.intersection(*seeds):  # no seed on which all arms finished: nothing to measure
        return Result(name=name, metric=metric, estimate=None, low=None, high=None, **rule)
    interval = linear_contrast(Outcomes(arms, statistic), function, name=name).interval
    return Result(
        name=name,
        metric=metric,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        n_seeds=interval.n_seeds,
        **rule,
    )


def difference(
    name: str, metric: str, treatment: ArmOutcomes, baseline: ArmOutcomes, **rule: Unpack[Rule]
) -> Result:
    """The treatment's mean outcome minus the baseline's.

    >>> hits = np.random.default_rng(0).random((2, 5, 400)) < np.array([0.8, 0.5])[:, None, None]
    >>> difference("gain", "R@1", hits[0], hits[1], expected="above").verdict
    'reproduced'
    """
    arms = {"treatment": treatment, "baseline": baseline}
    return of_arms(name, metric, arms, linear({"treatment": 1, "baseline": -1}), **rule)


def over_seeds(
    name: str, metric: str, values: Sequence[float] | Float[np.ndarray, " seeds"], **rule: Unpack[Rule]
) -> Result:
    """The mean of one number per seed, with the t interval over seeds; not measured if a number is not finite.

    >>> over_seeds("slope", "log-log slope", [0.01, -0.02, 0.0, 0.01, 0.02], expected="within", bound=0.1).verdict
    'reproduced'
    """
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        return Result(
            name=name, metric=metric, estimate=None, low=None, high=None, n_seeds=len(found), **rule
        )
    t = t_interval(found)
    return Result(
        name=name,
        metric=metric,
        estimate=t.estimate,
        low=t.low,
        high=t.high,
        n_seeds=len(found),
        **rule,
    )


def rate(name: str, metric: str, events: np.ndarray, **rule: Unpack[Rule]) -> Result:
    """Measure how often something happens in independent worlds, with the exact binomial (Clopper–Pearson) interval.

    >>> rate("false positives", "share of worlds", np.arange(300) < 9, expected="below", bound=0.1).verdict
    'reproduced'
    """
    test = stats.binomtest(int(events.sum()), len(events))
    low, high = test.proportion_ci(0.95)
    return Result(
        name=name,
        metric=metric,
        estimate=float(test.statistic),
        low=float(low),
        high=float(high),
        n_seeds=len(events),
        **rule,
    )


def exact(name: str, metric: str, value: float, **rule: Unpack[Rule]) -> Result:
    """A value in which chance plays no part.

    >>> exact("tiled equals dense", "largest relative error", 1e-15, expected="below", bound=1e-6).verdict
    'reproduced'
    """
    return Result(name=name, metric=metric, estimate=value, low=value, high=value, **rule)
