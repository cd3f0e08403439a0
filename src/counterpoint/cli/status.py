"""counterpoint status."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, OutFolder, Positional
from .common.arguments import parse
from .common.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from ..execution.watch import UnitStatus

_EVERY = 2.0
"""Seconds between two looks."""


@form(frozen=True, config=FORM)
class StatusOptions:
    """Show how every run of a study stands: state, step, pairs/s, waiting for data, where, last sign of life.

    All of it is read from files in the runs' folders, on any machine that sees them.
    """

    folder: Annotated[OutFolder, Positional()]
    """The folder of a study, of vectors or an index that are being made, or of one run."""
    watch: bool = False
    """Look again every two seconds, until all has ended."""
    json: bool = False
    """Print the state as JSON instead of a table."""


def main(arguments: Sequence[str]) -> int:
    options = parse(StatusOptions, arguments, "status")
    if options.watch and options.json:
        raise ValueError(
            "--watch shows a table again and again, and --json is printed once: give one of them"
        )
    from ..execution.watch import standings

    if options.json:
        runs = standings(options.folder, time.time())
        json.dump([dataclasses.asdict(run) for run in runs], sys.stdout, indent=2)
        print()
        return 0
    console = Terminal()
    runs = standings(options.folder, now := time.time())
    if not options.watch:
        console.print(table(runs, now))
        return 0
    from rich.live import Live

    with Live(table(runs, now), console=console, auto_refresh=False) as live:
        while not all(run.ended for run in runs):
            time.sleep(_EVERY)
            runs = standings(options.folder, now := time.time())
            live.update(table(runs, now), refresh=True)
    return 0


def table(runs: Sequence[UnitStatus], now: float) -> Table:
    """Return a table of how the runs stand, and of how many there are of each state."""
    from rich.table import Table
    from rich.text import Text

    from ..reasons import a_second, counted

    statuses = [run.status for run in runs]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    shown = Table(title=f"{counted(len(runs), 'run')}: {counts}", title_justify="left")
    for heading in ("run", "state", "step", "pairs/s", "waiting for data", "where", "last sign of life"):
        shown.add_column(heading, justify="right" if heading in {"step", "pairs/s"} else "left")
    for run in runs:
        done = run.progress
        shown.add_row(
            Text(run.key),
            Text(f"{run.status}: {run.words}" if run.words and run.status != "done" else run.status),
            f"{done.done:,}/{done.total:,}" if done.total else f"{done.done:,}" if done.done else "",
            _written(done.numbers, "pairs_per_second", a_second),
            _written(done.numbers, "waiting_for_data", "{:.0%}".format),
            Text(run.where),
            "" if run.at is None else ago(now - run.at),
        )
    return shown


def _written(numbers: Mapping[str, float], name: str, write: Callable[[float], str]) -> str:
    return write(numbers[name]) if name in numbers else ""


def ago(seconds: float) -> str:
    """Put a time that has passed into words.

    >>> ago(4), ago(150), ago(9000), ago(200000)
    ('4 s ago', '2 min ago', '2 h ago', '2 days ago')
    """
    for name, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= (2 * size if name == "days" else size):
            return f"{seconds // size:.0f} {name} ago"
    return f"{max(seconds, 0):.0f} s ago"
