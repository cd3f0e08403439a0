"""counterpoint report."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Margin, Positional
from .arguments import parse
from .terminal import Terminal


@form(frozen=True, config=FORM)
class Report:
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
    given = parse(Report, arguments, "report")

    console = Terminal(stderr=given.json)
    with console.status("reading the runs"):
        from ..study.decoding.study import resummarise as again_decoding
        from ..study.design import kind_of
        from ..study.study import resummarise

        decoding = kind_of(given.study) == "decoding"
        study: Any = (again_decoding if decoding else resummarise)(given.study, given.margin)
    if given.json:
        json.dump(study.summary.plain(), sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    if decoding:
        from .compare_decoding import show as show_decoding

        show_decoding(console, study)
    else:
        from .compare import show

        show(console, study, given.all)
    return 0
