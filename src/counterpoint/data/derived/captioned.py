"""Data whose rows to train on have texts that a model wrote for their pictures, or chose for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import polars as pl
from jaxtyping import Bool, Shaped
from pydantic import BaseModel, ConfigDict

from ...files import FORMAT, read_json, read_table, write_json, writing
from ..base import Data, Rows
from ..columns import TEXT
from ..fingerprint import bytes_of
from ._derived import DerivedData

MANIFEST, TABLE = "captions.json", "captions.parquet"
_ID, _SCORE = "id", "similarity"


class CaptionsManifest(BaseModel):
    """``captions.json``: how the captions of a folder were made.

    Attributes:
        source: the data, as it is named.
        model: that wrote the captions, or that compared the queries with the pictures.
        judge: the model whose similarities decided which captions stay.
        queries: the data whose texts were given to the pictures; empty where captions were written.
        options: further settings, by name.
    """

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    source: str
    model: str
    judge: str
    queries: str = ""
    options: dict[str, float] = {}


@final
class CaptionedData(DerivedData):
    """Data with other texts in its rows to train on; rows that got none are not trained on.

    Other rows keep the texts that they have.

    Args:
        data: with pictures.
        name: of this data.
        captions: a row for each caption: the ``id`` of the data's row and the ``text``. A row may have several texts.

    Raises:
        ValueError: where no row to train on has a caption.
    """

    part: ClassVar[str] = "captions"

    def __init__(self, data: Data, name: str, captions: pl.DataFrame) -> None:
        super().__init__(data, name)
        self.columns = {**data.columns, TEXT: TEXT}
        self.changes = ("captions",)
        self._texts: dict[int, tuple[str, ...]] = {
            id_: tuple(texts)
            for id_, texts in captions.group_by(_ID, maintain_order=True).agg(pl.col(TEXT)).iter_rows()
        }
        rows = data.splits.train
        captioned = np.array([id_ in self._texts for id_ in data.ids[rows].tolist()], dtype=bool)
        if not captioned.any():
            raise ValueError(f"{name} has no caption for any row of {data.name} to train on")
        self.splits = replace(data.splits, train=rows[captioned], tasks=(), sources=())
        self._captioned = np.zeros(len(data), dtype=bool)
        self._captioned[self.splits.train] = True

    @classmethod
    def of_folder(cls, folder: Path, data: Data, name: str) -> CaptionedData:
        """Read a folder that `write_captions` wrote.

        Raises:
            DamagedFileError: for a table that cannot be read.
        """
        captions = read_table(
            folder / TABLE,
            {_ID: pl.Int64(), TEXT: pl.String()},
            f"delete {folder} and make the captions again",
        )
        return cls(data, name, captions)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        if column != TEXT:
            return super().present(column, rows)
        given = self._captioned[rows]
        return given | super().present(TEXT, rows) if TEXT in self.data.columns else given

    def read(self, column: str, rows: Rows) -> Any:
        return [texts[0] for texts in self._texts_of(rows)] if column == TEXT else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self._texts_of(rows) if column == TEXT else super().read_training(column, rows)

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        if column != TEXT or (not self._captioned[row] and TEXT in self.data.columns):
            return super().evaluation_texts(column, row)
        return self._texts_of(np.array([row]))[0]

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {
            **super().digests(),
            TEXT: [bytes_of(texts) for texts in self._texts_of(np.arange(len(self)))],
        }

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        captions = [bytes_of(texts)[:16].ljust(16) for texts in self._texts_of(np.arange(len(self)))]
        return np.array(captions, dtype="S16")[:, None]

    def _texts_of(self, rows: Rows) -> list[tuple[str, ...]]:
        """Return the texts of rows: the new ones, those of the other data, or an empty one where neither has any."""
        others = self.data.read_training(TEXT, rows) if TEXT in self.data.columns else [("",)] * len(rows)
        return [
            self._texts[id_] if captioned else tuple(other)
            for id_, captioned, other in zip(
                self.ids[rows].tolist(), self._captioned[rows].tolist(), others, strict=True
            )
        ]


def write_captions(
    folder: Path,
    manifest: CaptionsManifest,
    ids: Sequence[int],
    texts: Sequence[str],
    scores: Sequence[float],
) -> None:
    """Write captions as a folder that ``--data`` takes; the table last, so that it stands for a whole folder."""
    write_json(folder / MANIFEST, manifest.model_dump())
    table = pl.DataFrame(
        {_ID: ids, TEXT: texts, _SCORE: scores}, schema={_ID: pl.Int64, TEXT: pl.String, _SCORE: pl.Float64}
    )
    with writing(folder / TABLE) as part:
        table.write_parquet(part)


def begin_captions(folder: Path, manifest: CaptionsManifest) -> None:
    """Write the manifest of captions that are still to be made.

    Raises:
        ValueError: for a folder of captions that were made otherwise.
    """
    if (folder / MANIFEST).exists():
        before = read_json(folder / MANIFEST, CaptionsManifest, f"delete {folder}")
        if before != manifest:
            raise ValueError(
                f"{folder} holds captions that were made otherwise ({before.model_dump(exclude={'format'})}): choose "
                "another folder, or delete it"
            )
    write_json(folder / MANIFEST, manifest.model_dump())
