"""``metrics.parquet``: a row for every number of a run at a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import final

import polars as pl

from ...files import write_table
from ..record.metrics import FILE, SCHEMA, read_metrics
from ._tracker import Tracker


@final
class Parquet(Tracker):
    """File in the run folder, written whole whenever the run is saved; every run has it.

    Raises:
        DamagedFileError: if the numbers up to the step that the run goes on from cannot be read.
    """

    def __init__(self, folder: Path, since: int) -> None:
        self.path = folder / FILE
        self.rows: list[tuple[int, str, float]] = []
        if since:
            frame = read_metrics(folder).filter(pl.col("step") <= since)
            self.rows = [(int(s), str(n), float(v)) for s, n, v in frame.select(list(SCHEMA)).iter_rows()]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self.rows += [(step, name, float(value)) for name, value in values.items()]

    def after(self, step: int) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the steps after one, and the numbers of each."""
        for each, rows in groupby(self.rows, key=lambda row: row[0]):
            if each > step:
                yield each, {name: value for _, name, value in rows}

    def save(self) -> None:
        write_table(self.path, pl.DataFrame(self.rows, schema=SCHEMA, orient="row"))

    def close(self, status: str) -> None:
        self.save()
