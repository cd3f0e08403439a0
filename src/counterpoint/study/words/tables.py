"""A study's numbers as tables: the metrics that they show and their order; CSV, Markdown and LaTeX files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from ...files import write_text
from ...reasons import counted
from ..schema import ArmSummary, Key, ScoreSummary, StudySummary
from .names import with_short_names

AnyArm = TypeVar("AnyArm", bound=ArmSummary)


def columns(summary: StudySummary) -> list[Key]:
    """Return the metrics that the main table shows: those of the main verdicts, then those of some arms."""
    main = [d.key for d in summary.differences if d.family == "main"]
    return list(
        dict.fromkeys([*(main or [summary.primary.key]), *(metric.key for metric in summary.of_some)])
    )


def beside_all(keys: Sequence[Key]) -> list[Key]:
    """Add to each metric on the clean examples the same metric on all examples."""
    whole = ([key] if key[2] == "all" else [key, (key[0], key[1], "all", key[3])] for key in keys)
    return list(dict.fromkeys(key for both in whole for key in both))


def ranked(arms: Sequence[AnyArm], key: Key) -> list[AnyArm]:
    """Return arms, best first by a metric; arms without a number come last."""

    def rank(arm: AnyArm) -> float:
        score = arm.score(key)
        if score is None or score.mean is None:
            return float("inf")
        return -score.mean if score.higher_is_better else score.mean

    return sorted(arms, key=rank)


def is_fraction(metric: str) -> bool:
    """Return whether a metric is a fraction, which is shown in percent; ranks, and numbers of something, are not.

    >>> is_fraction("i2t_R@1"), is_fraction("i2t_median_rank[local]"), is_fraction("words")
    (True, False, False)
    """
    return not metric.partition("[")[0].endswith(_COUNTED)


_MEASURED = ("nats", "nll", "mae")
_COUNTED = (*_MEASURED, "rank", "deviation", "mentions", "words")


def number(value: float | None, metric: str = "", signed: bool = False) -> str:
    """Write a metric's value: a fraction in hundredths, with one decimal, and nats and errors of numbers in their unit.

    >>> number(0.1234), number(None), number(-0.0001), number(105.0, "i2t_median_rank")
    ('12.3', '–', '0.0', '105.0')
    >>> number(0.0123, "ridge_size_mae"), number(105.0, "ridge_age_mae", signed=True), number(2.639, "nll")
    ('0.0123', '+105.0', '2.64')
    """
    if value is None:
        return "–"
    digits = ".3g" if metric.endswith(_MEASURED) and abs(value) < 100 else ".1f"
    text = f"{100 * value if is_fraction(metric) else value:{'+' if signed else ''}{digits}}"
    return "0.0" if text in {"-0.0", "+0.0"} else text


def cells_of(score: ScoreSummary) -> list[str]:
    """Write a score and the ends of its interval."""
    return [number(value, score.metric) for value in (score.mean, score.low, score.high)]


def heading(key: Key) -> str:
    task, test, subset, metric = key
    return f"{task} {metric}\n{test}" + ("" if subset == "all" else f", {subset}")


def write_tables(summary: StudySummary, folder: Path) -> None:
    """Write ``table.csv`` with every number, ``table.md`` and ``table.tex`` with the main ones."""
    write_text(folder / "table.csv", _csv(summary))
    short = with_short_names(summary)
    write_text(folder / "table.md", _markdown(short))
    write_text(folder / "table.tex", _latex(short))


def _csv(summary: StudySummary) -> str:
    text = io.StringIO()
    key = ("task", "test", "subset", "metric")
    fields = (*key, "mean", "low", "high", "n", "chance", "constant", "higher_is_better")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", *fields, *(f"seed {s}" for s in summary.seeds)])
    for arm in summary.arms:
        for metric in arm.metrics:
            per_seed = [metric.seeds.get(str(s), "") for s in summary.seeds]
            plain = metric.model_dump()
            writer.writerow([arm.name, *(plain[name] for name in fields), *per_seed])
    return text.getvalue()


def as_markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write the lines of a table whose first row is its head; all but the first column are numbers."""
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *body]]


def _grid(summary: StudySummary, between: str) -> tuple[list[str], list[list[str]]]:
    keys = beside_all(columns(summary))
    learns = any(arm.learns for arm in summary.arms)
    head = ["arm", *["learns from"] * learns, *(heading(key).replace("\n", ", ") for key in keys)]
    body = []
    for arm in summary.arms:
        scores = [arm.score(key) for key in keys]
        body.append(
            [arm.name, *[arm.learns or "–"] * learns]
            + [
                "–" if m is None else "{} ({}{between}{})".format(*cells_of(m), between=between)
                for m in scores
            ]
        )
    return head, body


def _markdown(summary: StudySummary) -> str:
    head, body = _grid(summary, " – ")
    lines = as_markdown([head, *body])
    shown = columns(summary)
    sentences = [f"- {d.sentence}" for d in summary.differences if d.key in shown]
    note = f"Percent, mean of {counted(len(summary.seeds), 'seed')} with its 95 % interval. {summary.multiplicity}"
    return "\n".join([*lines, "", note, "", *sentences]) + "\n"


def _latex(summary: StudySummary) -> str:
    head, body = _grid(summary, "--")

    lines = [r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}", r"\toprule"]
    lines += [" & ".join(map(_escaped, head)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_escaped, row)) + r" \\" for row in body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


_LATEX = str.maketrans(
    {mark: f"\\{mark}" for mark in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}
)


def _escaped(text: str) -> str:
    r"""Write a text so that LaTeX shows it as it is.

    >>> print(_escaped(r"~/a_b\c^{2}"))
    \textasciitilde{}/a\_b\textbackslash{}c\textasciicircum{}\{2\}
    """
    return text.translate(_LATEX)
