"""counterpoint data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from .arguments import parse


@dataclass(frozen=True)
class Data:
    """Show a data set as a picture, or describe it in a table."""

    action: tyro.conf.Positional[Literal["show", "describe"]]
    """show writes a picture; describe prints a table."""
    source: tyro.conf.Positional[str] = "emoji"
    """emoji, emoji:artist, a folder, or a CSV, TSV, JSONL or Parquet file of pairs."""
    out: Path | None = None
    """Where show writes its PNG; DATA.png unless given."""
    json: bool = False
    """describe: print JSON instead of a table."""


def main(arguments: Sequence[str]) -> int:
    given = parse(Data, arguments, "data")
    import json

    from rich.console import Console

    console = Console(stderr=given.json)
    with console.status(f"loading {given.source}"):
        from .. import data

        source = data.load(given.source)
    if given.action == "show":
        name = Path(given.source).stem if Path(given.source).exists() else given.source.replace(":", "-")
        path = source.show(given.out or Path(f"{name}.png"))
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
        return 0
    description = source.describe()
    if given.json:
        print(json.dumps(description, indent=2, ensure_ascii=False))
        return 0
    from rich.table import Table

    for title, values in description.items():
        if isinstance(values, dict):
            table = Table("", "", title=title, title_justify="left", show_header=False)
            for key, value in values.items():
                table.add_row(str(key), f"{value:,}" if isinstance(value, int) else str(value))
            console.print(table)
        else:
            console.print(f"{title}: {values}", highlight=False, soft_wrap=True)
    return 0
