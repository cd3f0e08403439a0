"""The vectors of one column: read ahead, embedded in batches, written part by part."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from pyarrow import parquet
from torch import Tensor

from ... import execution
from ...data.base import Data, Rows
from ...data.labels import Label, Numbers
from ...data.replaced import Replacement
from ...data.sides import SIDES
from ...methods.tower_method import TowerMethod
from ...networks.base import TextTower
from ...networks.towers.parts.pooling import inside
from ...reasons import counted, out_of_memory
from ...training.step.precision import Precision
from ..vectors import RESERVED, VectorProvenance, part_paths, write_part
from .ahead import PrefetchIterator
from .batch_size import BatchSize

_AHEAD = 2  # batches that wait for the device

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddedColumn:
    """Result of a column: its rows; of those that were embedded now the number, the seconds, and those without work."""

    rows: int
    new: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def speed(self) -> str:
        """Throughput and the share of waiting for data, in words; empty where nothing was done."""
        if not self.seconds:
            return ""
        return f"{self.new / self.seconds:,.0f} rows/s, waiting {self.waited / self.seconds:.0%}"


@dataclass(frozen=True)
class _Batch:
    """Some rows of a part: their places in it, and their raw form where that is a tensor, else the model's input."""

    positions: np.ndarray
    tensor: Tensor
    prepared: bool


@dataclass(frozen=True)
class _Part:
    """A part whose batches have all been read: its rows' facts and indices, and why others are left out."""

    number: int
    table: pl.DataFrame
    mask: Bool[np.ndarray, " n"]
    broken: Sequence[Replacement]


