"""Common part of the commands that make or show a study: their last options, and the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass as form

from ...execution import WorkHandover
from ...forms import FORM, Folder
from .progress import LogFormat, progress_in
from .terminal import Terminal, print_json

if TYPE_CHECKING:
    from ...study.study import Study


@form(frozen=True, config=FORM)
class Output:
    """Options for the folder of a study and for its output."""

    out: Folder = None
    """The study's folder; the same command with the same folder goes on where it stopped. runs/… unless given."""
    dry_run: bool = False
    """Print what it will cost, and stop."""
    all: bool = False
    """Print every pair of arms in words too, and the metrics of every label of the data."""
    log_format: LogFormat = "text"
    """Form of progress: text, or JSON lines on standard error, one a minute for each run."""
    json: bool = False
    """Print the summary as JSON instead of tables."""


def carry_out(
    console: Terminal,
    output: Output,
    conduct: Callable[..., Study[Any]],
    show_cost: Callable[[Any, Mapping[str, Any]], None],
) -> Study[Any] | None:
    """Carry out a study with its progress on a terminal, and print what was found.

    None after a dry run, and where others go on with it.

    Args:
        console: of the command.
        output: where the study goes, and how much of it is printed.
        conduct: carries it out; takes ``folder``, ``listener`` and ``on_cost``.
        show_cost: prints what the study will cost.
    """
    from ...study.study import DryRunExit

    def on_cost(design: Any, costs: Mapping[str, Any]) -> bool:
        show_cost(design, costs)
        return not output.dry_run

    with progress_in(output.log_format, console) as progress:
        try:
            study = conduct(folder=output.out, listener=progress, on_cost=on_cost)
        except DryRunExit:
            return None
        except WorkHandover as handed:
            console.print(str(handed), soft_wrap=True)
            return None
    show(console, study, output.all, output.json)
    return study


def show(console: Terminal, study: Study[Any], every: bool, as_json: bool) -> None:
    """Print the answer, the table, on demand a sentence per pair, and what to do next; or the summary as JSON."""
    from ...study.words.terminal import for_terminal, leaderboard

    summary = study.summary
    if as_json:
        print_json(summary.plain())
        return
    short = for_terminal(summary)
    for line in study.kind.answer(short):
        console.print(line)
    console.print()
    for table in leaderboard(short, study.kind.costs, console.width, every):
        console.print(table)
    for difference in summary.differences if every else ():
        console.print(f"• {difference.sentence}")
    for warning in summary.warnings:
        console.print(f"! {warning}", style="yellow")
    console.print(f"\nreport: {study.report}", soft_wrap=True)
    console.print(f"use it: {summary.winner.command}", soft_wrap=True)
