"""Labels of the rows of an index: what its pass found, in files that are mapped, so that nothing is held a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from ...files import DamagedFileError, write_table, writing
from ...room import allocate
from ...types import Kind
from ..labels import Label, Rare, Values, label_of
from ..listed.labels import MANY, TEMPLATES, LabelFormat, bounded, labels_by
from ..listed.surveys import Survey
from ..sources import Records

FOUND = "found-labels"
"""Folder of an index, with a table for each shard that was read: the labels of its records, as texts."""

_BLOCK = 2**20


class LabelFile(BaseModel):
    """A label as ``data-index.json`` has it.

    Attributes:
        kind: of the label.
        names: of its classes or tags; none of other kinds.
        file: name of the file with the value of every row.
        rare: the classes or tags that are left out.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Kind
    names: tuple[str, ...]
    file: str
    rare: Rare | None = None


class ShardLabels(NamedTuple):
    """The labels of the records of a shard that are trained on, as they were read.

    Attributes:
        shard: its name.
        table: the file that holds their texts.
        many: the names of those that are none, as there are too many values of them, and are not in the table.
    """

    shard: str
    table: Path
    many: Sequence[str]

    def read(self, names: Sequence[str] | None = None) -> dict[str, pl.Series]:
        """Return the texts of all labels, or of those that there are of some names.

        Raises:
            DamagedFileError: if they cannot be read.
        """
        try:
            with self.table.open("rb") as file:  # a path's brackets would be taken for a pattern
                there = pl.read_parquet_schema(file)
                file.seek(0)
                columns = [name for name in there if names is None or name in names]
                return pl.read_parquet(file, columns=columns).to_dict(as_series=True)
        except (OSError, pl.exceptions.PolarsError) as error:
            said = " ".join(str(error).split())
            raise DamagedFileError(self.table, said, "delete the index and make it again") from None


def write_found(records: Records, table: Path) -> list[str]:
    """Write the labels of a shard's records as texts; return the names of those of too many values."""
    labels = records.labels()
    many = [name for name, values in labels.items() if bounded(name, Survey.of(values)).hopeless]
    table.parent.mkdir(exist_ok=True)
    write_table(table, pl.DataFrame({name: it for name, it in labels.items() if name not in many}))
    return many


def write_labels(
    folder: Path,
    columns: Sequence[ShardLabels],
    starts: Mapping[str, tuple[int, int]],
    held_out: Records,
    numbers: Sequence[str] = (),
    least: int | None = None,
) -> tuple[dict[str, LabelFile], dict[str, str]]:
    """Write the values of every row for each label; kinds are those that columns of tables have.

    Args:
        folder: of the index.
        columns: of the shards that are trained on and were read.
        starts: the first row of every shard that is trained on, and the number of its rows.
        held_out: the rows after these.
        numbers: labels that are numbers, though all of them are whole.
        least: the number of examples that a class or a tag needs; `counterpoint.data.labels.LEAST` unless given.

    Returns:
        The labels, and of what is none why.
    """
    held, count = held_out.labels(), sum(rows for _, rows in starts.values())
    surveys: dict[str, Survey] = {}
    for labels in chain((each.read() for each in columns), [held]):
        for name, values in labels.items():
            survey = bounded(name, Survey.of(values))
            surveys[name] = bounded(name, surveys[name] + survey) if name in surveys else survey
    many = {name for each in columns for name in each.many}
    files: dict[str, str] = {}

    def write(name: str, reading: LabelFormat) -> Values:
        files[name] = f"label-{len(files)}.npy"
        blank = reading.unknown(1)
        with writing(folder / files[name]) as part:
            rows = np.lib.format.open_memmap(
                part, "w+", blank.dtype, (count + len(held_out), *blank.shape[1:])
            )
            allocate(part)
            for start in range(0, len(rows), _BLOCK):
                rows[start : start + _BLOCK] = blank
            for each in columns:
                start, several = starts[each.shard]
                rows[start : start + several] = reading.values(each.read(reading.columns), several)
            rows[count:] = reading.values(held, len(held_out))
            rows.flush()
        return _mapped(folder / files[name])

    told = {name: it for name, it in surveys.items() if name not in many}
    made, refused = labels_by(told, write, count + len(held_out), numbers, least)
    written = {
        name: LabelFile(kind=label.kind, names=label.names, file=files[name], rare=label.rare)
        for name, label in made.items()
    }
    for path in folder.glob("label-*.npy"):  # of what was refused, and of an earlier state of the shards
        if path.name not in {file.file for file in written.values()}:
            path.unlink()
    return written, dict(sorted({**refused, **dict.fromkeys(many, MANY)}.items()))


def read_label(folder: Path, file: LabelFile) -> Label:
    """Return a label of every row, mapped from a file.

    Raises:
        ValueError: for values that its kind cannot have.
    """
    return label_of(file.kind, file.names, _mapped(folder / file.file), TEMPLATES, file.rare)


def _mapped(path: Path) -> Values:
    return np.load(path, mmap_mode="r")
