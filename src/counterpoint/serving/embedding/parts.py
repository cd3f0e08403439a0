"""Parts of vectors as units of work, for executors that have many processes, each with the model and the data.

A part's own folder, which is leased, lies in ``.parts`` below the vectors until all are done.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

from ... import execution, models
from ...data.source import load_any
from ...execution import FollowUp, ResourceRequest
from ...execution.listed import FILE as LIST
from ...execution.state import FILE as STATE
from ...files import read_json, write_json
from ...training.sharing.distributed import device_of
from ..vectors import VectorProvenance
from .batch_size import BatchSize
from .column import EmbeddedColumn, EmbeddingUnit

PARTS = ".parts"
TOLD = (LIST, STATE)
"""Files in a folder of vectors while others are told of the work."""
_MARK = "embedded.json"


@final
@dataclass(frozen=True)
class VectorChunk:
    """A part of the vectors of a column.

    Attributes:
        column: the column's name.
        number: of the part.
        rows: of the data, embedded in all parts.
        per_part: rows of a part.
        data: what is embedded, as it is written.
        about: the vectors' origin.
        batch_size: rows at a time; found by trial unless given.
        folder: the part's own.
        needs: of the part.
    """

    column: str
    number: int
    rows: int
    per_part: int
    data: str
    about: dict[str, Any]
    batch_size: int | None
    folder: Path
    needs: ResourceRequest = field(default_factory=ResourceRequest)

    lighter: ClassVar[str] = "a smaller --batch-size needs less memory"

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def path(self) -> Path:
        """The file of the part."""
        return self.folder.parents[1] / f"{self.key}.parquet"

    def read(self) -> EmbeddedColumn | None:
        if not self.path.exists():
            return None
        mark = self.folder / _MARK
        return read_json(mark, EmbeddedColumn, f"delete {mark}") if mark.exists() else EmbeddedColumn(0)

    def work(self, on_progress: execution.OnProgress) -> EmbeddedColumn:
        about, out = VectorProvenance(**self.about).model_dump_json(), self.folder.parents[1]
        column = _column(self.column, out, self.rows, self.per_part, self.data, about, self.batch_size)
        result = column.embed([self.number], on_progress)
        write_json(self.folder / _MARK, asdict(result))
        return result

    def outcome(self, result: EmbeddedColumn) -> str:
        return f"done ({result.speed})" if result.speed else "done"

    def plain(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("folder", "needs")}

    @classmethod
    def parse(cls, plain: dict[str, Any], folder: Path, needs: ResourceRequest) -> VectorChunk:
        if folder.parent.name != PARTS:  # what the unit writes goes two folders up
            raise ValueError(f"{folder} is no folder of such a unit: it lies in no {PARTS}")
        return cls(**plain, folder=folder, needs=needs)


def parts_of(
    columns: Sequence[EmbeddingUnit], data: str, batch_size: int | None, needs: ResourceRequest
) -> list[VectorChunk]:
    """Return the parts of some columns as units of work."""
    return [
        VectorChunk(
            column.key,
            number,
            column.count,
            column.per_part,
            data,
            column.about.model_dump(mode="json"),
            batch_size,
            path.parent / PARTS / path.stem,
            needs,
        )
        for column in columns
        for number, path in enumerate(column.paths)
    ]


def gather(folder: Path) -> None:
    """End the work on vectors whose parts are all there: what it was told in goes."""
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    for name in TOLD:
        with suppress(OSError):  # it is not there, or the folder never could be
            (folder / name).unlink()


GATHERED = FollowUp("vectors", more=False)


@lru_cache(4)
def _column(
    name: str, folder: Path, rows: int, per_part: int, data: str, about: str, batch_size: int | None
) -> EmbeddingUnit:
    """Open the model and the data of a column once in a process, and try out its batch size once.

    Raises:
        ValueError: if the model or the data differ from those where the work began.
    """
    origin = VectorProvenance.model_validate_json(about)
    model = models.load(origin.model).to(device_of("auto"))
    suited = load_any(data, inputs=model.inputs)
    shown = {*origin.modalities, "text"} & suited.columns.keys()
    for what, here, there in (
        ("model", model.fingerprint, origin.fingerprint),
        ("data", suited.identity(sorted(shown)), origin.data_fingerprint),
    ):
        if here != there:
            raise ValueError(
                f"the {what} on this machine differs ({here}) from where the work began ({there})"
            )
    return EmbeddingUnit(name, folder, origin, model, suited, rows, BatchSize(batch_size), per_part)
