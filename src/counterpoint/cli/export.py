"""counterpoint export."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Folder, Positional
from .common.arguments import parse
from .common.terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from ..exporting import ExportResult, Possibility


@form(frozen=True, config=FORM)
class ExportOptions:
    """Write a model for another library, which reads it back before the folder is there; or say which can hold it."""

    model: Annotated[str, Positional()]
    """A run folder; open_clip:NAME@TAG, transformers:PATH, sentence-transformers:PATH, timm:NAME@hub."""
    to: str | None = None
    """The layout: open_clip, transformers, onnx, …; unless given, all are listed, and why some cannot hold it."""
    out: Folder = None
    """A folder that does not exist."""
    push: str | None = None
    """In place of --out: USER/NAME on the Hugging Face hub; a licence has to be chosen."""
    licence: str | None = None
    """The model's licence, by the hub's identifier: apache-2.0, mit, cc-by-sa-4.0, …, other."""
    allow_custom_code: bool = False
    """Export a model that the other library can load only where counterpoint is installed."""
    yes: bool = False
    """Replace the files of a repository that has some without asking."""
    json: bool = False
    """Print what was done, or what could be, as JSON."""


def main(arguments: Sequence[str]) -> int:
    options = parse(ExportOptions, arguments, "export")
    target = options.out or options.push
    if (options.to is None) != (target is None) or (options.out is not None and options.push is not None):
        raise ValueError(
            "give --to LAYOUT with --out FOLDER or --push USER/NAME to export, or none of them to see what can be"
        )
    if options.to is None and options.licence is not None:
        raise ValueError("--licence is written into an export: give --to LAYOUT, too")
    if options.push is None and options.yes:
        raise ValueError("--yes replaces the files of a repository: give --push USER/NAME, too")
    if options.push is not None and options.licence is None:
        raise ValueError("a model that is pushed needs a licence: choose one with --licence")
    console = Terminal(stderr=options.json)
    with console.status("loading torch"):
        from .. import exporting
    if options.to is None:
        with console.status("reading the model"):
            found = exporting.possibilities(exporting.opened(options.model))
        if options.json:
            print(json.dumps({name: _stated(each) for name, each in found.items()}))
        else:
            console.print(_table(found))
        return 0
    if options.out is not None:
        with console.status("exporting"):
            done = exporting.export(
                options.model,
                options.to,
                options.out,
                licence=options.licence,
                allow_custom_code=options.allow_custom_code,
            )
        where = str(done.folder)
    else:
        assert options.push is not None
        assert options.licence is not None
        pushed = exporting.push(
            options.model,
            options.to,
            options.push,
            licence=options.licence,
            agree=lambda question: options.yes or _agreed(question),
            allow_custom_code=options.allow_custom_code,
        )
        done, where = pushed.exported, pushed.address
    if options.json:
        print(json.dumps({**dataclasses.asdict(done), "folder": where}))
        return 0
    for line in _summary(done, where):
        console.print(line, soft_wrap=True)
    return 0


def _agreed(question: str) -> bool:
    """Ask on a terminal; elsewhere nobody could answer."""
    return sys.stdin.isatty() and input(f"{question}. Go on? [y/N] ").strip().lower() in ("y", "yes")


def _stated(possibility: Possibility) -> dict[str, bool | str]:
    needs = possibility.needs_counterpoint
    return {"can": not possibility.refusal, "why_not": possibility.refusal, "needs_counterpoint": needs}


def _table(possibilities: Mapping[str, Possibility]) -> Table:
    """Return a row for each layout: what lies in the folder, or why it cannot hold the model."""
    from rich.table import Table

    from ..exporting import LAYOUTS

    table = Table(box=None, pad_edge=False)
    table.add_column("layout", no_wrap=True)
    table.add_column("")
    table.add_column("needs\ncounterpoint")
    table.add_column("content, or why not", overflow="fold")
    for name, possible in possibilities.items():
        needs = "" if possible.refusal else "yes" if possible.needs_counterpoint else "no"
        answer = "no" if possible.refusal else "yes"
        table.add_row(name, answer, needs, possible.refusal or LAYOUTS.get(name).form)
    return table


def _summary(done: ExportResult, where: str) -> list[str]:
    worst = ", ".join(f"{modality} {value:.0e}" for modality, value in done.differences.items())
    lines = [f"{where}: {done.layout} reads it back; largest difference of embeddings: {worst}"]
    if done.needs_counterpoint:
        lines.append("needs counterpoint: it has to be installed wherever this export is loaded")
    return [*lines, *(f"left out: {phrase}" for phrase in done.left_out)]
