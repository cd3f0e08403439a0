"""The catalog on a terminal and as plain data: what ``counterpoint papers`` prints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, get_args

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..reasons import counted
from .entries import STATUSES, Paper
from .evidence import RESERVE, Evidence, Result
from .verdicts import Reason

MOST_SECONDS = 7200
"""Longest second run that is made here, in seconds of one core: an hour of two."""

STALE = "Stale: the claim has changed since this evidence was recorded."
"""Sentence of evidence whose claim has changed."""

_STYLES = {
    "planned": "dim",
    "implemented": "cyan",
    "verified": "green",
    "reproduced": "green",
    "not reproduced": "red",
    "inconclusive": "yellow",
    **{f"not reproduced ({reason})": "red" for reason in get_args(Reason)},
}


def as_dict(paper: Paper) -> dict[str, Any]:
    """Return a paper as plain data, ready for JSON, its evidence included."""
    plain = asdict(paper)
    plain |= {"modalities": list(paper.modalities), "symbols": list(paper.symbols)}
    plain |= {"url": paper.url, "status": paper.status, "evidence": None}
    if paper.evidence is not None:
        evidence = Evidence.read(paper.evidence)
        plain["evidence"] = evidence.model_dump(mode="json")
        if evidence.declared is not None:
            plain["stale"] = paper.changed_since(evidence)
    return plain


def table(papers: Iterable[Paper]) -> Table:
    """Return some papers, a row each, and how many of them have which status."""
    listed = [(paper, paper.status) for paper in papers]
    counts = Counter(status for _, status in listed)
    caption = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    result = Table(
        caption=f"{len(listed)} papers: {caption}" if listed else "no paper fits", caption_justify="left"
    )
    for column in ("paper", "title", "year", "family", "kind", "status"):
        result.add_column(column, no_wrap=column != "title", overflow="fold")
    for paper, status in listed:
        result.add_row(
            paper.slug,
            Text(paper.title),
            str(paper.year),
            paper.family,
            paper.kind,
            Text(status, style=_STYLES[status]),
        )
    return result


def page(paper: Paper) -> Group:
    """Return one paper: what it is, where it lives, what was measured."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    status = paper.status
    rows: list[tuple[str, RenderableType | None]] = [
        ("paper", Text(f"{paper.url} ({paper.year})")),
        ("family", f"{paper.family}, {paper.kind}; {', '.join(paper.modalities)}"),
        ("code", Text(paper.reference_code) if paper.reference_code else None),
        ("status", Text(status, style=_STYLES[status])),
        ("here", "\n".join(paper.symbols) or None),
        ("recipe", paper.recipe),
        ("claim", paper.claim),
        ("run it", f"counterpoint reproduce {paper.slug}" if paper.claim else None),
    ]
    for name, value in rows:
        if value is not None:
            facts.add_row(name, value)
    parts: list[RenderableType] = [
        Text(paper.title, style="bold underline"),
        "",
        Text(paper.summary),
        "",
        facts,
    ]
    if paper.evidence is not None:
        evidence = Evidence.read(paper.evidence)
        stale = [Text(STALE, style="yellow")] if paper.changed_since(evidence) else []
        parts += ["", *stale, *map(Text, declarations(evidence)), _evidence(evidence)]
    return Group(*parts)


def number(value: float | None) -> str:
    """Write four significant digits, or a dash for what could not be measured."""
    return "–" if value is None else f"{value:.4g}"


def expectation(result: Result) -> str:
    """Return a result's rule in a few signs: ``> 0``, ``< 0.1``, ``within ±0.02``, ``> 0, δ 0.01``."""
    if result.expected == "within":
        margin, centre = (result.bound, 0.0) if result.role is None else (result.margin, result.bound)
        return f"within {number(centre) if centre else ''}±{number(margin)}"
    bound, sign = result.bound, ">" if result.expected == "above" else "<"
    if result.role == "non-inferiority" and result.margin is not None:
        bound += -result.margin if result.expected == "above" else result.margin
    smallest = "" if result.delta is None else f", δ {number(result.delta)}"
    return f"{sign} {number(bound)}{smallest}"


