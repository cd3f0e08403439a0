"""counterpoint data show: examples on a sheet to look at, or a page that plays them."""

from __future__ import annotations

from pathlib import Path

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Folder
from ..common.terminal import Terminal
from ._source import DatasetOptions


@form(frozen=True, config=FORM, kw_only=True)
class ShowOptions(DatasetOptions):
    """Show examples of a data set in a picture, or in a page that plays sounds and clips."""

    out: Folder = None
    """Path of the picture, .png (DATA.png unless given), or of the page, .html."""


def main(options: ShowOptions) -> int:
    console = Terminal()
    named = options.named
    with console.status(f"loading {named}"):
        from ...data.source import load_any, short_name
        from ...pages.sheet import is_page

        path = options.out or Path(f"{short_name(named)}.png")
        is_page(path)  # a path that nothing can be written to is refused before anything is read
        load_any(named).show(path)
    console.print(f"wrote {path}", soft_wrap=True)
    return 0
