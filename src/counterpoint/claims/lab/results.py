"""Results: scores, the rule that judges each, and which of them the verdict rests on."""

from __future__ import annotations

from typing import TypedDict, Unpack

from ...catalog.evidence import Direction, Result
from .score import Measured, Score


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


def _judged(expected: Direction, score: Score | Measured, bound: float, rule: Rule) -> Result:
    named = isinstance(score, Score)
    name, metric = (score.label, score.metric) if isinstance(score, Score) else ("", "")
    measured = score.measure() if isinstance(score, Score) else score
    if not named and not (rule.get("name") and rule.get("metric")):
        raise ValueError(f"a value of {measured.estimate} has no name of its own; give name= and metric=")
    return Result(
        name=rule.get("name", name),
        metric=rule.get("metric", metric),
        expected=expected,
        bound=bound,
        refuted_at=rule.get("refuted_at"),
        estimate=measured.estimate,
        low=measured.low,
        high=measured.high,
        n_seeds=measured.n_seeds,
    )
