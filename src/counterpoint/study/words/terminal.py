"""Tables on the terminal: the arms of a study, their ranks under a preset, and the scores of one run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from rich import box
from rich.table import Table
from rich.text import Text

from ...modalities import PAIR_PASSES, leading
from ...reasons import counted, share_in_words
from ...spec import Spec
from ..schema import ArmSummary, Key, ScoreSummary, StudySummary
from .names import with_short_names
from .tables import beside_all, cells_of, columns, is_fraction, number, ranked

if TYPE_CHECKING:
    from ..presets import StudyPreset
    from .standings import ArmStanding

AnySummary = TypeVar("AnySummary", bound=StudySummary)

Costs = Mapping[str, Callable[[Any], str]]
"""Rows of cost: a title to how an arm's cost is written there."""
CostsOf = Callable[[Any], Costs]
"""A summary to the rows of cost that its arms have."""
NAME, _CELL, _FEW_LABELS = 24, 15, 4
"""Characters of an arm's name and of a number with its interval; metrics of further labels shown unasked."""
CONSTANT = "best constant"
"""Name of the row that holds the score of the best answer that is the same for all examples."""
_SUBSETS = 6
"""Columns of subsets that a terminal has room for."""


def still_improving(improving: bool | None, gain: float | None) -> str:
    """Return whether validation still rose at the end, and the points that the last half of the steps brought.

    >>> still_improving(True, 0.052), still_improving(False, 0.001), still_improving(None, None)
    ('yes, +5.2', 'no', '–')
    """
    if improving is None or gain is None:
        return "–"
    return f"yes, {100 * gain:+.1f}" if improving else "no"


def waiting(seconds: float, whole: float) -> str:
    """Return the share of the training time that was spent waiting for data.

    >>> waiting(3.0, 60.0), waiting(0.0, 0.0)
    ('5 %', '–')
    """
    return f"{seconds / whole:.0%}".replace("%", " %") if whole else "–"


def training_costs(summary: Any) -> Costs:
    """Return how the costs of arms that were trained are written."""
    modality = leading(arm.cost.passes for arm in summary.arms)
    rows: Costs = {"rows trained on": lambda cost: share_in_words(cost.rows, cost.left_out)}
    pairs: Costs = {"pairs fused a run": lambda cost: f"{cost.passes.get(PAIR_PASSES, 0):,}"}
    return {
        **(rows if any(arm.cost.left_out for arm in summary.arms) else {}),
        "training seconds a run": lambda cost: f"{cost.seconds:.0f}",
        "waiting for data": lambda cost: waiting(cost.waiting_seconds, cost.seconds),
        f"{modality} passes a run": lambda cost: f"{cost.passes.get(modality, 0):,}",
        **(pairs if any(PAIR_PASSES in arm.cost.passes for arm in summary.arms) else {}),
        "still improving": lambda cost: still_improving(cost.improving, cost.late_gain),
    }


