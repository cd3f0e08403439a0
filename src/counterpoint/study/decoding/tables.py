"""Tables of the costs of decoding and of the worth of each method, beside the tables of every study."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ...files import write_text
from ..schema import DecodingSummary
from ..words.tables import as_markdown, ranked
from ..words.terminal import Costs
from .conclusions import answer


def times(value: float | None) -> str:
    """Write a multiple of plain decoding; a dash for None.

    >>> times(2.0), times(None)
    ('2.00 ×', '–')
    """
    return "–" if value is None else f"{value:.2f} ×"


COSTS: Costs = {
    "forward passes per token": lambda cost: times(cost.relative_passes),
    "decoder positions per token": lambda cost: times(cost.relative_positions),
    "time per reply": lambda cost: times(cost.relative_seconds),
}
"""Rows of cost, all in times of plain decoding."""

_FIELDS = ("relative_passes", "relative_positions", "relative_seconds", "prompts", "seconds")


def write_costs(summary: DecodingSummary, folder: Path) -> None:
    """Write ``costs.csv``, and the costs and conclusions below the numbers of ``table.md``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "role", *_FIELDS])
    for arm in summary.arms:
        cost = arm.cost.model_dump()
        writer.writerow([arm.name, arm.role, *(cost[name] for name in _FIELDS)])
    write_text(folder / "costs.csv", text.getvalue())
    table = (folder / "table.md").read_text(encoding="utf-8")
    head = ["arm", *COSTS]
    order = ranked(summary.arms, summary.primary.key)
    body = [[arm.name, *(write(arm.cost) for write in COSTS.values())] for arm in order]
    lines = ["", "In times of plain sampling:", "", *as_markdown([head, *body]), ""]
    lines += [f"- {line}" for line in answer(summary)]
    write_text(folder / "table.md", table + "\n".join(lines) + "\n")
