"""counterpoint report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Margin, Positional
from .common.arguments import parse
from .common.study import show
from .common.terminal import Terminal


@form(frozen=True, config=FORM)
class ReportOptions:
    """Write a study's summary, tables and report again from its runs, and show them."""

    study: Annotated[Path, Positional()]
    """A study folder."""
    margin: Margin | None = None
    """Another margin: differences within ± this are called equivalent. The study keeps it."""
    all: bool = False
    """Print every pair of arms in words too, and the metrics of every label of the data."""
    json: bool = False
    """Print the summary as JSON instead of tables."""


def main(arguments: Sequence[str]) -> int:
    options = parse(ReportOptions, arguments, "report")

    console = Terminal(stderr=options.json)
    with console.status("reading the runs"):
        from ..study.study import resummarise

        study = resummarise(options.study, options.margin)
    show(console, study, options.all, options.json)
    return 0