def judged(result: Result) -> str:
    """Return a verdict, with the reason why a result with a role is not reproduced."""
    judgement = result.judgement
    if judgement is None or judgement.verdict != "not reproduced":
        return result.verdict
    return f"{judgement.verdict} ({judgement.reason})"


_DECLARED_NUMBERS = {
    "superiority": ("the smallest effect of interest", "δ"),
    "non-inferiority": ("the margin", "margin"),
    "equivalence": ("the margin", "margin"),
    "level": ("the level", "level"),
}


def declaration(result: Result, evidence: Evidence) -> tuple[str, ...]:
    """Return two lines on a result with a role: its verdict and value, and what was declared; none without a source.

    The interval that refutes one of several deciding results is given where it is another than that of 95 %.
    """
    if result.source is None or result.role not in _DECLARED_NUMBERS:
        return ()
    declared = next(value for value in (result.delta, result.margin, result.bound) if value is not None)
    words, sign = _DECLARED_NUMBERS[result.role]
    length = 0.0 if result.low is None or result.high is None else result.high - result.low
    decimals = _decimals(length if result.role == "level" else declared)
    value = f"{_fixed(result.estimate, decimals)} {_ends(result.low, result.high, decimals)}"
    if result.decides and evidence.parts > 1 and result.wide is not None:
        value += f", {100 - 5 / evidence.parts:.4g} %: {_ends(*result.wide, decimals)}"
    against = f" against {number(result.bound)}" if result.role != "level" and result.bound else ""
    when = "" if evidence.declared is None else ", declared before the run"
    return (
        f"{judged(result)}: {result.name}: {value}{against}; {words} was {number(declared)}",
        f"  {sign} = {result.source.text}{when}",
    )


def _decimals(scale: float) -> int:
    """Return how many decimals show a quarter of a number.

    >>> _decimals(0.006), _decimals(0.01), _decimals(18)
    (3, 3, 0)
    """
    return max(0, math.ceil(-math.log10(abs(scale) / 4))) if scale else 3


def _fixed(value: float | None, decimals: int) -> str:
    """Write a number with a fixed number of decimals and a minus sign.

    >>> _fixed(-0.0008, 3)
    '−0.001'
    """
    return "–" if value is None else f"{value:.{decimals}f}".replace("-", "−")


def _ends(low: float | None, high: float | None, decimals: int) -> str:
    return f"[{_fixed(low, decimals)}, {_fixed(high, decimals)}]"


COLUMNS = ("measured", "metric", "expected", "estimate", "95 % interval", "seeds", "verdict")


def row(result: Result) -> tuple[str, ...]:
    """Return a result in words, one for each of ``COLUMNS``; the name of one that does not decide in brackets."""
    return (
        result.name if result.decides else f"({result.name})",
        result.metric,
        expectation(result),
        number(result.estimate),
        f"{number(result.low)} … {number(result.high)}",
        "–" if result.n_seeds is None else str(result.n_seeds),
        judged(result),
    )


def measured(result: Result) -> str:
    """Return a result's value with its interval and what is asked of it: ``0.05 (0.03 … 0.07), asked > 0``."""
    interval = "" if result.low == result.high else f" ({number(result.low)} … {number(result.high)})"
    return f"{number(result.estimate)}{interval}, asked {expectation(result)}"


def undecided(result: Result) -> str:
    """Say what would decide an inconclusive result, in a sentence."""
    needed = result.needed
    if needed is None:
        return "What would decide it is not known."
    if needed.towards == "inconclusive":
        return (
            "Its estimate lies between the bound and what would refute it: if that is right, nothing decides."
        )
    value = "confirm" if needed.towards == "reproduced" else "refute"
    if needed.by == "width":
        value = "decide"
    if needed.seeds is None and needed.examples is not None and needed.examples > 1:
        return (
            f"No number of seeds would {value} it on these test examples; at least "
            f"{needed.examples:.1f} times as many are needed."
        )
    if needed.seeds is None:
        return f"More than 10,000 seeds would be needed to {value} it: the value is at the bound."
    growing = (
        ""
        if needed.examples is not None
        else ", if the test examples grow as they do (their part is not known)"
    )
    how = " by an interval narrower than δ" if needed.by == "width" else ""
    return f"About {needed.seeds:,} seeds would {value} it{how}{growing}."


