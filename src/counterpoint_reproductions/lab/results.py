"""Results: scores, the rule that judges each, and which of them the verdict rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypedDict, Unpack

import numpy as np
from pydantic import PrivateAttr

from counterpoint.catalog.evidence import RequiredData, Result, ThresholdOrigin
from counterpoint.catalog.verdicts import CONFIDENCE, Direction, Role
from counterpoint.statistics.power import SeedsNeeded, from_spread
from counterpoint.statistics.width import for_width

from .score import Score, ScoreEstimate

POWER = 0.8
"""Share of repetitions in which the seeds that are said to decide a result do so."""
DRAWS = 200
"""Random outcomes under which a deciding result must fail at least once."""


class Rule(TypedDict, total=False):
    """A rule that a result is judged by, and words that differ from the score's own.

    A delta makes the role superiority, a margin non-inferiority. `within` takes no margin, since its bound is the
    margin; it is about equivalence if a source is given. A
    level is stated by ``role="level"``. A value that does not depend on chance has the role exact.

    Attributes:
        role: what the claim says of the effect; see `counterpoint.catalog.verdicts.judge`.
        delta: the smallest effect of interest.
        margin: the difference that does not matter.
        source: the origin of delta, margin or level; see `counterpoint_reproductions.lab.effects`.
        name: of the result; the score's label unless given.
        metric: the score's unless given.
    """

    role: Role
    delta: float
    margin: float
    source: ThresholdOrigin
    name: str
    metric: str


class MeasuredResult(Result):
    """A result with its value as measured, which can still be measured at another confidence."""

    _measured: ScoreEstimate = PrivateAttr(default_factory=ScoreEstimate)
    _again: Callable[[float], ScoreEstimate] | None = PrivateAttr(None)
    _score: Score | None = PrivateAttr(None)

    @property
    def measured(self) -> ScoreEstimate:
        """The value with its 95 % interval and the parts of its standard error."""
        return self._measured

    def at(self, confidence: float) -> ScoreEstimate:
        """Measure the value at another confidence.

        Raises:
            ValueError: if that cannot be done.
        """
        if self._again is None:
            raise ValueError(
                f"{self.name}: it is one of several results that decide, so its interval is needed at another "
                "confidence; give a Score, or ScoreEstimate(again=...)"
            )
        return self._again(confidence)

    def can_fail(self) -> bool:
        """Return whether some outcomes of two or more arms lie on the other side of the bound.

        The arms' scores are drawn at random, so every order of the arms occurs. A result such as "the better of A and B
        is better than B" holds for all of them: it says nothing about a method.
        """
        if self._score is None or len(self._score.arms) < 2:
            return True
        rng = np.random.default_rng(0)
        sign = 1 if self.expected == "above" else -1
        shares = rng.random((DRAWS, len(self._score.arms)))
        # Shares suit every expression, but the mean of several correlations is negative only where they are.
        for draw in (*shares, *(2 * shares - 1)):
            try:
                with np.errstate(all="ignore"):
                    value = self._score.value(dict(zip(self._score.arms, draw, strict=True)))
            except ValueError:  # a logarithm of a negative number
                continue
            if sign * (value - self.bound) < 0:
                return True
        return False


def above(score: Score | ScoreEstimate, bound: float = 0.0, **rule: Unpack[Rule]) -> Result:
    """Judge a score that is expected above a bound.

    >>> from counterpoint_reproductions.lab import effects, exact, per_seed
    >>> above(exact(0.2, "accuracy"), 0.1).verdict
    'reproduced'
    >>> gain = per_seed("gain", "accuracy", [0.001, 0.002, -0.001, 0.0, 0.001])
    >>> above(gain, **effects.convention("share")).judgement
    Judgement(verdict='not reproduced', reason='smaller')
    """
    return _judged("above", score, bound, rule)


def below(score: Score | ScoreEstimate, bound: float = 0.0, **rule: Unpack[Rule]) -> Result:
    """Judge a score that is expected below a bound."""
    return _judged("below", score, bound, rule)


def within(score: Score | ScoreEstimate, bound: float, **rule: Unpack[Rule]) -> Result:
    """Judge a score that is expected within ± a bound, which is the margin of equivalence.

    Raises:
        ValueError: if a margin is given as well.
    """
    if "margin" in rule:
        raise ValueError(
            f"within: the bound, {bound}, is the margin; leave out margin={rule['margin']}, and give its source"
        )
    return _judged("within", score, bound, rule)


def decides(*results: Result) -> tuple[Result, ...]:
    """Return results that the verdict on the paper rests on.

    Raises:
        ValueError: for a result that depends on chance and declares nothing.
    """
    for result in results:
        if result.chance and result.role is None:
            raise ValueError(
                f"{result.name}: it decides, so declare how small an effect matters: delta= or margin= with its "
                'source, or role="level"; see counterpoint_reproductions.lab.effects'
            )
    return tuple(result.model_copy(update={"decides": True}) for result in results)


def secondary(*results: Result) -> tuple[Result, ...]:
    """Return results that are reported beside those that decide."""
    return tuple(result.model_copy(update={"decides": False}) for result in results)


def corrected(results: Iterable[Result]) -> tuple[Result, ...]:
    """Return a claim's results with their intervals at the confidence that refutes one of several.

    Of k deciding results that depend on chance one is refuted at confidence 1 - 0.05/k. The number is that of the whole
    claim, whose results may come from several calls of `decides`. Results without a role stay as they are.

    Raises:
        ValueError: if a value with a role cannot be measured at another confidence, or if a deciding result about
            superiority holds whatever the arms do.
    """
    results = tuple(results)
    k = sum(result.decides and result.chance for result in results)
    return tuple(_corrected(result, k if result.decides else 1) for result in results)


def _corrected(result: Result, k: int) -> Result:
    plain = Result.model_validate({name: getattr(result, name) for name in Result.model_fields})
    if result.role is None or not result.chance:
        return plain
    if not isinstance(result, MeasuredResult):
        raise ValueError(f"{result.name}: make results with a role by above, below or within")
    if result.decides and result.role == "superiority" and not result.can_fail():
        raise ValueError(
            f"{result.name}: it lies {result.expected} {result.bound:g} whatever the scores of its arms are; compare "
            "fixed arms, or report it as secondary"
        )
    wide = result.measured if k == 1 else result.at(refuting(k))
    if result.low is None or result.high is None:
        return plain
    if wide.low is None or wide.high is None:
        raise ValueError(f"{result.name}: it has an interval at 95 %, but none at {refuting(k):.2%}")
    # The two rest on different resamples.
    plain = plain.model_copy(update={"wide": (min(wide.low, result.low), max(wide.high, result.high))})
    return plain.model_copy(update={"needed": needed(plain, result.measured, k)})


def refuting(k: int) -> float:
    """Return the confidence at which one of k results refutes a claim.

    >>> refuting(4)
    0.9875
    """
    return 1 - (1 - CONFIDENCE) / k


def needed(result: Result, measured: ScoreEstimate, k: int = 1) -> RequiredData | None:
    """Compute what would decide an inconclusive result; None if it is decided or that is not known.

    If the value is as estimated, `counterpoint.statistics.power.from_spread` says how many seeds show its distance to
    the end of the verdict's range four times of five. Superiority is also decided once its interval is narrower than
    the smallest effect of interest, whatever the value; the nearer of the two ends counts.

    Args:
        result: the result.
        measured: its value with the parts of its standard error.
        k: how many results the claim's verdict rests on, of those that depend on chance.
    """
    if result.verdict != "inconclusive" or measured.estimate is None:
        return None
    towards, effect = result.leaning()
    if towards == "inconclusive" or effect == 0:
        return RequiredData(towards=towards, effect=effect)
    if measured.seed_sd is None or measured.example_se is None:
        return None
    confidence = CONFIDENCE if result.role is None or towards == "reproduced" else refuting(k)
    estimate = from_spread(
        measured.seed_sd, effect, example_se=measured.example_se, power=POWER, confidence=confidence
    )
    facts: dict[str, Any] = {"towards": towards, "effect": effect}
    if result.role is None:
        return RequiredData(**facts, **_required(estimate))
    if result.delta is None:
        return RequiredData(**facts, **_required(estimate), by="estimate")
    width = for_width(
        measured.seed_sd,
        result.delta,
        example_se=measured.example_se,
        low_confidence=CONFIDENCE,
        high_confidence=refuting(k),
    )
    if _price(width) < _price(estimate):
        return RequiredData(**facts, **_required(width), by="width")
    return RequiredData(**facts, **_required(estimate), by="estimate")


def _required(required: SeedsNeeded) -> dict[str, Any]:
    return {"seeds": required.n, "examples": max(required.examples_factor, 1.0)}


def _price(required: SeedsNeeded) -> tuple[bool, float]:
    """Return what orders requirements: seeds are nearer than examples."""
    return required.n is None, required.examples_factor if required.n is None else required.n


def _judged(expected: Direction, score: Score | ScoreEstimate, bound: float, rule: Rule) -> Result:
    """Return a value as a result; an inconclusive one without a role says what would decide it."""
    if isinstance(score, Score):
        measured, name, metric = score.measure(), score.label, score.metric
    elif "name" in rule and "metric" in rule:
        measured, name, metric = score, "", ""
    else:
        raise ValueError(f"a value of {score.estimate} has no name of its own; give name= and metric=")
    role, margin = _role(expected, rule, measured), rule.get("margin")
    if role is not None and expected == "within":
        bound, margin = 0.0, bound
    result = MeasuredResult(
        name=rule.get("name", name),
        metric=rule.get("metric", metric),
        estimate=measured.estimate,
        low=measured.low,
        high=measured.high,
        n_seeds=measured.n_seeds,
        expected=expected,
        bound=bound,
        role=role,
        delta=rule.get("delta"),
        margin=margin,
        source=rule.get("source"),
    )
    result._measured = measured
    result._again = score.measure if isinstance(score, Score) else score.again
    result._score = score if isinstance(score, Score) else None
    return result.model_copy(update={"needed": needed(result, measured)}) if role is None else result


def _role(expected: Direction, rule: Rule, measured: ScoreEstimate) -> Role | None:
    """Return the role that a rule states or implies; None of a rule that declares nothing."""
    if "role" in rule:
        return rule["role"]
    if measured.n_seeds is None and measured.low is not None and measured.low == measured.high:
        return "exact"
    if expected == "within":
        return "equivalence" if "source" in rule else None
    if "delta" in rule:
        return "superiority"
    if "margin" in rule:
        return "non-inferiority"
    if "source" in rule:
        raise ValueError('a source goes with delta= or margin=, or with role="level"')
    return None
