"""Scores: numbers whose uncertainty is still in them, and what is made of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, final

import numpy as np
from scipy import stats

from counterpoint.statistics import Outcomes, linear_contrast, t_interval
from counterpoint.statistics.outcomes import AnyStatistic, ArmOutcomes


@final
@dataclass(frozen=True, eq=False)
class Measurements:
    """Measurements that are resampled together; two arms are the same only if they are the same object.

    Attributes:
        label: its name, for messages.
        outcomes: seed → outcomes of examples, ``(n,)``, or None for a run that failed; ``(n,)`` of a fixed model. With
            ``by_seed`` seed → one number.
        by_seed: its outcomes are one number a seed, and examples play no part.
    """

    label: str
    outcomes: ArmOutcomes
    by_seed: bool = False


Values = Mapping[Measurements, float]
RESAMPLES = 2000
"""Fewest resamples of an interval."""
TAIL = 25
"""Fewest resamples beyond either end of an interval."""


def resamples(confidence: float) -> int:
    """Return how many resamples an interval needs, so that at least ``TAIL`` lie beyond either end.

    >>> resamples(0.95), resamples(1 - 0.05 / 4)
    (2000, 4000)
    """
    return max(RESAMPLES, math.ceil(round(2 * TAIL / (1 - confidence), 6)))


@dataclass(frozen=True)
class ScoreEstimate:
    """The value of a score with its interval, at 95 % unless another confidence was asked for.

    All are None where it cannot be measured, the interval alone where one run is left.

    Attributes:
        n_seeds: the seeds that it rests on; None where chance plays no part.
        seed_sd: standard deviation over seeds of one seed's value.
        example_se: the part of the standard error that more seeds do not remove; 0 where no examples are drawn.
        again: measures the value at another confidence; None where that cannot be done.
    """

    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n_seeds: int | None = None
    seed_sd: float | None = None
    example_se: float | None = None
    again: Callable[[float], ScoreEstimate] | None = field(default=None, repr=False, compare=False)


@final
@dataclass(frozen=True, eq=False)
class Score:
    """An expression over arms. Whatever it selects is selected again in every resample.

    Scores are added, subtracted, multiplied and divided, with one another or with numbers; `mean`, `best`, `worst` and
    `combined` take several. Where arms have outcomes of examples the interval is that of
    `counterpoint.statistics.linear_contrast`; where they have one number a seed the expression is evaluated seed by
    seed and the interval is the t interval; without arms it is exact.

    Attributes:
        arms: that the expression needs.
        value: from the arms' scores to the number.
        label: names a result that is given no name.
        metric: what is measured.
        statistic: from an arm's outcomes to its score.

    Example:
        >>> hits = np.random.default_rng(0).random((3, 5, 400)) < np.array([0.8, 0.7, 0.5])[:, None, None]
        >>> a, b, plain = (arm(name, runs, "R@1") for name, runs in zip(("a", "b", "plain"), hits))
        >>> gain = best([a, b]) - plain
        >>> gain.label
        'best of a, b − plain'
        >>> round(gain.measure().estimate, 1)
        0.3
    """

    arms: tuple[Measurements, ...]
    value: Callable[[Values], float]
    label: str
    metric: str
    statistic: AnyStatistic = "mean"
    differing: tuple[str, ...] = ()
    """The parts of a single arm's label, by axis, so that a difference names what is common to both arms once."""

    def __add__(self, other: Score | float) -> Score:
        return _operated(operator.add, "+", self, other)

    def __sub__(self, other: Score | float) -> Score:
        return _operated(operator.sub, "−", self, other)

    def __mul__(self, other: Score | float) -> Score:
        return _operated(operator.mul, "·", self, other)

    def __truediv__(self, other: Score | float) -> Score:
        return _operated(operator.truediv, "/", self, other)

    def about(self, what: str) -> Score:
        """Return the score with what it is about after its label: ``VCD, f1``."""
        return replace(self, label=f"{self.label}, {what}", differing=(*self.differing, what))

    def measure(self, confidence: float = 0.95) -> ScoreEstimate:
        """Compute the value and its interval.

        Args:
            confidence: of the interval.

        Raises:
            ValueError: if some arms have one number a seed and others outcomes of examples.
        """
        if not self.arms:
            value = float(self.value({}))
            return ScoreEstimate(value, value, value)
        if len({arm.by_seed for arm in self.arms}) > 1:
            names = "; ".join(f"{arm.label}: {'seeds' if arm.by_seed else 'examples'}" for arm in self.arms)
            raise ValueError(
                f"{self.label} mixes numbers per seed with outcomes per example ({names}); reduce the outcomes to one "
                "number a seed first (Grid.scores, by_seed=...)"
            )
        seeds = self._seeds()
        if seeds is not None and not seeds:  # no seed on which all arms finished
            return ScoreEstimate()
        if self.arms[0].by_seed:
            return self._over_seeds(seeds or [], confidence)
        return self._over_examples(confidence)

    def _seeds(self) -> list[Any] | None:
        """Return the seeds that all arms finished; None if all arms are fixed models."""
        runs = [arm.outcomes for arm in self.arms if isinstance(arm.outcomes, Mapping)]
        if not runs:
            return None
        return [seed for seed in runs[0] if all(run.get(seed) is not None for run in runs)]

    def _over_seeds(self, seeds: Sequence[Any], confidence: float) -> ScoreEstimate:
        values = np.array([self._value_at(seed) for seed in seeds], dtype=np.float64)
        if not np.isfinite(values).all():
            return ScoreEstimate(n_seeds=len(values))
        if len(values) == 1:  # all other runs failed: a value without an interval
            return ScoreEstimate(float(values[0]), n_seeds=1)
        t = t_interval(values, confidence=confidence)
        return ScoreEstimate(t.estimate, t.low, t.high, len(values), float(np.std(values, ddof=1)), 0.0)

    def _value_at(self, seed: Any) -> float:
        return self.value({arm: float(arm.outcomes[seed]) for arm in self.arms})  # type: ignore[index,arg-type] # by_seed

    def _over_examples(self, confidence: float) -> ScoreEstimate:
        names = {arm: f"{arm.label} [{number}]" for number, arm in enumerate(self.arms)}
        interval = linear_contrast(
            Outcomes({names[arm]: arm.outcomes for arm in self.arms}, self.statistic),
            lambda scores: self.value({arm: scores[name] for arm, name in names.items()}),
            name=self.label,
            confidence=confidence,
            n_boot=resamples(confidence),
        ).interval
        return ScoreEstimate(
            interval.estimate,
            interval.low,
            interval.high,
            interval.n_seeds,
            interval.seed_sd if np.isfinite(interval.seed_sd) else None,
            interval.example_se,
        )


