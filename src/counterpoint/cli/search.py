"""counterpoint search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass as form

from ..forms import FORM, Count, Positional
from .common.arguments import parse
from .common.terminal import Terminal, print_json

if TYPE_CHECKING:
    from ..serving import Hits

_LONGEST = 80  # characters of a text in the table


@form(frozen=True, config=FORM)
class SearchOptions:
    """Find what is most like a text, a picture or another example in an index, by the model that made its vectors."""

    index: Annotated[str, Positional()]
    """The folder of an index, or its address."""
    query: Annotated[str | None, Positional()] = None
    """A text."""
    image: Path | None = None
    """Search by a picture, from its file."""
    file: Path | None = None
    """Search by what a file holds: a sound, a film, a recording, by its ending."""
    queries: Path | None = None
    """Search by each line of a file of texts."""
    k: Count | None = None
    """The number of rows to find, 10 unless given; fewer where fewer fulfil the condition."""
    where: str | None = None
    """An SQL condition on the columns: "split = 'train' AND text LIKE '%red%'"."""
    modality: str | None = None
    """Search vectors of this one; unless given, pictures where there are pictures and texts. all searches every one: a
    text is in general nearer to texts than to pictures."""
    json: bool = False
    """Print JSON instead of a table; of several queries, a list of their results."""


def main(arguments: Sequence[str]) -> int:
    options = parse(SearchOptions, arguments, "search")

    sources = [options.query, options.image, options.file, options.queries]
    if sum(value is not None for value in sources) != 1:
        raise ValueError("give one of these: a text, --image FILE, --file FILE, or --queries FILE")
    lines = None if options.queries is None else _lines(options.queries)
    console = Terminal(stderr=options.json)
    with console.status("loading torch"):
        from ..serving import Index
    with console.status("searching"):
        index = Index.open(options.index)
        queries = [value for value in sources[:-1] if value is not None] if lines is None else lines
        hits = index.search(queries, options.k, where=options.where, modality=options.modality)
    if options.json:
        several = [{"query": line, "results": [*one]} for line, one in zip(lines or [], hits, strict=False)]
        print_json(several if lines is not None else [*hits[0]])
        return 0
    for number, one in enumerate(hits):
        _show(console, one, "" if lines is None else lines[number])
    if index.about.attribution:
        console.print(index.about.attribution, soft_wrap=True)
    return 0


def _lines(file: Path) -> list[str]:
    """Return the texts of a file, a line each; empty lines are none."""
    try:
        texts = file.read_text(encoding="utf-8-sig").splitlines()  # editors may put a mark before it
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {file}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text in UTF-8") from None
    if not (lines := [text for text in texts if text.strip()]):
        raise ValueError(f"{file} holds no query: write one a line")
    return lines


def _show(console: Terminal, hits: Hits, title: str) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None)
    table.add_column("score", justify="right")
    captioned = hits.rows["text"].null_count() < len(hits)  # pictures may have no captions
    shown = ("key", "modality", "split", *(["text"] if captioned else []))
    for name in shown:
        table.add_column(name, overflow="fold" if name == "key" else "ellipsis")
    for row in hits:
        cells = [str(row[name] or "")[:_LONGEST] for name in shown]
        table.add_row(f"{row['score']:.3f}", *map(Text, cells))
    console.print(table)
