"""counterpoint diagnose RUN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Folder, Positional
from ._look import Diagnosis, Look, Tell


@form(frozen=True, config=FORM, kw_only=True)
class Form(Look):
    """Look inside a trained run (spread, gap, attention, layers, curvature), or at a model that answers."""

    run: Annotated[Path, Positional()]
    """A run folder; with another --what, a model (see: counterpoint diagnose --what lens --help)."""
    data: str | None = None
    """Another data set to look at it with; the run's own unless given."""
    out: Folder = None
    """The folder for diagnosis.html and diagnosis.json; the run's own unless given."""


def look(options: Form, command: Sequence[str], tell: Tell) -> Diagnosis:
    """Examine a run and write its page."""
    from ...study.report.diagnosis import PAGE, diagnose_run, not_measured

    tell("looking inside")
    values = diagnose_run(
        options.run, options.data, options.out, tell=lambda title: tell(f"looking inside: {title}")
    )
    sections = values["sections"]
    measured = [f"• {s['title']}: {s['sentence']}" for s in sections.values() if s["numbers"]]
    missing = not_measured(sections)
    lines = [*values["conclusion"], "", *measured, *([missing] if missing else [])]
    return Diagnosis(values, lines, (options.out or options.run) / PAGE)
