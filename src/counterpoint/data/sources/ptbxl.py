"""PTB-XL: electrocardiograms of 12 leads with reports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import final

import polars as pl

from ._files.asset import Asset
from ._files.locations import leads_out, state_of
from ._ledger import Ledger
from ._options import SourceOptions
from ._record import Cell, Record, Records
from ._source import Shard, Source

_DATABASE, _STATEMENTS = "ptbxl_database.csv", "scp_statements.csv"
_NEEDED = ("ecg_id", "patient_id", "report", "scp_codes", "strat_fold")
_FILES = ("filename_lr", "filename_hr")
_FOLDS = {**dict.fromkeys(range(1, 9), "train"), 9: "validation", 10: "test"}


@final
class PtbXl(Source):
    """Electrocardiograms of 12 leads and ten seconds with their reports: ``ptbxl:PATH``, the folder as it is unpacked.

    The columns are ``series``, at 100 steps a second where these files are there and at 500 otherwise, and ``text``,
    the reports, most of them German. Splits are the folds that its authors recommend: 1 to 8, 9 and 10; a patient is in
    one of them. The label ``superclass`` is the diagnostic superclass (``NORM``, ``MI``, ``STTC``, ``CD``, ``HYP``) of
    records that have one alone; each of these is a label of its own, too, ``yes`` or ``no``.

    Source: Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", Scientific Data 7:154
    (2020).
    """

    precedence = 0
    head = "ptbxl:"

    def recognises(self, written: str) -> bool:
        return written.startswith(self.head)

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        folder = Path(written.removeprefix(self.head))
        files = [folder / name for name in (_DATABASE, _STATEMENTS)]
        for file in files:
            if not file.is_file():
                raise FileNotFoundError(
                    f"{written}: there is no {file}: give the folder that PTB-XL is unpacked into"
                )
        return [Shard(folder.name, str(files[0]), "ptbxl", state_of(files), options)]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read the database.

        Raises:
            ValueError: if it is no table, or lacks a column.
        """
        return Records.collect(
            _records(Path(shard.location), ledger), {"series": "series", "text": "text"}, gaps=True
        )


def _records(database: Path, ledger: Ledger) -> Iterator[Record]:
    rows, superclasses = _table(database, _NEEDED), _superclasses(database.with_name(_STATEMENTS))
    for number, row in enumerate(rows.iter_rows(named=True), 1):
        where = f"{database}, row {number}"
        stated = [row[name] for name in _FILES if row.get(name)]
        if leading := next(filter(leads_out, stated), None):
            ledger.add("lost", "path that leads out of the folder", database, number, leading)
            continue
        named = [database.parent / f"{name}.hea" for name in stated]
        header = next(filter(Path.is_file, named), None)
        if header is None:
            ledger.add("lost", "no such file", database, number, str(named[0]) if named else "no file named")
            continue
        try:
            fold, codes = int(float(row["strat_fold"])), ast.literal_eval(row["scp_codes"])
            classes = {superclasses[code] for code in codes if code in superclasses}
            split = _FOLDS[fold]
        except (TypeError, ValueError, SyntaxError, KeyError) as error:
            raise ValueError(f"{where}: no fold from 1 to 10, or no codes of statements: {error}") from error
        labels = {one: "yes" if one in classes else "no" for one in sorted({*superclasses.values()})}
        if len(classes) == 1:
            labels["superclass"] = min(classes)
        report = (row["report"] or "").strip()
        cells: dict[str, Cell] = {"series": Asset.of(header), "text": (report,) if report else None}
        yield Record(
            cells, row["ecg_id"], _whole(row["ecg_id"]), split, _whole(row["patient_id"]), labels, where
        )


def _superclasses(statements: Path) -> dict[str, str]:
    """Return the superclass of each diagnostic statement."""
    rows = _table(statements, ("diagnostic", "diagnostic_class"))
    code = rows.columns[0]  # which has no name
    return {
        row[code]: row["diagnostic_class"]
        for row in rows.iter_rows(named=True)
        if row["diagnostic_class"] and float(row["diagnostic"] or 0) == 1
    }


def _table(path: Path, needed: tuple[str, ...]) -> pl.DataFrame:
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a table: {' '.join(str(error).split())}") from error
    if missing := [name for name in needed if name not in rows.columns]:
        raise ValueError(f"{path} is no table of PTB-XL: it has no column {missing[0]}")
    return rows


def _whole(number: str | None) -> str | None:
    """Return a number as it is without a decimal point.

    >>> _whole("15709.0")
    '15709'
    """
    return None if number is None else number.removesuffix(".0")
