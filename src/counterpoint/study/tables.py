"""A study's numbers as tables: on the terminal, and as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ..files import write_text

if TYPE_CHECKING:
    from .presets import Preset
    from .standings import Standing

Costs = Mapping[str, Callable[[Mapping[str, Any]], str]]
"""Rows of cost: a title to how an arm's cost is written there."""
_SUBSETS = 6
"""Columns of subsets that a terminal has room for."""


def columns(summary: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """What the main table shows: every metric that a verdict of the main family is about."""
    keys: dict[tuple[str, str, str, str], None] = {}
    for d in summary["differences"]:
        if d["family"] == "main":
            keys[d["task"], d["test"], d["subset"], d["metric"]] = None
    if not keys:
        p = summary["primary"]
        keys[p["task"], p["test"], p["subset"], p["metric"]] = None
    return list(keys)


def cell(arm: Mapping[str, Any], key: tuple[str, str, str, str]) -> Mapping[str, Any] | None:
    for metric in arm["metrics"]:
        if (metric["task"], metric["test"], metric["subset"], metric["metric"]) == key:
            found: Mapping[str, Any] = metric
            return found
    return None


def number(value: float | None, percent: bool = True) -> str:
    """A fraction in hundredths, with one decimal.

    >>> number(0.1234), number(None)
    ('12.3', '–')
    """
    return "–" if value is None else f"{100 * value:.1f}" if percent else f"{value:.1f}"


def heading(key: tuple[str, str, str, str]) -> str:
    task, test, subset, metric = key
    return f"{task} {metric}\n{test}" + ("" if subset == "all" else f", {subset}")


def still_improving(improving: bool | None, gain: float | None) -> str:
    """Return whether validation still rose at the end, and the points that the last half of the steps brought.

    >>> still_improving(True, 0.052), still_improving(False, 0.001), still_improving(None, None)
    ('yes, +5.2', 'no', '–')
    """
    if improving is None or gain is None:
        return "–"
    return f"yes, {100 * gain:+.1f}" if improving else "no"


TRAINING_COSTS: Costs = {
    "training seconds a run": lambda cost: f"{cost['seconds']:.0f}",
    "image passes a run": lambda cost: f"{cost['image_passes']:,}",
    "still improving at its end": lambda cost: still_improving(cost.get("improving"), cost.get("late_gain")),
}


def leaderboard(summary: Mapping[str, Any], costs: Costs = TRAINING_COSTS) -> Table:
    """A row per main metric, a column per arm (best first), each number with its interval; rows of cost below."""
    arms = ranked(summary)
    seeds = len(summary["seeds"])
    table = Table(
        title=f"{summary['data']}: {len(arms)} arms, {seeds} seed{'s' * (seeds != 1)} (percent, 95 % interval)",
        title_justify="left",
    )
    table.add_column("metric (test set)")
    for arm in arms:
        table.add_column(arm["name"], justify="right")
    for key in columns(summary):
        task, test, subset, metric = key
        cells = []
        for arm in arms:
            m = cell(arm, key)
            interval = "" if m is None else f"\n{number(m['low'])} – {number(m['high'])}"
            cells.append(Text.assemble(number(m["mean"] if m else None), (interval, "dim")))
        where = test if subset == "all" else f"{test}, {subset}"
        table.add_row(Text.assemble(f"{task} {metric}", (f"\n{where}", "dim")), *cells)
    table.add_section()
    for title, wording in costs.items():
        table.add_row(title, *(wording(arm["cost"]) for arm in arms))
    if any(arm["failed"] for arm in arms):
        table.add_row(
            "failed seeds", *(Text(str(len(arm["failed"])), "red" if arm["failed"] else "") for arm in arms)
        )
    return table


def standings_table(standings: Sequence[Standing], preset: Preset) -> Table:
    """Arms by their mean rank over the tasks of a preset, with their difference from its baseline."""
    family = {arm: name for name, arms in preset.families.items() for arm in arms}
    table = Table(
        title=f"{preset.name}: {standings[0].tasks} tasks, each arm ranked in each (percent points from "
        f"{preset.baseline}, 95 % interval over tasks)",
        title_justify="left",
    )
    for name in ("arm", "compares"):
        table.add_column(name)
    for name in ("mean rank", f"− {preset.baseline}"):
        table.add_column(name, justify="right")
    for it in standings:
        interval = Text.assemble(number(it.difference), (f" {number(it.low)} – {number(it.high)}", "dim"))
        table.add_row(
            it.arm, family.get(it.arm, ""), f"{it.rank:.2f}", "" if it.arm == preset.baseline else interval
        )
    return table


def ranked(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The arms, best first by the study's first metric; arms without a number come last."""
    primary = tuple(summary["primary"][k] for k in ("task", "test", "subset", "metric"))

    def rank(arm: Mapping[str, Any]) -> float:
        found = cell(arm, primary)
        if found is None or found["mean"] is None:
            return float("inf")
        return -found["mean"] if found["higher_is_better"] else float(found["mean"])

    return sorted(summary["arms"], key=rank)


def score_table(scores: Sequence[Mapping[str, Any]]) -> Table:
    """The scores of one run: a row per task, test set and metric; a column per subset."""
    subsets = list(dict.fromkeys(row["subset"] for row in scores))
    table = Table(title="scores", title_justify="left")
    for name in ("task", "test set", "metric"):
        table.add_column(name)
    for subset in subsets:
        table.add_column(subset, justify="right")
    table.add_column("chance", justify="right")
    rows: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for row in scores:
        rows.setdefault((row["task"], row["test"], row["metric"]), {})[row["subset"]] = row
    for key, by_subset in rows.items():
        first = next(iter(by_subset.values()))
        values = [f"{by_subset[s]['value']:.3f}" if s in by_subset else "–" for s in subsets]
        table.add_row(*key, *values, "–" if first["chance"] is None else f"{first['chance']:.3f}")
    return table


def score_tables(scores: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The scores of one run: one table, and one by type for each task and test set with many subsets."""
    parts: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in scores:
        parts.setdefault((row["task"], row["test"]), []).append(row)
    many = {key for key, rows in parts.items() if len({row["subset"] for row in rows}) > _SUBSETS}
    few = [row for key, rows in parts.items() if key not in many for row in rows]
    return [
        *([score_table(few)] if few else []),
        *(_by_type(*key, parts[key]) for key in parts if key in many),
    ]


def _by_type(task: str, test: str, scores: Sequence[Mapping[str, Any]]) -> Table:
    """A row per subset, ``"all"`` first and chance last; a column per metric."""
    metrics = list(dict.fromkeys(row["metric"] for row in scores))
    table = Table(title=f"{task} ({test})", title_justify="left")
    table.add_column("type", no_wrap=True)
    for name in ("n", *metrics):
        table.add_column(name, justify="right", overflow="fold", min_width=5)
    by_subset: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in scores:
        by_subset.setdefault(row["subset"], {})[row["metric"]] = row
    for subset, found in by_subset.items():
        values = [f"{found[m]['value']:.3f}" if m in found else "–" for m in metrics]
        table.add_row(subset, str(max(row["n"] for row in found.values())), *values)
    chances = [by_subset["all"][m]["chance"] if m in by_subset["all"] else None for m in metrics]
    table.add_row("chance", "", *("–" if c is None else f"{c:.3f}" for c in chances))
    return table


def write_tables(summary: Mapping[str, Any], folder: Path) -> None:
    """``table.csv`` with every number, ``table.md`` and ``table.tex`` with the main ones."""
    write_text(folder / "table.csv", _csv(summary))
    write_text(folder / "table.md", _markdown(summary))
    write_text(folder / "table.tex", _latex(summary))


def _csv(summary: Mapping[str, Any]) -> str:
    text = io.StringIO()
    key = ("task", "test", "subset", "metric")
    fields = (*key, "mean", "low", "high", "n", "chance", "constant", "higher_is_better")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", *fields, *(f"seed {s}" for s in summary["seeds"])])
    for arm in summary["arms"]:
        for metric in arm["metrics"]:
            per_seed = [metric["seeds"].get(str(s), "") for s in summary["seeds"]]
            writer.writerow([arm["name"], *(metric.get(f) for f in fields), *per_seed])
    return text.getvalue()


def as_markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose first row is its head; all but the first column are numbers."""
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *body]]


def _grid(summary: Mapping[str, Any], between: str) -> tuple[list[str], list[list[str]]]:
    keys = columns(summary)
    head = ["arm", *(heading(key).replace("\n", ", ") for key in keys)]
    body = []
    for arm in summary["arms"]:
        found = [cell(arm, key) for key in keys]
        body.append(
            [arm["name"]]
            + [
                "–" if m is None else f"{number(m['mean'])} ({number(m['low'])}{between}{number(m['high'])})"
                for m in found
            ]
        )
    return head, body


def _markdown(summary: Mapping[str, Any]) -> str:
    head, body = _grid(summary, " – ")
    lines = as_markdown([head, *body])
    sentences = [f"- {d['sentence']}" for d in summary["differences"] if d["family"] == "main"]
    seeds = len(summary["seeds"])
    note = (
        f"Percent, mean of {seeds} seed{'s' * (seeds != 1)} with its 95 % interval. {summary['multiplicity']}"
    )
    return "\n".join([*lines, "", note, "", *sentences]) + "\n"


def _latex(summary: Mapping[str, Any]) -> str:
    head, body = _grid(summary, "--")

    def escape(text: str) -> str:
        for mark in "\\&%$#_{}":
            text = text.replace(mark, f"\\{mark}" if mark != "\\" else r"\textbackslash{}")
        return text.replace("–", "--")

    lines = [r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}", r"\toprule"]
    lines += [" & ".join(map(escape, head)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(escape, row)) + r" \\" for row in body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"
