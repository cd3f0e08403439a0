"""The catalog on a terminal and as plain data: what ``counterpoint papers`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..reasons import counted
from .entries import STATUSES, Paper
from .evidence import RESERVE, Evidence, Result

MOST_SECONDS = 7200
"""Longest second run that is made here, in seconds of one core: an hour of two."""

_STYLES = {
    "planned": "dim",
    "implemented": "cyan",
    "verified": "green",
    "reproduced": "green",
    "not reproduced": "red",
    "inconclusive": "yellow",
}


def as_dict(paper: Paper) -> dict[str, Any]:
    """Return a paper as plain data, ready for JSON, its evidence included."""
    plain = asdict(paper)
    plain |= {"modalities": list(paper.modalities), "symbols": list(paper.symbols)}
    plain |= {"url": paper.url, "status": paper.status, "evidence": None}
    if paper.evidence is not None:
        plain["evidence"] = Evidence.read(paper.evidence).model_dump(mode="json")
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
        parts += ["", _evidence(Evidence.read(paper.evidence))]
    return Group(*parts)


def number(value: float | None) -> str:
    """Write four significant digits, or a dash for what could not be measured."""
    return "–" if value is None else f"{value:.4g}"


def expectation(result: Result) -> str:
    """Return a result's rule in a few signs: ``> 0``, ``< 0.1``, ``within ±0.02``."""
    if result.expected == "within":
        return f"within ±{number(result.bound)}"
    return f"{'>' if result.expected == 'above' else '<'} {number(result.bound)}"


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
        result.verdict,
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
    return f"About {needed.seeds:,} seeds would {value} it{growing}."


def questions(evidence: Evidence) -> list[str]:
    """Return sentences on what the evidence leaves open, what would decide it, and what led to a second run."""
    lines = []
    if evidence.earlier is not None:
        first = "; ".join(f"{result.name}: {measured(result)}" for result in evidence.earlier.undecided)
        lines.append(
            f"A second run, on {evidence.earlier.second_seeds:,} seeds of its own: the first, of "
            f"{evidence.earlier.date}, left this open: {first}."
        )
    lines += [f"Undecided: {result.name}. {undecided(result)}" for result in evidence.undecided]
    if evidence.undecided and not evidence.quick:
        lines.append(_second_run(evidence))
    return lines


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
    return (
        f"A second run (`counterpoint reproduce {evidence.slug} --decide`, {first.second_seeds:,} seeds of its own, "
        f"{RESERVE} times as many as would do) takes about {time} of one core of this machine"
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
    known = [] if result.low == result.high else [f"95 % interval {interval}"]
    known += [] if result.n_seeds is None else [counted(result.n_seeds, "seed")]
    beside = f" ({', '.join(known)})" if known else ""
    found = f"expected {expected}, measured {estimate}{beside}"
    lines = Group(Text(metric), Text(found))
    return Padding(
        Group(Text.assemble((verdict, _STYLES[verdict]), f": {name}"), Padding(lines, (0, 0, 0, 2))),
        (0, 0, 1, 0),
    )
