"""The answer of a study in at most three sentences: who is ahead, by how much, and what would decide what is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...reasons import counted, listing
from ...statistics.bootstrap import FEW_EXAMPLES, FEW_SEEDS
from ...statistics.sentences import times
from ..schema import DifferenceSummary, RequiredSeeds, ScoreSummary, StudySummary
from .tables import cells_of, is_fraction, number, ranked

MOST_NAMED = 3
"""Arms that a sentence names; more are counted."""


def conclusion(summary: StudySummary) -> list[str]:
    """Return what a study answers on its primary metric, in at most three lines, and one for each arm that lacks it.

    The first says who is ahead, the second by how much and whether others learn from the same, the third what would
    decide what is not decided. They follow from the differences of the arm with the best mean from every other arm,
    whose verdicts stand in the summary. An arm without a number on the primary metric is told by the other metrics that
    it shares with each of the others. Where all arms are compared with one of them alone, the first line says how many
    are shown to be ahead of that one, and how many behind.
    """
    primary = summary.primary
    key = primary.key
    scored = [(arm.name, score) for arm in ranked(summary.arms, key) if (score := arm.score(key)) is not None]
    where = f"{primary.task} {primary.metric} ({primary.test}"
    where += ")" if primary.subset == "all" else f", {primary.subset} examples)"
    best, score = scored[0]
    value = "{} ({} to {})".format(*cells_of(score)) + (" percent" if is_fraction(score.metric) else "")
    if len(summary.arms) == 1:
        return [
            f"{best} scores {value} on {where}; there is no other arm to compare it with.",
            *_floor(best, score),
        ]
    without = [arm.name for arm in summary.arms if arm.metrics and arm.score(key) is None]
    pairs = [_Pair.read(d, best) for d in summary.differences if d.key == key and best in (d.a, d.b)]
    if pairs:
        others = "other arms that have it" if without else "other arms"
        decides = _what_decides(summary, pairs)
        if score.n < FEW_EXAMPLES:
            few = counted(score.n, "test example")
            decides = f"{few} cannot show a difference: at least {FEW_EXAMPLES} are needed."
        lines = [_who(best, where, pairs, others), _by_how_much(best, pairs), decides]
        if summary.reference:
            lines[:2] = [_beside_reference(summary, where), f"{best} has the best mean. {lines[1]}"]
    else:
        lines = [f"No two arms can be compared on {where}; {best} scores {value}.", ""]
    lines[1] = " ".join([lines[1], *_floor(best, score), *_learning(summary, best, pairs)]).strip()
    lines += [_elsewhere(summary, arm) for arm in without]
    return [line for line in lines if line]


@dataclass(frozen=True)
class _Pair:
    """The arm with the best mean against another one.

    Attributes:
        other: the other arm.
        kind: the verdict on the best arm, without its strength.
        firm: the verdict is more than suggestive.
        ends: by how much the best arm leads, with the ends of the interval; None where the arms share no seed.
        needed: what would show a difference, as in the summary.
        metric: which both are compared on.
        seeds: that both have a finished run of.
    """

    other: str
    kind: str
    firm: bool
    ends: tuple[float, float, float] | None
    needed: RequiredSeeds | None
    metric: str
    seeds: int

    @classmethod
    def read(cls, d: DifferenceSummary, best: str) -> _Pair:
        """Turn a difference so that it is the lead of the best arm, whichever side that was on."""
        first = d.a == best
        kind = d.kind
        if not first:
            kind = {"better": "worse", "worse": "better"}.get(kind, kind)
        ends = None
        if d.estimate is not None:
            low, high = (d.estimate if end is None else end for end in (d.low, d.high))
            # The lead is above 0 whether high or low scores are good.
            ends = (d.estimate, low, high) if d.estimate >= 0 else (-d.estimate, -high, -low)
        return cls(d.b if first else d.a, kind, d.firm, ends, d.seeds_needed, d.metric, d.n_seeds)


def _who(best: str, where: str, pairs: Sequence[_Pair], others: str) -> str:
    ahead = [pair for pair in pairs if pair.kind == "better"]
    equal = [pair.other for pair in pairs if pair.kind == "equivalent"]
    level = [pair.other for pair in pairs if pair.kind != "better"]
    verb = "is" if all(pair.firm for pair in ahead) else "seems"
    if not ahead:
        if len(equal) == len(pairs):
            are = "are" if all(pair.firm for pair in pairs) else "seem"
            return f"{_named([best, *equal])} {are} equivalent on {where}."
        tied = [pair.other for pair in pairs if pair.ends is not None and pair.ends[0] == 0]
        means = f"{_named([best, *tied])} have the same mean" if tied else f"{best} has the best mean"
        return f"No arm is shown to be ahead on {where}; {means}."
    if not level:
        behind = ahead[0].other if len(pairs) == 1 else f"all {len(pairs)} {others}"
        return f"{best} {verb} ahead of {behind} on {where}."
    return (
        f"{best} {verb} ahead of {len(ahead)} of {len(pairs)} {others} on {where}; "
        f"it is not shown to be better than {_named(level)}."
    )


def _beside_reference(summary: StudySummary, where: str) -> str:
    """Return how many arms are ahead of the one that each is compared with, and how many behind it."""
    reference, key = summary.reference, summary.primary.key
    pairs = [_Pair.read(d, reference) for d in summary.differences if d.key == key]
    counts = Counter(pair.kind for pair in pairs)
    ahead, behind, equal = counts["worse"], counts["better"], counts["equivalent"]
    open_count = len(pairs) - ahead - behind - equal
    firm = all(pair.firm for pair in pairs)
    verb = ("is" if firm else "seems") if ahead == 1 else ("are" if firm else "seem")
    return (
        f"On {where} {ahead} of {counted(len(pairs), 'other arm')} {verb} ahead of {reference}, {behind} behind and "
        f"{equal} equivalent; of {open_count} no difference is shown."
    )


def _by_how_much(best: str, pairs: Sequence[_Pair]) -> str:
    known = sorted((pair for pair in pairs if pair.ends is not None), key=lambda pair: (pair.ends or (0,))[0])
    if not known:
        return "The arms share no seed on which both finished."
    level = all(pair.ends is not None and pair.ends[0] == 0 for pair in known)
    verb, than = ("differs", "from") if level else ("leads", "over")
    nearest, last = _lead(known[0], than, "95 % interval "), _lead(known[-1], than)
    parts = [nearest, last] if len(known) > 1 else [nearest]
    return f"{best} {verb} by {' and '.join(parts)}."


def _lead(pair: _Pair, than: str, what: str = "") -> str:
    assert pair.ends is not None
    estimate, low, high = (number(value, pair.metric).replace("-", "−") for value in pair.ends)
    points = " points" if is_fraction(pair.metric) else ""
    return f"{estimate}{points} {than} {pair.other} ({what}{low} to {high})"


def _elsewhere(summary: StudySummary, arm: str) -> str:
    """Return how an arm that lacks the primary metric stands beside each other arm, on what the two share first."""
    shared: dict[str, _Pair] = {}
    for d in summary.differences:
        if arm in (d.a, d.b):
            pair = _Pair.read(d, arm)
            shared.setdefault(pair.other, replace(pair, metric=f"{d.task} {d.metric} ({d.test})"))
    others = [other.name for other in summary.arms if other.name != arm and other.metrics]
    parts = [_comparison(shared[other]) for other in others if other in shared]
    apart = [other for other in others if other not in shared and summary.reference in ("", arm, other)]
    if apart:
        parts.append(f"nothing compares it with {_named(apart)}")
    return f"{arm} has no such number: {'; '.join(parts)}."


def _comparison(pair: _Pair) -> str:
    """Return in a few words what a metric says of an arm and another one."""
    verb = "is" if pair.firm else "seems"
    return {
        "better": f"it {verb} ahead of {pair.other} on {pair.metric}",
        "worse": f"{pair.other} {verb} ahead of it on {pair.metric}",
        "equivalent": f"it {verb} equivalent to {pair.other} on {pair.metric}",
    }.get(pair.kind, f"no difference from {pair.other} is shown on {pair.metric}")


def _what_decides(summary: StudySummary, pairs: Sequence[_Pair]) -> str:
    undecided = [pair for pair in pairs if pair.kind not in {"better", "equivalent"}]
    seeds, asked = len(summary.seeds), len(summary.seeds)
    if any(arm.failed for arm in summary.arms):
        seeds = min((pair.seeds for pair in pairs if pair.seeds), default=asked)
    # Failed runs are not made anew, so that as many seeds are needed besides.
    more = f"--seeds {FEW_SEEDS + asked - seeds}"
    if not undecided:
        if all(pair.firm for pair in pairs):
            return ""
        return f"{counted(seeds, 'seed').capitalize()} can only suggest a lead: run the command again with {more}."
    nearest = min(undecided, key=lambda pair: pair.ends[0] if pair.ends else 0.0)
    needed = nearest.needed
    if needed is None and nearest.seeds > 1:
        return (
            f"The runs of {nearest.other} agree with those of the best arm on every example: only a larger test set "
            "can tell them apart."
        )
    if needed is None:
        return f"Nothing is known about other runs with {counted(seeds, 'seed')}: run the command again with {more}."
    effect = points(needed.effect) if is_fraction(nearest.metric) else f"{needed.effect:.3g}"
    factor = needed.examples_factor or 1.0
    if needed.n is not None:
        number_of = f"{'at least' if needed.at_least else 'about'} {needed.n:,} seeds"
        return f"To show a difference of {effect} from {nearest.other} takes {number_of}."
    if factor > 1:
        larger = f"a test set at least {times(factor)} as large, and more seeds"
        return f"To show a difference of {effect} from {nearest.other} you need {larger}."
    return f"A difference of {effect} from {nearest.other} is out of reach: runs vary too much between seeds."


def _floor(best: str, score: ScoreSummary) -> list[str]:
    """Return a sentence where the best arm is not shown to be above what needs no model."""
    constant, chance = score.constant, score.chance
    if not score.higher_is_better or (constant is None and chance is None):
        return []
    level = max(value for value in (constant, chance) if value is not None)
    if score.low is None or score.low > level:
        return []
    what = "chance" if constant is None or constant <= (chance or 0.0) else "the best constant answer"
    return [f"{best} is not shown to be above {what} ({number(level)} percent)."]


def _learning(summary: StudySummary, best: str, pairs: Sequence[_Pair]) -> list[str]:
    """Return a sentence where arms are known to learn from other things than the best one does."""
    learns = {arm.name: arm.learns for arm in summary.arms}
    known = [pair.other for pair in pairs if learns[pair.other] and learns[best]]
    others = [name for name in known if learns[name] != learns[best]]
    return [f"{best} learns from other things than {_named(others)}."] if others else []


def points(effect: float) -> str:
    """Write a difference in points.

    >>> points(0.01), points(0.005)
    ('1 point', '0.5 points')
    """
    return f"{100 * effect:.3g} point{'s' * (effect != 0.01)}"


def _named(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[:MOST_NAMED])} and {counted(len(names) - MOST_NAMED, 'other')}"
    return listing(names)
