"""From outcomes to results: one value with its interval, and the rule it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Unpack

import numpy as np
from jaxtyping import Float

from ...catalog.evidence import Result
from ...statistics import linear
from ...statistics.outcomes import AnyStatistic, ArmOutcomes
from . import score
from .results import Judged, judged
from .score import Arm, Measured, Score, per_seed


def of_arms(
    name: str,
    metric: str,
    arms: Mapping[str, ArmOutcomes],
    function: Callable[[Mapping[str, float]], float],
    *,
    statistic: AnyStatistic = "mean",
    **rule: Unpack[Judged],
) -> Result:
    """Judge a number made of several arms' scores, its interval from seeds and examples.

    Args:
        name, metric: what is measured.
        arms: outcomes, seeds × examples.
        function: from arm → score to the number; whatever it selects is selected again in each resample.
        statistic: from outcomes to a score.
        rule: how it is judged.
    """
    own = {label: Arm(label, outcomes) for label, outcomes in arms.items()}

    def value(values: Mapping[Arm, float]) -> float:
        return function({label: values[arm] for label, arm in own.items()})

    return judged(Score(tuple(own.values()), value, name, metric, statistic).measure(), name, metric, **rule)


def difference(
    name: str, metric: str, treatment: ArmOutcomes, baseline: ArmOutcomes, **rule: Unpack[Judged]
) -> Result:
    """Judge the treatment's mean outcome minus the baseline's.

    >>> hits = np.random.default_rng(0).random((2, 5, 400)) < np.array([0.8, 0.5])[:, None, None]
    >>> difference("gain", "R@1", hits[0], hits[1], expected="above").verdict
    'reproduced'
    """
    arms = {"treatment": treatment, "baseline": baseline}
    return of_arms(name, metric, arms, linear({"treatment": 1, "baseline": -1}), **rule)


def over_seeds(
    name: str, metric: str, values: Sequence[float] | Float[np.ndarray, " seeds"], **rule: Unpack[Judged]
) -> Result:
    """Judge the mean of one number per seed, with the t interval over seeds; not measured if one is not finite.

    >>> over_seeds("slope", "log-log slope", [0.01, -0.02, 0.0, 0.01, 0.02], expected="within", bound=0.1).verdict
    'reproduced'
    """
    return judged(per_seed(name, metric, values).measure(), name, metric, **rule)


def rate(name: str, metric: str, events: np.ndarray, **rule: Unpack[Judged]) -> Result:
    """Measure how often something happens in independent worlds, with the exact binomial (Clopper–Pearson) interval.

    >>> rate("false positives", "share of worlds", np.arange(300) < 9, expected="below", bound=0.1).verdict
    'reproduced'
    """
    return judged(score.rate(events), name, metric, **rule)


def exact(name: str, metric: str, value: float, **rule: Unpack[Judged]) -> Result:
    """Judge a value in which chance plays no part.

    >>> exact("tiled equals dense", "largest relative error", 1e-15, expected="below", bound=1e-6).verdict
    'reproduced'
    """
    return judged(Measured(value, value, value), name, metric, **rule)
