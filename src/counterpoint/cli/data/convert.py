"""counterpoint data convert: a data set's rows as shards."""

from __future__ import annotations

import shlex
from typing import Literal

from pydantic.dataclasses import dataclass as form

from ...forms import FORM, Count, Folder
from ..common.terminal import Terminal
from ._source import DatasetOptions


@form(frozen=True, config=FORM, kw_only=True)
class ConvertOptions(DatasetOptions):
    """Write a data set's rows as shards, for --data; the same command goes on where it was stopped."""

    out: Folder = None
    """Folder of the shards."""
    to: Literal["webdataset", "parquet"] = "webdataset"
    """The format of the shards, tar files or Parquet with the files inside."""
    size: Count | None = None
    """Most pixels of a picture's shorter side; a larger one becomes a JPEG of quality 95."""
    jobs: Count | None = None
    """Pictures that are made smaller at a time; as many as there are processors unless given."""


def main(options: ConvertOptions) -> int:
    console = Terminal()
    named = options.named
    if options.out is None:
        raise ValueError("where to? For example: --out shards")
    from ..common.progress import counting

    with console.status("loading"):
        from ...data.converting import convert
    with counting(console, "rows") as notify:
        counts = convert(
            named, options.out, to=options.to, size=options.size, jobs=options.jobs, on_rows=notify
        )
    rows = ", ".join(f"{count:,} of {split}" for split, count in counts.items())
    console.print(f"{options.out}: {sum(counts.values()):,} rows of {named}: {rows}", soft_wrap=True)
    console.print(
        f"see what fits: counterpoint data describe {shlex.quote(str(options.out))}", soft_wrap=True
    )
    return 0
