"""counterpoint diagnose MODEL."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, FlatField, Folder, Positional
from ..common.files import FileOptions
from ._options import DiagnoseOptions, Diagnosis, Notify


@form(frozen=True, config=FORM, kw_only=True)
class InsideOptions(DiagnoseOptions):
    """Look inside a model, a run above all, or at one that answers.

    ``--what inside`` measures spread, gap, attention and layers. ``--what all`` also measures what takes gradients many
    times: inversion, and the curvature of the loss. It takes about five times as long. ``--what places`` draws what the
    patches of twelve pictures say, the answers of a segmenter, and what a masked model makes of hidden patches.
    ``--what words`` draws which patches each word of twelve texts rests on, the captions that a captioner writes beside
    the true ones, and the queries whose right answer a joint score lifts or loses.
    """

    model: Annotated[str, Positional()]
    """A run folder, or another model that evaluate takes, with --data and --out; with another --what, a model that
    answers (see: counterpoint diagnose --what lens --help)."""
    data: str | None = None
    """Another data set to look at it with; the run's own unless given."""
    files: Annotated[FileOptions, FlatField()] = field(default_factory=FileOptions)
    out: Folder = None
    """The folder for diagnosis.html and diagnosis.json; the run's own unless given."""


def diagnose(options: InsideOptions, command: Sequence[str], notify: Notify) -> Diagnosis:
    """Examine a run and write its page."""
    from ...diagnostics.report.sections import OF_PLACES, OF_WORDS, SECTIONS
    from ...study.report.diagnosis import PAGE, diagnose_model, not_measured

    notify("reading the model and the data")
    start = time.monotonic()

    forecast: list[float] = []

    def progressed(title: str, share: float) -> None:
        spent = time.monotonic() - start
        if not forecast:  # the first section embeds the test rows, and is the unit of the others' costs
            forecast.append(spent / share)
            print(f"forecast: about {forecast[0]:.0f} s", file=sys.stderr)
        left = f"about {spent * (1 / share - 1):.0f} s left" if share < 1 else "writing the page"
        bar = "█" * round(20 * share)
        notify(f"{bar:░<20} {share:.0%} {title}, {left}")

    values = diagnose_model(
        options.model,
        options.files.of(options.data),
        options.out,
        notify=progressed,
        slow=options.what == "all",
        names={"places": OF_PLACES, "words": OF_WORDS}.get(options.what, SECTIONS),
    )
    sections = values["sections"]
    measured = [f"• {s['title']}: {s['sentence']}" for s in sections.values() if s["numbers"]]
    missing = not_measured(sections)
    lines = [*values["conclusion"], "", *measured, *([missing] if missing else [])]
    return Diagnosis(values, lines, (options.out or Path(options.model)) / PAGE)