def arm(
    label: str | tuple[str, ...],
    outcomes: ArmOutcomes,
    metric: str,
    statistic: AnyStatistic = "mean",
    *,
    by_seed: bool = False,
) -> Score:
    """Return the score of one arm of its own.

    Args:
        label: its name; or its parts, one an axis.
        outcomes: as in `Measurements`.
        metric: what is measured.
        statistic: from outcomes to the score.
        by_seed: the outcomes are one number a seed.
    """
    parts = (label,) if isinstance(label, str) else label
    return of_arm(Measurements(", ".join(parts), outcomes, by_seed), parts, metric, statistic)


def of_arm(
    existing: Measurements, parts: tuple[str, ...], metric: str, statistic: AnyStatistic = "mean"
) -> Score:
    """Return the score of an arm that exists."""
    return Score((existing,), lambda values: values[existing], ", ".join(parts), metric, statistic, parts)


def per_seed(label: str, metric: str, values: Sequence[float] | np.ndarray) -> Score:
    """Return a number that was computed for each seed, such as a slope or a correlation.

    >>> per_seed("slope", "log-log slope", [0.01, -0.02, 0.0, 0.01, 0.02]).measure().n_seeds
    5
    """
    return arm(label, {seed: float(value) for seed, value in enumerate(values)}, metric, by_seed=True)


