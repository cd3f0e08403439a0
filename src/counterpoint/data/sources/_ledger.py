"""The ledger of what was not read: each row that was left out, where it is and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, final

import polars as pl

from ._files.locations import readable

Kind = Literal["lost", "passed over", "guessed"]
"""Kinds of entries: an example that is lost, a file that is no example, a guess about encodings, columns or tables."""

COLUMNS = "columns"
"""The reason of entries about columns whose use was guessed; the detail says which others are possible."""
ALSO_POSSIBLE = "also possible: "
"""The words before other columns in such details."""
_SCHEMA = {"kind": pl.String, "reason": pl.String, "file": pl.String, "row": pl.String, "detail": pl.String}
_NAMED = 3  # entries that a message names


@final
class Ledger:
    """A list of everything that a source holds and a data set does not, each entry with its reason."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []
        self._rows: list[tuple[str, str, str, str, str]] = []

    def add(self, kind: Kind, reason: str, file: object, row: object = "", detail: str = "") -> None:
        """Enter one thing.

        Args:
            kind: lost examples count towards the share that may be, nothing else does.
            reason: the same words for all that have it, as they are counted by it.
            file: that holds it.
            row: the number of a table's row from 1, a name in an archive; empty where the file is meant.
            detail: further words.
        """
        self._rows.append((kind, reason, readable(str(file)), readable(str(row)), readable(detail)))

    def add_all(self, kind: Kind, reason: str, file: object, rows: pl.Series, details: pl.Series) -> None:
        """Enter many rows of one file."""
        if len(rows):
            self._frames.append(self._entered)
            self._rows = []
            columns = {"kind": pl.lit(kind), "reason": pl.lit(reason), "file": pl.lit(str(file))}
            frame = pl.DataFrame({"row": rows.cast(pl.String), "detail": details}).with_columns(**columns)
            self._frames.append(frame.select(*_SCHEMA))

    @property
    def frame(self) -> pl.DataFrame:
        """Every entry: ``kind``, ``reason``, ``file``, ``row``, ``detail``."""
        return pl.concat([*self._frames, self._entered])

    @property
    def _entered(self) -> pl.DataFrame:
        return pl.DataFrame(self._rows, schema=_SCHEMA, orient="row")

    @property
    def lost(self) -> int:
        """The number of examples that are lost."""
        return len(self.frame.filter(kind="lost"))

    def counts(self) -> Mapping[str, str]:
        """Return a line for each kind and reason: how many there are, and the first of them."""
        frame = self.frame
        columns = frame.filter(kind="guessed", reason=COLUMNS)["detail"]
        guesses = {"guessed": "; ".join(columns.unique(maintain_order=True))} if len(columns) else {}
        others = frame.filter((pl.col("kind") != "guessed") | (pl.col("reason") != COLUMNS))
        return guesses | {
            f"{kind}: {reason}": f"{len(part):,}: {named(part)}"
            for (kind, reason), part in others.group_by("kind", "reason", maintain_order=True)
        }

    def check(self, name: str, usable: int, broken: float, path: Path) -> None:
        """Refuse data of which too much is lost.

        Raises:
            ValueError: if more examples are lost than ``broken`` of all (one may always be), or none is left.
        """
        lost = self.frame.filter(kind="lost")
        total = usable + len(lost)
        if len(lost) and (not usable or len(lost) > max(1, broken * total)):
            reasons = "; ".join(
                f"{len(part):,} × {reason} ({named(part)})"
                for (reason,), part in lost.group_by("reason", maintain_order=True)
            )
            raise ValueError(
                f"{name}: {len(lost):,} of {total:,} examples cannot be used: {reasons}; repair or remove them "
                f"(at most {100 * broken:g} % may be left out; --broken SHARE allows more); "
                f"all are listed in {path}"
            )

    def write(self, path: Path) -> None:
        """Write all entries as CSV."""
        self.frame.write_csv(path)


def named(entries: pl.DataFrame) -> str:
    """Return the first entries as one line; a file that holds several is named once."""
    lines, before = [], None
    for row in entries.head(_NAMED).iter_rows(named=True):
        where = f"row {row['row']}" if row["row"].isdigit() else row["row"]
        if row["file"] != before or not where:
            where = f"{row['file']}, {where}" if where else row["file"]
        lines.append(f"{where}: {row['detail']}" if row["detail"] else where)
        before = row["file"]
    return "; ".join(lines) + ("; …" if len(entries) > _NAMED else "")
