"""counterpoint work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, OutFolder, Positional
from .common.arguments import parse
from .common.progress import LogFormat, progress_in
from .common.terminal import Terminal


@form(frozen=True, config=FORM)
class WorkOptions:
    """Take the next unfinished run of a study, one after another, until none is left; then write its report.

    Start any number of these, on any machine that sees the folder. A run that a killed, removed or hanging process had
    in hand is taken up from its checkpoint, and none is done twice.
    """

    folder: Annotated[OutFolder, Positional()]
    """The folder of a study, or of vectors, an index or a report on data that are being made, where the command that
    began it has listed its runs."""
    wait: bool = True
    """Wait for runs in other hands, take up what is given up there, and write the report; with --no-wait, end when no
    run is left to take."""
    log_format: LogFormat = "text"
    """Form of progress: text, or JSON lines on standard error, one a minute for each run."""


def main(arguments: Sequence[str]) -> int:
    options = parse(WorkOptions, arguments, "work")
    from ..execution import WorkList

    WorkList.read(options.folder)  # before anything heavy is loaded
    console = Terminal()
    from ..execution import work

    with progress_in(options.log_format, console) as progress:
        work(options.folder, wait=options.wait, listener=progress)
    report = Path(options.folder) / "report.html"
    if report.exists():
        console.print(f"report: {report}", soft_wrap=True)
    return 0