def leaderboard(
    summary: StudySummary, costs: CostsOf = training_costs, width: int = 80, every: bool = False
) -> list[Table | Text]:
    """Return the arms, best first, with each main metric and its interval, and then what they learn from and cost.

    Each table has a row per arm, then chance and the best constant answer, and as many metrics as a line has room for.

    Args:
        summary: of a study.
        costs: how the arms' costs are written.
        width: of a line.
        every: show the main metrics of further labels too, however many there are.
    """
    arms = ranked(summary.arms, summary.primary.key)
    keys = beside_all(columns(summary))
    others = _other_labels(summary)
    shown = [*keys, *(others if every or len(others) <= _FEW_LABELS else ())]
    wide = max(len(name) for name in [*(arm.name for arm in arms), CONSTANT])
    several = max(1, (width - wide - 2) // (_CELL + 2))
    title = f"{summary.data}: {counted(len(arms), 'arm')}, {_seeds_each(summary)}"
    tables: list[Table | Text] = [Text(summary.title, "bold")] if summary.title else []
    unit = "" if all(is_fraction(key[3]) for key in shown) else " (nats, errors and counts as they are)"
    tables.append(Text(f"{title}; percent{unit}, 95 % interval"))
    for start in range(0, len(shown), several):
        part = shown[start : start + several]
        table = _arms_table()
        for key in part:
            table.add_column(_stacked(key), justify="right", no_wrap=True)
        for arm in arms:
            table.add_row(arm.name, *(_scored(arm.score(key)) for key in part))
        table.add_section()
        for title, value_of in (("chance", attrgetter("chance")), (CONSTANT, attrgetter("constant"))):
            values = [_of_any(arms, key, value_of) for key in part]
            if any(value is not None for value in values):
                table.add_row(
                    Text(title, "dim"),
                    *(Text(number(value, key[3]), "dim") for key, value in zip(part, values, strict=True)),
                )
        tables.append(table)
    if any(arm.learns for arm in arms):
        sources = _arms_table()
        sources.add_column("learns from", overflow="fold")
        for arm in arms:
            sources.add_row(arm.name, arm.learns or "–")
        tables.append(sources)
    cost = _arms_table()
    rows = costs(summary)
    for title in rows:
        cost.add_column(title, justify="right")
    failed = any(arm.failed for arm in arms)
    if failed:
        cost.add_column("failed seeds", justify="right")
    for arm in arms:
        failures = [Text(str(len(arm.failed)), "red" if arm.failed else "")] if failed else []
        cost.add_row(arm.name, *(wording(arm.cost) for wording in rows.values()), *failures)
    tables.append(cost)
    if len(shown) < len(keys) + len(others):
        tables.append(
            Text(f"{len(others)} metrics of other labels: with --all, in the report and in table.csv")
        )
    return tables


def _seeds_each(summary: StudySummary) -> str:
    """Return the number of seeds behind the arms' numbers, in words."""
    without = [len(arm.failed) + len(arm.unfinished) for arm in summary.arms]
    fewest, most = (len(summary.seeds) - count for count in (max(without), min(without)))
    return f"{counted(most, 'seed')} each" if fewest == most else f"{fewest} to {counted(most, 'seed')} each"


def _arms_table() -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    return table


def _scored(m: ScoreSummary | None) -> Text:
    if m is None:
        return Text(number(None))
    mean, low, high = cells_of(m)
    return Text.assemble(mean, (f" {low}–{high}", "dim"))


def _of_any(
    arms: Sequence[ArmSummary], key: Key, value_of: Callable[[ScoreSummary], float | None]
) -> float | None:
    """Return what is the same for all arms: chance, or the best constant answer, which older summaries lack."""
    values = (value_of(score) for arm in arms if (score := arm.score(key)) is not None)
    return next((value for value in values if value is not None), None)


def _other_labels(summary: StudySummary) -> list[Key]:
    """Return the main metrics of the labels that the verdict is not about first."""
    return list(dict.fromkeys(d.key for d in summary.differences if d.family == "on other labels"))


def _stacked(key: Key) -> Text:
    """Return a metric's name in lines no wider than its cells."""
    task, test, subset, metric = key
    where = test if subset == "all" else f"{test}, {subset}"
    lines = [line for text in (task, metric, where) for line in _lines(text)]
    return Text("\n".join(lines))


def _lines(text: str) -> list[str]:
    """Break a text behind spaces and underscores where it is wider than a cell.

    >>> _lines("logistic_background_top1")
    ['logistic_', 'background_top1']
    """
    lines = [""]
    for part in re.findall(r"[^ _]*[ _]?", text):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > _CELL:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def for_terminal(summary: AnySummary) -> AnySummary:
    """Return a summary whose arms have names that a terminal has room for, and that differ as the arms do."""
    summary = with_short_names(summary)
    names = shorten([arm.name for arm in summary.arms], NAME)
    arms = tuple(arm.model_copy(update={"name": names[arm.name]}) for arm in summary.arms)
    differences = tuple(d.model_copy(update={"a": names[d.a], "b": names[d.b]}) for d in summary.differences)
    reference = names.get(summary.reference, "")
    return summary.model_copy(update={"arms": arms, "differences": differences, "reference": reference})


def shorten(names: Sequence[str], width: int) -> dict[str, str]:
    """Return every name in at most ``width`` characters, such that names that differ still do.

    A long name loses its middle; where names would read alike, each shows the part from which they differ.

    >>> list(shorten(["clip", "vit@runs/long/path/a,tune=lora", "vit@runs/long/path/b,tune=lora"], 16).values())
    ['clip', 'vit@…a,tune=lora', 'vit@…b,tune=lora']
    """
    short = {name: _middle(name, width) for name in names}
    for alike in _alike(short):
        differ = next(k for k, letters in enumerate(zip_longest(*alike)) if len(set(letters)) > 1)
        for name in alike:
            short[name] = _from(name, differ, width)
    for alike in _alike(short):
        for count, name in enumerate(alike, 1):
            mark = f"…{count}"
            short[name] = name[: width - len(mark)] + mark
    return short


def _from(name: str, position: int, width: int) -> str:
    """Return a name with the part that begins with the option or the folder that holds a place."""
    if position < width - 4:
        return name if len(name) <= width else f"{name[: width - 1]}…"
    start = max(name.rfind(mark, 0, position + 1) for mark in ",@/:") + 1
    start = start if position - start < width // 2 else position
    room = width - width // 4 - 1
    tail = name[start:]
    return f"{name[: width // 4]}…{tail if len(tail) <= room else tail[: room - 1] + '…'}"


def _middle(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def _alike(short: Mapping[str, str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name, text in short.items():
        groups.setdefault(text, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def standings_table(standings: Sequence[ArmStanding], preset: StudyPreset) -> Table:
    """Tabulate arms by their mean rank over the tasks of a preset, with their difference from its baseline."""
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


def score_table(test: str, scores: Sequence[Mapping[str, Any]]) -> Table:
    """Return one run's scores on a test set: a row per metric, a column per subset, and what needs no model."""
    subsets = list(dict.fromkeys(row["subset"] for row in scores))
    count = counted(max(row["n"] for row in scores), "example")
    table = Table(title=f"{test}: {count}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task")
    table.add_column("metric", overflow="fold")
    for name in [*subsets, "chance", "best\nconstant"]:
        table.add_column(name, justify="right", no_wrap=name == "all")
    rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in scores:
        rows.setdefault((row["task"], row["metric"]), {})[row["subset"]] = row
    for key, by_subset in rows.items():
        first = next(iter(by_subset.values()))
        values = [_with_ends(by_subset.get(subset), subset == "all") for subset in subsets]
        floors = [first["chance"], first.get("constant")]
        table.add_row(*key, *values, *("–" if floor is None else f"{floor:.3f}" for floor in floors))
    return table


def _with_ends(row: Mapping[str, Any] | None, ends: bool) -> Text:
    if row is None:
        return Text("–")
    interval = f" {row['low']:.3f}–{row['high']:.3f}" if ends and "low" in row else ""
    return Text.assemble(f"{row['value']:.3f}", (interval, "dim"))


def score_tables(scores: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Tabulate the scores of one run: a table for each test set, one by type for each task of many subsets."""
    parts: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in scores:
        parts.setdefault((row["task"], row["test"]), []).append(row)
    many = {key for key, rows in parts.items() if len({row["subset"] for row in rows}) > _SUBSETS}
    few: dict[str, list[Mapping[str, Any]]] = {}
    for key, rows in parts.items():
        if key not in many:
            few.setdefault(key[1], []).extend(rows)
    return [
        *(score_table(test, rows) for test, rows in few.items()),
        *(_by_type(*key, parts[key]) for key in parts if key in many),
    ]


def beside_tables(scores: Sequence[Mapping[str, Any]]) -> list[Table | Text]:
    """Tabulate the scores of several models on all examples: a table for each test set, a row per metric and model."""
    tables: list[Table | Text] = []
    whole = [row for row in scores if row["subset"] == "all"]
    labels = _short([row["model"] for row in whole])
    first = next(iter(labels.values()), "")
    for test in dict.fromkeys(row["test"] for row in whole):
        test_rows = [row for row in whole if row["test"] == test]
        count = counted(max(row["n"] for row in test_rows), "example")
        table = Table(title=f"{test}: {count}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("metric, model", overflow="fold")
        for name in ("value", f"minus {first}"):
            table.add_column(Text(name), justify="right")
        for task, metric in dict.fromkeys((row["task"], row["metric"]) for row in test_rows):
            rows = [row for row in test_rows if (row["task"], row["metric"]) == (task, metric)]
            chance = rows[0]["chance"]
            table.add_row(
                f"{task} {metric}", "" if chance is None else Text(f"chance {chance:.3f}", "dim"), ""
            )
            for row in rows:
                difference = _minus(row["difference"])
                table.add_row(Text(f"  {labels[row['model']]}"), _with_ends(row, True), difference)
        tables.append(table)
    corrected = sum("p_holm" in (row["difference"] or ()) for row in whole)
    tables.append(
        Text(
            "95 % intervals over the examples, drawn alike for both models of a difference"
            + (
                f"; * p < 0.05 after Holm's correction over {counted(corrected, 'primary number')}"
                if corrected
                else ""
            )
        )
    )
    return tables


def _minus(difference: Mapping[str, float] | None) -> Text:
    if difference is None:
        return Text("–")
    star = "*" if difference.get("p_holm", 1.0) < 0.05 else ""
    ends = f" {difference['low']:+.3f} to {difference['high']:+.3f}"
    return Text.assemble(f"{difference['estimate']:+.3f}{star}", (ends, "dim"))


def _short(references: Sequence[str]) -> dict[str, str]:
    """Return the models' names without the folders of their files, where that tells them apart."""
    labels = {reference: Spec(reference).label for reference in references}
    return (
        labels if len(set(labels.values())) == len(labels) else {reference: reference for reference in labels}
    )


def _by_type(task: str, test: str, scores: Sequence[Mapping[str, Any]]) -> Table:
    """Tabulate a row per subset, ``"all"`` first and chance last; a column per metric."""
    metrics = list(dict.fromkeys(row["metric"] for row in scores))
    table = Table(title=f"{task} ({test})", title_justify="left")
    table.add_column("type", no_wrap=True)
    for name in ("n", *metrics):
        table.add_column(name, justify="right", overflow="fold", min_width=5)
    by_subset: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in scores:
        by_subset.setdefault(row["subset"], {})[row["metric"]] = row
    for subset, by_metric in by_subset.items():
        values = [f"{by_metric[m]['value']:.3f}" if m in by_metric else "–" for m in metrics]
        table.add_row(subset, str(max(row["n"] for row in by_metric.values())), *values)
    chances = [by_subset["all"][m]["chance"] if m in by_subset["all"] else None for m in metrics]
    table.add_row("chance", "", *("–" if c is None else f"{c:.3f}" for c in chances))
    return table
