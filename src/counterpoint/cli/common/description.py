"""A report on data as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from ...data.reporting import DataReport
from ...reasons import printable

_NAMES = 36  # columns of the terminal that names take


def show(console: Console, report: DataReport, alike: Path | None) -> None:
    """Print a report: a section each, warnings marked, the first of everything that is counted, and what to do next.

    Args:
        console: to print on.
        report: to show.
        alike: the picture of pictures that look alike, if there are any.
    """
    for part in _parts(report, alike):
        console.print(part, soft_wrap=isinstance(part, Text))
    if report.commands:
        console.print(Text("\nnext", style="bold"))
    if report.repair:
        console.print(Text(f"  first: {report.repair}", style="yellow"), soft_wrap=True)
    for command, why in report.commands:
        console.print(f"  {why}:")
        console.print(f"  $ {command}", style="bold", soft_wrap=True)


def _parts(report: DataReport, alike: Path | None) -> Iterator[RenderableType]:
    files = {"left out": ("all of them", report.left_out), "duplicates": ("to look at", alike)}
    for title, findings in report.sections.items():
        yield Text(f"\n{title}", style="bold")
        table = Table.grid(Column(width=1), Column(width=_NAMES), Column(overflow="fold"), padding=(0, 1))
        for finding in findings:
            # A `Text` drops some control characters when it is made: they are escaped before.
            text = Text(printable(finding.text))
            for example in finding.examples:
                text.append(printable(f"\n{example}"), style="dim")
            style = "yellow" if finding.warning else ""
            name = Text(printable(finding.name), style=style)
            table.add_row(Text("!" if finding.warning else "", style=style), name, text)
        role, path = files.get(title, ("", None))
        yield table
        if path is not None:
            # On a line of its own: a path that is broken over lines cannot be copied.
            yield Text(printable(f"  {role}: {path}"))
