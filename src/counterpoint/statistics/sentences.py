"""Differences in plain English."""

from __future__ import annotations

from ..reasons import counted
from .comparison import Difference, Verdict
from .power import SeedsNeeded


def sentence(difference: Difference) -> str:
    """Write what one difference shows, in words a reader can quote.

    >>> import numpy as np
    >>> from counterpoint.statistics import Outcomes, compare_arms
    >>> rng = np.random.default_rng(0)
    >>> arms = {"clip": rng.random((5, 500)) < 0.60, "slip": rng.random((5, 500)) < 0.72}
    >>> sentence(compare_arms({"R@1": Outcomes(arms)}).differences[0])
    'slip beats clip on R@1 by 11.5 points (95 % interval 6.1 to 16.8, 5 seeds); the difference is real.'
    """
    d = difference
    if d.interval is None:
        return f"No verdict on {d.a} and {d.b} on {d.metric}: {'; '.join(d.notes)}."
    n_seeds = counted(d.n_seeds, "seed")
    level = f"{100 * d.interval.confidence:g} % interval"
    notes = "; ".join(d.notes)
    unit = f" {d.unit}" if d.unit else ""
    if d.verdict in (Verdict.EQUIVALENT, Verdict.SUGGESTIVE_EQUIVALENT) and d.margin is not None:
        text = (
            f"{d.a} and {d.b} are equivalent on {d.metric} within ±{_amount(d.margin, d.unit)}: "
            f"the {level} is {_range(d.low, d.high, d.unit)}{unit}, {n_seeds}"
        )
        if d.low > 0 or d.high < 0:
            text += ", a difference too small to matter"
        return (
            f"{text}; only suggestive: {notes}." if d.verdict is Verdict.SUGGESTIVE_EQUIVALENT else f"{text}."
        )
    if d.verdict is not Verdict.NOT_SHOWN:
        # The winner comes first, and the numbers are its advantage.
        won = d.verdict in (Verdict.BETTER, Verdict.SUGGESTIVE_BETTER)
        winner, loser = (d.a, d.b) if won else (d.b, d.a)
        low, high = (d.low, d.high) if d.estimate > 0 else (-d.high, -d.low)
        verb = "beats" if d.verdict in (Verdict.BETTER, Verdict.WORSE) else "seems ahead of"
        text = (
            f"{winner} {verb} {loser} on {d.metric} by {_amount(abs(d.estimate), d.unit)} "
            f"({level} {_range(low, high, d.unit)}, {n_seeds})"
        )
        if d.verdict in (Verdict.BETTER, Verdict.WORSE):
            return f"{text}; the difference is real{f' ({notes})' if notes else ''}."
        return f"{text}; only suggestive: {notes}."
    excluded = d.low > 0 or d.high < 0  # the notes say what held the verdict back
    text = (
        f"No difference {'is claimed' if excluded else 'shown'} between {d.a} and {d.b} on {d.metric}: "
        f"the {level} of {d.a} − {d.b} is {_range(d.low, d.high, d.unit)}{unit} ({n_seeds})"
        f"{'' if excluded else ' and includes zero'}"
    )
    parts = [text, *d.notes]
    if not excluded and d.seeds_needed is not None:
        parts.append(_needed(d.seeds_needed, d.unit))
    return "; ".join(parts) + "."


def _needed(needed: SeedsNeeded, unit: str) -> str:
    effect = _amount(needed.effect, unit)
    if needed.n is not None:
        if needed.at_least:
            return f"at least {needed.n:,} seeds are needed to show a difference of {effect}"
        return f"about {needed.n:,} seeds would show a difference of {effect}"
    if needed.examples_factor > 1:
        larger = times(needed.examples_factor)
        return (
            f"to show a difference of {effect} you need a test set at least {larger} as large, and more seeds"
        )
    return f"not even 10,000 seeds would show a difference of {effect}"


def times(factor: float) -> str:
    """Write how many times as large something is to be, with the digits that such an estimate has.

    >>> times(4.23), times(31.6)
    ('4.2 times', '32 times')
    """
    return f"{factor:.1f} times" if factor < 10 else f"{factor:,.0f} times"


def _number(value: float, unit: str) -> str:
    value = 100 * value if unit == "points" else value
    text = f"{value:.1f}" if unit == "points" or abs(value) >= 10 else f"{value:.3g}"
    return "0" + text[2:] if text in ("-0.0", "-0") else text.replace("-", "−")


def _amount(value: float, unit: str) -> str:
    number = _number(value, unit)
    number = number.removesuffix(".0") if float(number.replace("−", "-")) == 1 else number
    if unit == "points":
        return f"{number} point{'s' * (number != '1')}"
    return f"{number} {unit}".rstrip()


def _range(low: float, high: float, unit: str) -> str:
    return f"{_number(low, unit)} to {_number(high, unit)}"