def exact(value: float, metric: str, label: str = "") -> Score:
    """Return a number in which chance plays no part.

    >>> (exact(2.0, "slope") - 2).measure()
    ScoreEstimate(estimate=0.0, low=0.0, high=0.0, n_seeds=None, seed_sd=None, example_se=None)
    """
    return Score((), lambda values: value, label or metric, metric)


def combined(function: Callable[[Sequence[float]], float], label: str, scores: Iterable[Score]) -> Score:
    """Return a function of several scores; whatever it selects is selected again in every resample.

    Raises:
        ValueError: without scores, or if their statistics differ.
    """
    parts = tuple(scores)
    if not parts:
        raise ValueError(f"{label}: there are no scores; give at least one")
    arms = tuple(dict.fromkeys(one for part in parts for one in part.arms))
    metrics = tuple(dict.fromkeys(part.metric for part in parts))
    return Score(
        arms,
        lambda values: float(function([part.value(values) for part in parts])),
        label,
        ", ".join(metrics),
        _common_statistic(label, parts),
    )


def mean(scores: Iterable[Score]) -> Score:
    """Return the mean of scores."""
    return _over(np.mean, "mean", scores)


def best(scores: Iterable[Score]) -> Score:
    """Return the largest of scores, chosen again in every resample."""
    return _over(max, "best", scores)


def worst(scores: Iterable[Score]) -> Score:
    """Return the smallest of scores, chosen again in every resample."""
    return _over(min, "worst", scores)


def rate(events: np.ndarray, confidence: float = 0.95) -> ScoreEstimate:
    """Measure how often something happens in independent worlds, with the exact binomial (Clopper–Pearson) interval.

    >>> found = rate(np.arange(300) < 9)
    >>> f"{found.estimate:.2f} ({found.low:.3f} to {found.high:.3f})"
    '0.03 (0.014 to 0.056)'
    """
    test = stats.binomtest(int(events.sum()), len(events))
    low, high = test.proportion_ci(confidence)
    share = float(test.statistic)
    return ScoreEstimate(
        share,
        float(low),
        float(high),
        len(events),
        float(np.sqrt(share * (1 - share))),
        0.0,
        again=partial(rate, events),
    )


def _over(function: Callable[[Sequence[float]], Any], word: str, scores: Iterable[Score]) -> Score:
    parts = tuple(scores)
    return combined(function, f"{word} of {', '.join(part.label for part in parts)}", parts)


def _operated(function: Callable[[Any, Any], Any], sign: str, a: Score, b: Score | float) -> Score:
    if not isinstance(b, Score):
        number = float(b)
        return Score(
            a.arms,
            lambda values: function(a.value(values), number),
            f"{a.label} {sign} {number:g}",
            a.metric,
            a.statistic,
        )
    return combined(lambda pair: function(*pair), _label(sign, a, b), (a, b))


def _label(sign: str, a: Score, b: Score) -> str:
    """Name two arms, with the parts that are common to both once and last: ``DCL − NT-Xent, batch 8``."""
    pairs = list(zip(a.differing, b.differing, strict=False))
    common = [left for left, right in pairs if left == right]
    if len(a.differing) != len(b.differing) or not common or len(common) == len(pairs):
        return f"{a.label} {sign} {b.label}"
    left, right = (
        ", ".join(part for part in side if part not in common) for side in zip(*pairs, strict=True)
    )
    return ", ".join([f"{left} {sign} {right}", *common])


def _common_statistic(label: str, parts: Sequence[Score]) -> AnyStatistic:
    """Return the statistic of scores that are combined; exact ones have none."""
    statistics = list(dict.fromkeys(part.statistic for part in parts if part.arms))
    if len(statistics) > 1:
        raise ValueError(
            f"{label} combines scores of different statistics ({statistics}); give all of them one"
        )
    return statistics[0] if statistics else "mean"
