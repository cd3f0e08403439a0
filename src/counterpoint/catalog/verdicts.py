"""The rule of verdicts: what follows from an interval, the expected direction and what was declared before the run."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
Direction = Literal["above", "below", "within"]
Role = Literal["superiority", "non-inferiority", "equivalence", "level", "exact"]
Reason = Literal[
    "holds", "opposite", "smaller", "worse", "different", "missed", "wide", "few seeds", "not measured"
]
"""Explanation of a verdict.

* ``holds``: reproduced.
* ``opposite``: the effect has the other sign.
* ``smaller``: the effect is smaller than the smallest effect of interest.
* ``worse``: the value is worse than the bound by more than the margin.
* ``different``: the value is farther from the bound than the margin.
* ``missed``: the value misses the level, or the bound of an exact value.
* ``wide``: the interval is too wide to decide.
* ``few seeds``: the interval rests on fewer than ``ENOUGH_SEEDS`` seeds.
* ``not measured``: there is no finite interval.
"""
Interval = tuple[float, float]

ENOUGH_SEEDS = 5
"""Fewer training seeds than this carry no verdict: intervals over so few are too narrow to trust."""

CONFIDENCE = 0.95
"""Confidence of the interval that shows that a claim holds; one of k deciding parts refutes it at 1 - 0.05/k."""


class Judgement(NamedTuple):
    """A verdict and the reason for it."""

    verdict: Verdict
    reason: Reason


def judge(
    role: Role,
    low: float | None,
    high: float | None,
    wide: Interval | None,
    *,
    bound: float = 0.0,
    delta: float | None = None,
    margin: float | None = None,
    n_seeds: int | None = None,
) -> Judgement:
    """Return the verdict of an interval on a value that is expected above a bound.

    The effect is the value minus the bound. A value that is expected below a bound is judged with all signs reversed.
    ``high*`` and ``low*`` are the ends of ``wide``; all ends below are those of the effect.

    * superiority: reproduced if ``low > 0`` and ``high* >= delta``; not reproduced if ``high* < delta``, which is
      *opposite* if ``high* < 0`` and *smaller* otherwise. An interval narrower than ``delta`` always decides.
    * non-inferiority: reproduced if ``low > -margin``; not reproduced if ``high* < -margin``.
    * equivalence: reproduced if ``-margin <= low`` and ``high <= margin``; not reproduced if ``low* > margin`` or
      ``high* < -margin``.
    * level: reproduced if ``low > 0``; not reproduced if ``high* < 0``.
    * exact: reproduced if ``low > 0``; not reproduced if ``high <= 0``. With a margin: reproduced if ``-margin <= low``
      and ``high <= margin``; not reproduced if ``low > margin`` or ``high < -margin``. The interval of a value
      that does not depend on chance is one point, which is always decided.

    Everything else is inconclusive, and so is an interval that is missing, not finite, or from fewer than
    ``ENOUGH_SEEDS`` seeds.

    Args:
        role: what the claim says of the effect.
        low, high: the ends of the 95 % interval of the value.
        wide: the ends of the interval at confidence 1 - 0.05/k, where k deciding parts depend on chance; the 95 %
            interval if None.
        bound: what the value is compared with, in the unit of the metric.
        delta: the smallest effect of interest.
        margin: the difference that does not matter, or the tolerance of an exact value.
        n_seeds: how many seeds the interval rests on; None for a value that does not depend on chance.

    Raises:
        ValueError: for a role without the number that it needs.

    >>> judge("superiority", 0.02, 0.06, None, delta=0.03, n_seeds=5)
    Judgement(verdict='reproduced', reason='holds')
    >>> judge("superiority", -0.004, 0.002, (-0.005, 0.003), delta=0.006, n_seeds=5)
    Judgement(verdict='not reproduced', reason='smaller')
    >>> judge("superiority", -0.01, 0.06, None, delta=0.03, n_seeds=5)
    Judgement(verdict='inconclusive', reason='wide')
    >>> judge("non-inferiority", -0.005, 0.01, None, margin=0.01, n_seeds=5)
    Judgement(verdict='reproduced', reason='holds')
    """
    check_role(role, delta, margin)
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return Judgement("inconclusive", "not measured")
    if n_seeds is not None and n_seeds < ENOUGH_SEEDS:
        return Judgement("inconclusive", "few seeds")
    wide_low, wide_high = (end - bound for end in (wide or (low, high)))
    low, high = low - bound, high - bound
    m = margin or 0.0
    reason: Reason
    if role == "superiority":
        assert delta is not None
        held, refuted = low > 0 and wide_high >= delta, wide_high < delta
        reason = "opposite" if wide_high < 0 else "smaller"
    elif role == "non-inferiority":
        held, refuted, reason = low > -m, wide_high < -m, "worse"
    elif role == "equivalence":
        held, refuted, reason = -m <= low and high <= m, wide_low > m or wide_high < -m, "different"
    elif role == "level":
        held, refuted, reason = low > 0, wide_high < 0, "missed"
    elif margin is None:
        held, refuted, reason = low > 0, high <= 0, "missed"
    else:
        held, refuted, reason = -m <= low and high <= m, low > m or high < -m, "missed"
    if held:
        return Judgement("reproduced", "holds")
    return Judgement("not reproduced", reason) if refuted else Judgement("inconclusive", "wide")


def check_role(role: Role, delta: float | None, margin: float | None) -> None:
    """Check that a role comes with the number that it needs and with no other.

    Raises:
        ValueError: if it does not.
    """
    if role == "superiority":
        if delta is None or margin is not None:
            raise ValueError(
                f"role: superiority needs delta and no margin; got delta={delta}, margin={margin}"
            )
        if not delta >= 0:
            raise ValueError(
                f"delta: {delta} is negative; give the smallest effect of interest as a positive number"
            )
        return
    if delta is not None:
        raise ValueError(f"role: {role} takes no delta; got {delta}")
    if role in ("non-inferiority", "equivalence") and margin is None:
        raise ValueError(f"role: {role} needs a margin")
    if role == "level" and margin is not None:
        raise ValueError(f"role: a level takes no margin; got {margin}; put the level into bound")
    if margin is not None and not margin > 0:
        raise ValueError(f"margin: {margin} leaves no room; give a positive margin")


def judge_at_bound(
    expected: Direction,
    low: float | None,
    high: float | None,
    *,
    bound: float = 0.0,
    refuted_at: float | None = None,
    n_seeds: int | None = None,
) -> Verdict:
    """Return the verdict of a result that declares no role: it is refuted at the bound or at ``refuted_at``.

    * ``above``: reproduced if ``low > bound``; not reproduced if ``high <= refuted_at``.
    * ``below``: reproduced if ``high < bound``; not reproduced if ``low >= refuted_at``.
    * ``within``: reproduced if ``-bound <= low`` and ``high <= bound``; not reproduced if
      ``low > refuted_at`` or ``high < -refuted_at``.

    Everything else is inconclusive, and so is an interval that is missing, not finite, or from fewer than
    ``ENOUGH_SEEDS`` seeds.

    Args:
        expected: where the paper leads one to expect the value.
        low, high: the ends of the interval.
        bound: what the value is compared with, in the unit of the metric.
        refuted_at: where refutation begins, if not at ``bound`` itself: farther away than it, never nearer.
        n_seeds: how many seeds the interval rests on; None for a value without chance in it.

    >>> judge_at_bound("above", 0.02, 0.06, n_seeds=5)
    'reproduced'
    >>> judge_at_bound("above", -0.03, 0.00, n_seeds=5)
    'not reproduced'
    >>> judge_at_bound("above", -0.01, 0.06, n_seeds=5)
    'inconclusive'
    >>> judge_at_bound("above", 0.02, 0.06, n_seeds=3)
    'inconclusive'
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "inconclusive"
    if n_seeds is not None and n_seeds < ENOUGH_SEEDS:
        return "inconclusive"
    refuted_at = bound if refuted_at is None else refuted_at
    if expected == "within":
        held, refuted = -bound <= low and high <= bound, low > refuted_at or high < -refuted_at
    elif expected == "above":
        held, refuted = low > bound, high <= refuted_at
    else:
        held, refuted = high < bound, low >= refuted_at
    return "reproduced" if held else "not reproduced" if refuted else "inconclusive"
