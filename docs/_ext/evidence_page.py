"""One page with every verdict: a table to sort, then what was measured for each paper, its interval, and a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from counterpoint import catalog
from counterpoint.catalog.evidence import Evidence, Result
from counterpoint.catalog.render import (
    STALE,
    declarations,
    measured,
    questions,
    row,
    undecided,
)

_COLOURS = {"reproduced": "#2a7f4f", "not reproduced": "#b3392f", "inconclusive": "#9a7b1f"}
_TITLES = {
    "reproduced": "Claims that hold here",
    "not reproduced": "Claims that do not hold here",
    "inconclusive": "Undecided, and what would decide them",
}
_SORT = """<style>
.table-wrapper:has(+ style) { font-size: 0.8em }
.table-wrapper:has(+ style) td { vertical-align: top }
.table-wrapper:has(+ style) td:nth-child(2) { min-width: 24em }
</style>
<script>
const table = document.currentScript.previousElementSibling.previousElementSibling.querySelector("table")
const body = table.tBodies[0]
const value = (row, k) => row.cells[k].textContent.trim()
const order = (a, b) => parseFloat(a) - parseFloat(b) || a.localeCompare(b)
for (const [k, head] of [...table.tHead.rows[0].cells].entries()) {
  head.style.cursor = "pointer"
  head.tabIndex = 0
  head.onclick = () => {
    const up = head.ariaSort !== "ascending"
    for (const other of table.tHead.rows[0].cells) other.ariaSort = "none"
    head.ariaSort = up ? "ascending" : "descending"
    const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * order(value(a, k), value(b, k)))
    body.append(...rows)
  }
  head.onkeydown = event => event.key === "Enter" && head.click()
}
</script>"""
"""Style and script of the table before it: a click on the head of a column sorts by that column."""
_WIDTH, _ROW, _MIDDLE, _REACH = 360, 22, 180, 160


def evidence_page(papers: tuple[catalog.Paper, ...]) -> str:
    """Return the page of all evidence: what was learned, and for each paper its claim, a plot and a table."""
    records = [(paper, Evidence.read(paper.evidence)) for paper in papers if paper.evidence is not None]
    lines = [
        "# Evidence",
        "",
        "Our own small experiments on the papers' claims. A verdict follows from an interval, from "
        "the direction that the paper leads one to expect, and from a rule that was fixed before the run; "
        "it speaks about this code at a small scale, not about the paper's own experiment.",
        "",
        "The table has a row for each paper. Click the head of a column to sort by it. The value is that of the "
        "first part that the verdict rests on; the plots below have all parts.",
        "",
        *overview(records),
        "",
        *learned(records, "#{}"),
        "",
        "## All results",
        "",
        "In the plots each interval is drawn around the bound that it is judged by (the line), on a scale of "
        "its own; green is reproduced, red not reproduced, yellow inconclusive. Pale rows are reported but do "
        "not decide.",
    ]
    for paper, evidence in records:
        lines += [
            "",
            f"### {paper.slug}",
            "",
            f"[{paper.title}](../papers/{paper.slug}.md): {evidence.claim}",
            "",
        ]
        lines += [f"Verdict: **{evidence.verdict}** (`{evidence.command}`).", ""]
        lines += [*declared(paper, evidence), *open_questions(evidence)]
        lines += ["```{raw} html", plot(evidence.results), "```", ""]
        rows = []
        for result in evidence.results:
            name, metric, expected, estimate, interval, _, verdict = row(result)
            rows.append((f"{name}: {metric}", expected, estimate, interval, verdict))
        lines += table(("measured", "expected", "estimate", "95 % interval", "verdict"), rows)
    return "\n".join([*lines, ""])


def overview(records: list[tuple[catalog.Paper, Evidence]]) -> list[str]:
    """Return a table with a row for each paper, and the script that sorts it."""
    rows = []
    for paper, evidence in records:
        assert paper.evidence is not None
        result = deciding(evidence)
        rows.append(
            (
                f"[{paper.slug}](#{paper.slug})",
                evidence.claim.partition(" Refuted if")[0],
                evidence.verdict,
                measured(result),
                f"`{evidence.command}`",
                f"{{download}}`{paper.evidence.name} <../../evidence/{paper.evidence.name}>`",
            )
        )
    columns = ("paper", "claim", "verdict", "estimate (95 % interval)", "command", "file")
    return [*table(columns, rows), "", "```{raw} html", _SORT, "```"]


def deciding(evidence: Evidence) -> Result:
    """Return the first of the results that the verdict rests on."""
    return next(
        result for result in evidence.results if result.decides and result.verdict == evidence.verdict
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def learned(records: list[tuple[catalog.Paper, Evidence]], link: str) -> list[str]:
    """Return lines that say which claims hold here, which do not and which are open, each by how much."""
    counts = Counter(evidence.verdict for _, evidence in records)
    lines = [
        f"Of {len(records)} claims that were run {counts['reproduced']} hold here, {counts['not reproduced']} do not, "
        f"and {counts['inconclusive']} are undecided at this size. Numbers of seeds are those that would decide four "
        "times of five if the value is as estimated.",
    ]
    for verdict, title in _TITLES.items():
        lines += ["", f"## {title}", ""]
        for paper, evidence in records:
            if evidence.verdict == verdict:
                result = deciding(evidence)
                more = "" if verdict != "inconclusive" else f" {undecided(result)}"
                lines.append(
                    f"- [{paper.slug}]({link.format(paper.slug)}): {result.name}: {measured(result)}.{more}"
                )
    return lines


def declared(paper: catalog.Paper, evidence: Evidence) -> list[str]:
    """Return lines that say whether evidence is stale, and what was declared for its deciding results."""
    lines = [f"**{STALE}**", ""] if paper.changed_since(evidence) else []
    for line in declarations(evidence):
        lines.append(line if line.startswith(" ") else f"- {line}")
    return [*lines, ""] if lines else []


def open_questions(evidence: Evidence) -> list[str]:
    """Return lines that say what the evidence leaves open, and what led to a second run."""
    lines = [f"- {sentence}" for sentence in questions(evidence)]
    return [*lines, ""] if lines else []


def plot(results: tuple[Result, ...] | list[Result]) -> str:
    """Draw a row per result: its interval around the bound, in units of what lies farthest from the bound."""
    drawn = [r for r in results if r.estimate is not None and r.low is not None and r.high is not None]
    height = _ROW * len(drawn) + 8
    parts = [
        f'<svg viewBox="0 0 {_WIDTH * 2 + 40} {height}" role="img" style="max-width:100%;height:auto" '
        'font-size="11" font-family="sans-serif" fill="currentColor">',
        f'<line x1="{_MIDDLE}" x2="{_MIDDLE}" y1="0" y2="{height}" stroke="currentColor" stroke-opacity="0.5"/>',
    ]
    for k, result in enumerate(drawn):
        y = _ROW * k + _ROW / 2 + 4
        low, middle, high = (_place(result, value) for value in (result.low, result.estimate, result.high))
        colour = _COLOURS[result.verdict]
        parts.append(
            f'<g opacity="{1 if result.decides else 0.45}"><title>{escape(result.metric)}</title>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
            f'<circle cx="{middle:.1f}" cy="{y}" r="4.5" fill="{colour}"/>'
            f'<text x="{_WIDTH + 10}" y="{y + 4}">{escape(_short(result.name))}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def _place(result: Result, value: float | None) -> float:
    """Return the place of a value: the bound in the middle (0 where a value is to lie within ± the bound)."""
    centre = 0.0 if result.expected == "within" and result.role is None else result.bound
    assert result.low is not None
    assert result.high is not None
    assert value is not None
    reach = abs(result.bound - centre) if result.role is None else result.margin or result.delta or 0.0
    far = max(abs(result.low - centre), abs(result.high - centre), reach, 1e-300)
    return _MIDDLE + _REACH * (value - centre) / far


def _short(text: str, most: int = 64) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
