"""Results: scores, the rule that judges each, and which of them the verdict rests on."""

from __future__ import annotations

from typing import TypedDict, Unpack

from ...catalog.evidence import Direction, Needed, Result
from ...statistics.power import from_spread
from .score import Measured, Score

POWER = 0.8
"""Share of repetitions in which the seeds that are said to decide a result do so."""


class Rule(TypedDict, total=False):
    """A rule of refutation that differs from the bound, and words that differ from the score's own.

    Attributes:
        refuted_at: where refutation begins; at the bound unless given.
        name: of the result; the score's label unless given.
        metric: the score's unless given.
    """

    refuted_at: float | None
    name: str
    metric: str


def above(score: Score | Measured, bound: float = 0.0, **rule: Unpack[Rule]) -> Result:
    """Judge a score that is expected above a bound.

    >>> from counterpoint.claims.lab import exact
    >>> above(exact(0.2, "accuracy"), 0.1).verdict
    'reproduced'
    """
    return _judged("above", score, bound, rule)


def below(score: Score | Measured, bound: float = 0.0, **rule: Unpack[Rule]) -> Result:
    """Judge a score that is expected below a bound."""
    return _judged("below", score, bound, rule)


def within(score: Score | Measured, bound: float, **rule: Unpack[Rule]) -> Result:
    """Judge a score that is expected within ± a bound."""
    return _judged("within", score, bound, rule)


def decides(*results: Result) -> tuple[Result, ...]:
    """Return results that the verdict on the paper rests on."""
    return tuple(result.model_copy(update={"decides": True}) for result in results)


def beside(*results: Result) -> tuple[Result, ...]:
    """Return results that are reported beside those that decide."""
    return tuple(result.model_copy(update={"decides": False}) for result in results)


def needed(result: Result, measured: Measured) -> Needed | None:
    """Compute what would decide an inconclusive result; None if it is decided or that is not known.

    If the value is as estimated, `counterpoint.statistics.power.from_spread` says how many seeds show its distance to
    the end of the verdict's range four times of five.
    """
    if result.verdict != "inconclusive" or measured.estimate is None:
        return None
    towards, effect = result.leaning()
    if towards == "inconclusive" or effect == 0:
        return Needed(towards=towards, effect=effect)
    if measured.seed_sd is None or measured.example_se is None:
        return None
    required = from_spread(
        measured.seed_sd, effect, example_se=measured.example_se, power=POWER, confidence=0.95
    )
    return Needed(
        towards=towards, effect=effect, seeds=required.n, examples=max(required.examples_factor, 1.0)
    )


def _judged(expected: Direction, score: Score | Measured, bound: float, rule: Rule) -> Result:
    """Return a value as a result; an inconclusive one says what would decide it."""
    if isinstance(score, Score):
        measured, name, metric = score.measure(), score.label, score.metric
    elif "name" in rule and "metric" in rule:
        measured, name, metric = score, "", ""
    else:
        raise ValueError(f"a value of {score.estimate} has no name of its own; give name= and metric=")
    result = Result(
        name=rule.get("name", name),
        metric=rule.get("metric", metric),
        estimate=measured.estimate,
        low=measured.low,
        high=measured.high,
        n_seeds=measured.n_seeds,
        expected=expected,
        bound=bound,
        refuted_at=rule.get("refuted_at"),
    )
    return result.model_copy(update={"needed": needed(result, measured)})