@final
@dataclass(frozen=True, eq=False)
class EmbeddingUnit:
    """Unit of work: the vectors of one column."""

    key: str
    folder: Path
    about: VectorProvenance
    model: TowerMethod
    data: Data
    count: int
    size: BatchSize
    per_part: int
    lighter: ClassVar[str] = "a smaller --batch-size needs less memory"

    @cached_property
    def paths(self) -> list[Path]:
        return part_paths(self.folder, self.key, -(-self.count // self.per_part))

    def read(self) -> EmbeddedColumn | None:
        return EmbeddedColumn(self.count) if all(path.exists() for path in self.paths) else None

    def outcome(self, result: EmbeddedColumn) -> str:
        return f"done ({', '.join(filter(None, (counted(result.rows, 'row'), result.speed)))})"

    def work(self, on_progress: execution.OnProgress) -> EmbeddedColumn:
        return self.embed(
            [number for number, path in enumerate(self.paths) if not path.exists()], on_progress
        )

    def embed(self, todo: Sequence[int], on_progress: execution.OnProgress) -> EmbeddedColumn:
        """Embed some parts, and write each once it is whole.

        Raises:
            ValueError: if more rows are broken than may be.
        """
        left = sum(len(self._rows(number)) for number in todo)
        precision = Precision(self.about.precision, next(self.model.parameters()).device)
        vectors = np.empty((self.per_part, self.about.width), np.float32)
        before = done = self.count - left
        broken: list[Replacement] = []
        with torch.inference_mode(), precision.autocast():
            # A column may have no value in a whole part, as those of one of several sources that are mixed.
            if (some := next((part for part in todo if len(self._present(part))), None)) is not None:
                self.size.try_out(self._trial(some), left, self.key)
            began, result = time.perf_counter(), EmbeddedColumn(self.count)
            with PrefetchIterator(self._batches(todo), _AHEAD) as items:
                for item in items:
                    if isinstance(item, _Batch):
                        vectors[item.positions] = self._embedded(item.tensor, item.prepared)
                        done += len(item.positions)
                    else:
                        if item.broken:
                            broken += item.broken
                            self._check(broken, todo)
                        self._write(item, vectors[: len(item.mask)][item.mask])
                        done += len(self._rows(item.number)) - len(item.mask)  # those without a value
                    result = EmbeddedColumn(
                        self.count, done - before, time.perf_counter() - began, items.waited
                    )
                    on_progress(execution.UnitProgress(done, self.count, result.speed))
        if broken:
            _logger.info("left out of the vectors of %s: %s", self.key, _reasons(broken))
        return result

    def _check(self, broken: Sequence[Replacement], todo: Sequence[int]) -> None:
        """Check that no more rows are broken than may be, those that earlier calls left out of their parts included."""
        written = [n for n, path in enumerate(self.paths) if n not in todo and path.exists()]
        before = sum(
            len(self._present(number)) - parquet.read_metadata(self.paths[number]).num_rows
            for number in written
        )
        if before + len(broken) > max(1.0, self.data.broken * self.count):
            raise ValueError(
                f"more than {100 * self.data.broken:g} % of the {self.count:,} rows cannot be embedded: "
                f"{_reasons(broken)}{f'; {before:,} of parts that are written' if before else ''}. Mend them and run "
                "the same command again, which goes on, or allow more with --broken SHARE"
            )

    def _rows(self, number: int) -> Rows:
        return np.arange(number * self.per_part, min((number + 1) * self.per_part, self.count))

    def _present(self, number: int) -> Rows:
        rows = self._rows(number)
        return rows[self.data.present(self.key, rows)]

    def _batches(self, todo: Sequence[int]) -> Iterator[_Batch | _Part]:
        """Yield the batches of each part and then the part itself: all that is read of the data."""
        for number in todo:
            rows = self._present(number)
            texts = self._texts(rows)
            ids, lengths = (None, np.zeros(len(rows))) if texts is None else self._tokens(texts)
            told = np.full(len(rows), None, dtype=object) if texts is None else np.array(texts, dtype=object)
            order = np.argsort(-lengths, kind="stable")
            start = 0
            while start < len(rows):
                places = order[start : start + self.size.now]
                start += len(places)
                if ids is None:
                    raw = self.data.read(self.key, rows[places])
                    # With them, as data may open the files of a row once for all of its columns.
                    told[places] = self._captions(rows[places])
                    yield self._batch(places, raw)
                else:
                    yield _Batch(places, ids[places, : lengths[places[0]]], prepared=True)
            # A vector is of the row's own record: one that another stands for, as in training, has none.
            replaced = {one.row: one for one in self.data.replaced()}
            kept = np.array([row not in replaced for row in rows.tolist()], dtype=bool)
            broken = [replaced[row] for row in rows[~kept].tolist()]
            yield _Part(number, self._table(rows[kept], told[kept].tolist()), kept, broken)

    def _texts(self, rows: Rows) -> Sequence[str] | None:
        """Return a column's rows where they are texts; other raw forms of a whole part may be too large."""
        if not isinstance(self.model.tower(self.key), TextTower) or not len(rows):
            return None
        return [*self.data.read(self.key, rows)]

    def _tokens(self, texts: Sequence[str]) -> tuple[Int[Tensor, "n L"], Int[np.ndarray, " n"]]:
        """Return the token ids of a part's texts, and how many of them each text needs.

        A batch of texts with one number of tokens has no padding to compute: their letters say little of that number.
        Where the shortest text alone is as long as all others, the tower needs every place.
        """
        tower = self.model.tower(self.key)
        assert isinstance(tower, TextTower)
        ids = tower.tokenizer(texts)
        if tower.tokenizer([min(texts, key=len)]).shape[1] == ids.shape[1]:
            return ids, np.full(len(texts), ids.shape[1])
        mask = inside(ids, tower.tokenizer.end, begins_with_end=tower.begins_with_end)
        return ids, mask.sum(1).numpy()

    def _batch(self, positions: np.ndarray, raw: Any) -> _Batch:
        """Return what goes to the device: raw pictures, which are a quarter of their input's size, or an input."""
        if isinstance(raw, Tensor):
            return _Batch(positions, raw, prepared=False)
        return _Batch(positions, self.model.inputs[self.key](raw), prepared=True)

    def _embedded(self, tensor: Tensor, prepared: bool) -> Float[np.ndarray, "n d"]:
        """Embed a batch, or its halves one after the other where memory does not suffice."""
        try:
            embed_ = self.model.embed_prepared if prepared else self.model.embed
            return embed_(self.key, tensor).float().cpu().numpy()
        except Exception as error:
            if not out_of_memory(error):
                raise
            self.size.halve(len(tensor), error)
        # Not before here have the error, and what had been computed, been let go.
        return np.concatenate([self._embedded(half, prepared) for half in tensor.tensor_split(2)])

    def _trial(self, number: int) -> Callable[[int], object]:
        """Return a function that embeds some rows of a part, the longest texts; they are read when it is called."""

        @cache
        def sample() -> _Batch:
            return next(batch for batch in self._batches([number]) if isinstance(batch, _Batch))

        def embed_some(size: int) -> object:
            some = sample()
            repeated = some.tensor.repeat(-(-size // len(some.tensor)), *(1 for _ in some.tensor.shape[1:]))
            embed_ = self.model.embed_prepared if some.prepared else self.model.embed
            return embed_(self.key, repeated[:size]).cpu()

        return embed_some

    def _write(self, part: _Part, vectors: Float[np.ndarray, "n d"]) -> None:
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            raise ValueError(
                f"{len(broken):,} of {len(vectors):,} {self.key} embeddings are NaN or infinite, that of "
                f"{part.table['key'][int(broken[0])]!r} first: the model has diverged, or an input is broken"
            )
        write_part(self.paths[part.number], self.about, vectors, part.table)

    def _table(self, rows: Rows, texts: Sequence[str | None]) -> pl.DataFrame:
        """Return what is known of some rows, among it the text that goes with each."""
        columns = {
            "id": pl.Series(self.data.ids[rows], dtype=pl.Int64),
            "key": pl.Series([self.data.key(int(row)) for row in rows], dtype=pl.String),
            "modality": pl.Series([self.key] * len(rows), dtype=pl.String),
            "split": pl.Series([*SIDES, None], dtype=pl.String)[self._sides[rows]],
            "text": pl.Series(texts, dtype=pl.String),
        }
        labels = ((name, _cells(label, rows)) for name, label in self.data.labels.items())
        for name, cells in chain(labels, self.data.metadata(rows).items()):
            while name in RESERVED or name in columns:
                name = f"label_{name}"
            columns[name] = cells
        return pl.DataFrame(columns)

    def _captions(self, rows: Rows) -> list[str | None]:
        """Return the text that goes with each row, where there is one."""
        if "text" not in self.data.columns or not len(rows):
            return [None] * len(rows)
        there = self.data.present("text", rows)
        return [text if has else None for text, has in zip(self.data.read("text", rows), there, strict=True)]

    @cached_property
    def _sides(self) -> np.ndarray:
        """The place of every row's split among `SIDES`; −1 where it is in none."""
        sides = np.full(len(self.data), -1, np.int8)
        for title, rows in self.data.splits.sides.items():
            sides[rows] = SIDES.index(title.partition(":")[0])
        return sides


def _reasons(broken: Sequence[Replacement]) -> str:
    """Return for what reasons rows are left out: how many each, and the first of them."""
    first = {one.reason: one.where for one in reversed(broken)}
    named = {reason: reason if where in reason else f"{reason} ({where})" for reason, where in first.items()}
    counts = Counter(one.reason for one in broken)
    return "; ".join(f"{count:,} × {named[reason]}" for reason, count in counts.most_common())


def _cells(label: Label, rows: Rows) -> pl.Series:
    """Return a label of some rows: as numbers, which conditions compare as such, or as texts; null where not known."""
    if isinstance(label, Numbers):
        return pl.Series(label.values[rows], dtype=pl.Float64).fill_nan(None)
    return pl.Series(label.texts(rows), dtype=pl.String)