def questions(evidence: Evidence) -> list[str]:
    """Return sentences on what the evidence leaves open, what would decide it, and what led to a second run."""
    lines = []
    if evidence.earlier is not None:
        first = "; ".join(f"{result.name}: {measured(result)}" for result in evidence.earlier.undecided)
        lines.append(
            f"A second run, on {evidence.earlier.second_seeds:,} seeds of its own: the first, of "
            f"{evidence.earlier.date}, left this open: {first}."
        )
    lines += [
        f"Undecided: {result.name}.{_width(result)} {undecided(result)}" for result in evidence.undecided
    ]
    if evidence.undecided and not evidence.quick:
        lines.append(_second_run(evidence))
    return lines


def _width(result: Result) -> str:
    """Compare the width of an interval with the smallest effect of interest."""
    if result.delta is None or result.low is None or result.high is None:
        return ""
    if result.expected == "below":
        low, high = (result.wide or (result.low,))[0], result.high
    else:
        low, high = result.low, (result.wide or (result.high,))[-1]
    return f" Its interval is {number(high - low)} wide; δ is {number(result.delta)}."


def declarations(evidence: Evidence) -> list[str]:
    """Return the lines of `declaration` of all deciding results."""
    return [line for result in evidence.results if result.decides for line in declaration(result, evidence)]


def _second_run(evidence: Evidence) -> str:
    """Say what a run that decides takes, or why there is none."""
    if evidence.earlier is not None:
        return "The second run was to decide this and did not; no third was made."
    try:
        first = evidence.left_open()
    except ValueError:
        return (
            "No second run was made: seeds alone would not decide this at its size; other data, more test examples "
            "or a larger experiment would have to."
        )
    assert first.second_seconds is not None
    minutes = first.second_seconds / 60
    time = f"{minutes:,.0f} minutes" if minutes < 120 else f"{minutes / 60:,.0f} hours"
    if first.second_examples == 1:
        size = f"{first.second_seeds:,} seeds of its own, {RESERVE} times as many as would do"
    else:
        size = (
            f"{first.second_seeds:,} seeds of its own and, where the data are made, a new test set, "
            f"{first.second_examples:.1f} times as large"
        )
    return (
        f"A second run (`counterpoint reproduce {evidence.slug} --decide`, {size}) takes about {time} of one core of "
        "this machine"
        f"{', and is left to whoever has them.' if first.second_seconds > MOST_SECONDS else '.'}"
    )


def _evidence(evidence: Evidence) -> Group:
    aside = []
    if any(not result.decides for result in evidence.results):
        aside = [
            Text("Results in brackets are reported beside the others; the verdict does not rest on them.")
        ]
    machine = evidence.machine
    made = (
        f"{evidence.date}, {evidence.seconds:,.0f} s on {counted(machine.cores, 'core')} ({machine.device})"
    )
    return Group(
        Text.assemble("Verdict: ", (evidence.verdict, f"bold {_STYLES[evidence.verdict]}")),
        Text(f"Claim: {evidence.claim}"),
        "",
        *(_result(result) for result in evidence.results),
        *aside,
        Text(made, style="dim"),
        "",
        *map(Text, questions(evidence)),
        Text(evidence.notes),
    )


def _result(result: Result) -> Padding:
    """Return a result as a block of lines, which fits a terminal of any width."""
    name, metric, expected, estimate, interval, _, verdict = row(result)
    details = [] if result.low == result.high else [f"95 % interval {interval}"]
    details += [] if result.n_seeds is None else [counted(result.n_seeds, "seed")]
    in_brackets = f" ({', '.join(details)})" if details else ""
    lines = Group(Text(metric), Text(f"expected {expected}, measured {estimate}{in_brackets}"))
    return Padding(
        Group(Text.assemble((verdict, _STYLES[verdict]), f": {name}"), Padding(lines, (0, 0, 0, 2))),
        (0, 0, 1, 0),
    )
