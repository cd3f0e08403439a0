"""counterpoint diagnose MODEL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Flat, Folder, Positional
from ..common.files import Files
from ._look import Diagnosis, Look, Notify


@form(frozen=True, config=FORM, kw_only=True)
class Form(Look):
    """Look inside a model (spread, gap, attention, layers, curvature), a run above all, or at one that answers."""

    model: Annotated[str, Positional()]
    """A run folder, or another model that evaluate takes, with --data and --out; with another --what, a model that
    answers (see: counterpoint diagnose --what lens --help)."""
    data: str | None = None
    """Another data set to look at it with; the run's own unless given."""
    files: Annotated[Files, Flat()] = field(default_factory=Files)
    out: Folder = None
    """The folder for diagnosis.html and diagnosis.json; the run's own unless given."""


def look(options: Form, command: Sequence[str], notify: Notify) -> Diagnosis:
    """Examine a run and write its page."""
    from ...study.report.diagnosis import PAGE, diagnose_model, not_measured

    notify("looking inside")
    values = diagnose_model(
        options.model,
        options.files.of(options.data),
        options.out,
        notify=lambda title: notify(f"looking inside: {title}"),
    )
    sections = values["sections"]
    measured = [f"• {s['title']}: {s['sentence']}" for s in sections.values() if s["numbers"]]
    missing = not_measured(sections)
    lines = [*values["conclusion"], "", *measured, *([missing] if missing else [])]
    return Diagnosis(values, lines, (options.out or Path(options.model)) / PAGE)
