"""The catalog on a terminal and as plain data: what ``counterpoint papers`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .entries import STATUSES, Paper
from .evidence import Evidence, Result

_STYLES = {
    "planned": "dim",
    "implemented": "cyan",
    "verified": "green",
    "reproduced": "green",
    "not reproduced": "red",
    "inconclusive": "yellow",
}


def as_dict(paper: Paper) -> dict[str, Any]:
    """A paper as plain data, ready for JSON, its evidence included."""
    plain = asdict(paper)
    plain |= {"modalities": list(paper.modalities), "symbols": list(paper.symbols)}
    plain |= {"url": paper.url, "status": paper.status, "evidence": None}
    if paper.evidence is not None:
        plain["evidence"] = Evidence.read(paper.evidence).model_dump(mode="json")
    return plain


def table(papers: Iterable[Paper]) -> Table:
    """Some papers, a row each, and how many of them have which status."""
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
    """One paper: what it is, where it lives, what was measured."""
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
    """Four significant digits, or a dash for what could not be measured."""
    return "–" if value is None else f"{value:.4g}"


def expectation(result: Result) -> str:
    """A result's rule in a few signs: ``> 0``, ``< 0.1``, ``within ±0.02``."""
    if result.expected == "within":
        return f"within ±{number(result.bound)}"
    return f"{'>' if result.expected == 'above' else '<'} {number(result.bound)}"


def _evidence(evidence: Evidence) -> Group:
    measured = Table(caption_justify="left")
    for column in ("measured", "metric", "expected", "estimate", "95 % interval", "seeds", "verdict"):
        measured.add_column(column, overflow="fold")
    for result in evidence.results:
        measured.add_row(
            Text(result.name if result.decides else f"({result.name})"),
            Text(result.metric),
            expectation(result),
            number(result.estimate),
            f"{number(result.low)} … {number(result.high)}",
            "–" if result.n_seeds is None else str(result.n_seeds),
            Text(result.verdict, style=_STYLES[result.verdict]),
        )
    machine = evidence.machine
    measured.caption = (
        f"{evidence.date}, {evidence.seconds:,.0f} s on {machine.cores} cores ({machine.device})"
    )
    return Group(
        Text.assemble("Verdict: ", (evidence.verdict, f"bold {_STYLES[evidence.verdict]}")),
        Text(f"Claim: {evidence.claim}"),
        measured,
        Text(evidence.notes),
    )
