"""A sheet: cards of examples, line by line, as a page that shows and plays them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..modalities import MODALITIES
from .page import environment, fill
from .things import PageExample, thing


@dataclass(frozen=True)
class Card:
    """Things that belong to one example, and lines of text below them."""

    things: Sequence[PageExample]
    lines: Sequence[str] = ()


def cards(columns: Mapping[str, tuple[str, Sequence[Any]]]) -> list[Card]:
    """Return a card of each example, all its columns together.

    Args:
        columns: of each its modality, and the examples in their raw form, None for a gap.
    """
    count = min(len(examples) for _, examples in columns.values())
    return [_card({it: (kind, them[k]) for it, (kind, them) in columns.items()}) for k in range(count)]


def _card(columns: Mapping[str, tuple[str, Any]]) -> Card:
    there = {column: it for column, it in columns.items() if it[1] is not None}
    shown = [column for column, (kind, _) in there.items() if MODALITIES.get(kind).tell is None]
    # What is told says itself what it is, and so does one thing alone.
    names = shown if len(shown) > 1 else ()
    return Card([thing(*it, column if column in names else "") for column, it in there.items()])


def is_page(path: Path) -> bool:
    """Return that a sheet is written as a page, by the ending of its file; else it is a picture.

    >>> is_page(Path("sheet.html")), is_page(Path("sheet.PNG"))
    (True, False)

    Raises:
        ValueError: for an ending of neither.
    """
    ending = path.suffix.lower()
    if ending not in (".html", ".png"):
        raise ValueError(
            f"{path}: examples are shown in a picture, .png, or on a page that plays sounds and clips too, .html"
        )
    return ending == ".html"


def write_sheet(path: Path, title: str, lines: Mapping[str, Sequence[Card]], note: str, kind: str) -> Path:
    """Write lines of cards, each with its title, as a page.

    Args:
        path: of the page.
        title: of the page.
        lines: the cards of each, by its title.
        note: stands below them.
        kind: of page, the command that writes it.
    """
    template = environment().get_template("sheet.html.j2")
    return fill(path, template, title=title, lines=lines, note=note, kind=kind)
