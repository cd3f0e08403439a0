"""counterpoint diagnose."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Folder, Positional
from .arguments import parse
from .terminal import Terminal


@form(frozen=True, config=FORM)
class Diagnose:
    """Look inside a trained run: spread, gap, attention, frequencies, layers, curvature, on one page."""

    run: Annotated[Path, Positional()]
    """A run folder."""
    data: str | None = None
    """Another data set to look at it with; the run's own unless given."""
    out: Folder = None
    """The folder for diagnosis.html and diagnosis.json; the run's own unless given."""
    json: bool = False
    """Print the numbers as JSON instead of sentences."""


def main(arguments: Sequence[str]) -> int:
    given = parse(Diagnose, arguments, "diagnose")

    console = Terminal(stderr=given.json)
    with console.status("loading torch") as status:
        from ..study.report.diagnosis import PAGE, diagnose_run, not_measured

        status.update("looking inside")
        found = diagnose_run(
            given.run, given.data, given.out, tell=lambda title: status.update(f"looking inside: {title}")
        )
    if given.json:
        json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    for line in found["conclusion"]:
        console.print(line)
    console.print()
    for section in found["sections"].values():
        if section["numbers"]:
            console.print(f"• {section['title']}: {section['sentence']}")
    if missing := not_measured(found["sections"]):
        console.print(missing)
    console.print(f"\npage: {(given.out or given.run) / PAGE}", highlight=False, soft_wrap=True)
    return 0
