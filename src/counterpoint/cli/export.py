"""counterpoint export."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Folder, Positional
from .arguments import parse
from .terminal import Terminal

if TYPE_CHECKING:
    from rich.table import Table

    from ..exporting import Exported


@form(frozen=True, config=FORM)
class Export:
    """Write a model for another library, which reads it back before the folder is there; or say which can hold it."""

    model: Annotated[str, Positional()]
    """A run folder; open_clip:NAME@TAG, transformers:PATH, sentence-transformers:PATH, timm:NAME@hub."""
    to: str | None = None
    """The layout: open_clip, timm, transformers, … Unless given, all of them are listed, with the reason why one cannot
    hold the model."""
    out: Folder = None
    """A folder that does not exist."""
    json: bool = False
    """Print what was done, or what could be, as JSON."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Export, arguments, "export")
    if (options.to is None) != (options.out is None):
        raise ValueError("give both --to LAYOUT and --out FOLDER to export, or neither to see what can be")
    console = Terminal(stderr=options.json)
    with console.status("loading torch"):
        from .. import exporting
    if options.to is None or options.out is None:
        with console.status("reading the model"):
            why = exporting.refusals(exporting.opened(options.model))
        if options.json:
            print(json.dumps({name: {"can": not reason, "why_not": reason} for name, reason in why.items()}))
        else:
            console.print(_table(why))
        return 0
    with console.status("exporting"):
        done = exporting.export(options.model, options.to, options.out)
    if options.json:
        print(json.dumps({**dataclasses.asdict(done), "folder": str(done.folder)}))
        return 0
    for line in _told(done):
        console.print(line, soft_wrap=True)
    return 0


def _table(why: dict[str, str]) -> Table:
    """Return a row for each layout: what lies in the folder, or why it cannot hold the model."""
    from rich.table import Table

    from ..exporting import LAYOUTS

    table = Table("layout", "", "the folder holds, or why not", box=None, pad_edge=False)
    for name, reason in why.items():
        table.add_row(name, "no" if reason else "yes", reason or LAYOUTS.get(name).form)
    return table


def _told(done: Exported) -> list[str]:
    worst = ", ".join(f"{modality} {value:.0e}" for modality, value in done.differences.items())
    lines = [f"{done.folder}: {done.layout} reads it back; largest difference of embeddings: {worst}"]
    return [*lines, *(f"left out: {phrase}" for phrase in done.left_out)]
