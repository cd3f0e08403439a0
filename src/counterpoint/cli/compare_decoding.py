"""counterpoint compare-decoding."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Count, Flat, Folder
from ..reasons import counted
from ..study.decoding.design import DecodingDesign, check_names
from .arguments import parse
from .terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from ..study.decoding.cost import Estimate


@form(frozen=True, config=FORM)
class CompareDecoding:
    """Ask one vision-language model the same questions, decoded by each method: does it help, and what does it cost?

    Plain sampling, and each method's plausibility rule with contrast 0, come by themselves.
    """

    study: Annotated[DecodingDesign, Flat()]
    batch_size: Count = 16
    """Prompts that are decoded at once."""
    out: Folder = None
    """The study's folder; the same command with the same folder goes on where it stopped. runs/… unless given."""
    dry_run: bool = False
    """Print what it will cost, and stop."""
    json: bool = False
    """Print the summary as JSON instead of tables."""


def main(arguments: Sequence[str]) -> int:
    given = parse(CompareDecoding, arguments, "compare-decoding")
    check_names(given.study)  # before torch is loaded, so that a typo is answered at once
    console = Terminal(stderr=given.json)
    with console.status("loading torch"):
        from ..study.decoding.study import conduct
        from ..study.study import DryRun
    from .progress import WorkProgress

    def on_cost(design: DecodingDesign, costs: Mapping[str, Estimate]) -> bool:
        console.print(cost_table(design, costs))
        return not given.dry_run

    with WorkProgress(console) as progress:
        try:
            study = conduct(
                given.study, given.out, batch_size=given.batch_size, listener=progress, on_cost=on_cost
            )
        except DryRun:
            return 0
    if given.json:
        json.dump(study.summary.plain(), sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    show(console, study)
    return 0


def cost_table(design: DecodingDesign, costs: Mapping[str, Estimate]) -> Table:
    """Return a table of what every arm has left to do, and of the time and cost of that."""
    from rich.table import Table

    from ..study.decoding.tables import times

    total = sum(cost.seconds for cost in costs.values())
    table = Table(
        title=f"{counted(len(design.roles), 'arm')} × {counted(len(design.seeds), 'seed')} × "
        f"{counted(len(design.tasks), 'task')} "
        f"({', '.join(design.tasks)}): about {total / 60:.1f} min left",
        title_justify="left",
        caption="measured on this machine on a few rows; what is finished is not repeated",
        caption_justify="left",
    )
    for heading in ("arm", "is", "units left", "forward passes per token", "minutes"):
        table.add_column(heading, justify="left" if heading in {"arm", "is"} else "right")
    for arm, role in design.roles.items():
        cost = costs.get(arm)
        cells = ["0", "", ""]
        if cost is not None:
            cells = [str(cost.units), times(cost.relative_passes), f"{cost.seconds / 60:.1f}"]
        table.add_row(arm, {"plain": "baseline", "rule": "rule alone", "method": "method"}[role], *cells)
    return table


def show(console: Any, study: Any) -> None:
    """Print the table, a sentence per method and metric, and what to do next."""
    from ..study.decoding.tables import COSTS
    from ..study.terminal import leaderboard, with_short_names

    for table in leaderboard(with_short_names(study.summary), COSTS, console.width):
        console.print(table)
    for sentence in study.sentences:
        console.print(f"• {sentence}")
    console.print(f"\nreport: {study.report}", soft_wrap=True)
    console.print(f"use it: {study.summary.winner.command}", soft_wrap=True)
