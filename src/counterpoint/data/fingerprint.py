"""The identity of a data set: digests of what it holds, each part by itself, so that a difference has a name."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from ..raw import Raw
from .labels import Label

PARTS = ("ids", "splits", "captions", "pictures", "labels")
"""The parts of a data set that are told apart."""
QUESTIONS = "questions"
"""One part more, of data that asks something beside its captions."""
BLOCK = 256
"""Rows that are digested at once."""


@runtime_checkable
class ReadRows(Protocol):
    """Data whose rows are read one by one, as far as a fingerprint asks."""

    name: str
    ids: Any
    splits: Any

    @property
    def labels(self) -> Mapping[str, Label]: ...
    @property
    def subsets(self) -> Any: ...
    def __len__(self) -> int: ...
    def digests(self) -> Mapping[str, Sequence[bytes]]: ...


@dataclass(frozen=True)
class Fingerprint:
    """Digests of a data set.

    Attributes:
        parts: the digests of ids, splits and labels, and of what the columns hold: for pictures with captions these are
            `PARTS`, and `QUESTIONS` where there are any. Equal digests mean equal content in the same
            order.
        rows: for every row its ``id``, its ``split`` and a 32-bit checksum of each other part, so that changed rows
            can be counted; empty for worlds, whose rows follow from their name.
    """

    parts: Mapping[str, str]
    rows: pl.DataFrame

    @classmethod
    def of_world(cls, description: str) -> Fingerprint:
        """Return the fingerprint of data that a description determines: a world by its name, version and seed.

        >>> Fingerprint.of_world("basic 1").parts["ids"] == Fingerprint.of_world("basic 2").parts["ids"]
        False
        """
        return cls(dict.fromkeys(PARTS, digest([description.encode()])), pl.DataFrame(schema=ROW_SCHEMA))

    @classmethod
    def of_rows(cls, data: ReadRows) -> Fingerprint:
        """Return the fingerprint of data whose rows are read one by one.

        Raises:
            ValueError: for a column that is called like another part.
        """
        held = data.digests()
        if taken := sorted({"id", "split", "ids", "splits", "labels"} & set(held)):
            raise ValueError(f"{data.name}: a column cannot be called {taken[0]!r}; give it another name")
        splits = _splits(data)
        labels = [
            f"{texts}\0{subset}".encode()
            for texts, subset in zip(_label_texts(data.labels, len(data)), data.subsets, strict=True)
        ]
        parts = {
            "ids": digest([np.asarray(data.ids, dtype="<i8").tobytes()]),
            "splits": digest(split.encode() for split in splits),
            "labels": digest([*(name.encode() for name in sorted(data.labels)), *labels]),
        }
        parts |= {name: digest(values) for name, values in held.items()}
        columns_of_rows = {**held, "labels": labels}
        rows = pl.DataFrame(
            {"id": np.asarray(data.ids, dtype=np.int64), "split": splits}
            | {name: [zlib.crc32(value) for value in values] for name, values in columns_of_rows.items()},
            schema={"id": pl.Int64(), "split": pl.String()} | dict.fromkeys(columns_of_rows, pl.UInt32()),
        )
        return cls(parts, rows)


ROW_SCHEMA: dict[str, pl.DataType] = {
    "id": pl.Int64(),
    "split": pl.String(),
    "captions": pl.UInt32(),
    "pictures": pl.UInt32(),
    "labels": pl.UInt32(),
}
"""Columns of `Fingerprint.rows`; those of data with questions have ``questions`` too."""


def digest(values: Iterable[bytes]) -> str:
    """Return one digest of some values in order; where one ends counts.

    >>> digest([b"ab", b"c"]) == digest([b"a", b"bc"])
    False
    """
    hasher = hashlib.blake2b(digest_size=16)
    for value in values:
        hasher.update(len(value).to_bytes(8, "little"))
        hasher.update(value)
    return hasher.hexdigest()


def digests_of_images(images: Callable[[Any], Any], count: int) -> Sequence[bytes]:
    """Return a digest of every row's decoded picture, block by block.

    Args:
        images: from row numbers to pictures.
        count: of the rows.
    """
    digests: list[bytes] = []
    for start in range(0, count, BLOCK):
        pictures = images(np.arange(start, min(start + BLOCK, count))).numpy()
        digests += [hashlib.blake2b(p.tobytes(), digest_size=16).digest() for p in pictures]
    return digests


def bytes_of(raw: Any) -> bytes:
    """Return what tells one example in its raw form from others: a string, a tensor, an array, `Raw`, or many of these.

    >>> bytes_of(["ab", "c"]) == bytes_of(["a", "bc"]), bytes_of(np.zeros(2)) == bytes_of(np.zeros((2, 1)))
    (False, False)

    Raises:
        TypeError: for anything else.
    """
    if raw is None or isinstance(raw, str):
        return b"" if raw is None else raw.encode("utf-8", "surrogatepass")
    if isinstance(raw, bytes):
        return raw
    if isinstance(raw, Raw):  # what an example is padded to does not count
        facts = [str(fact) for fact in vars(raw).values() if fact is not raw.values]
        raw = [*facts, *(row[:end] for row, end in zip(raw.values, raw.ends().tolist(), strict=True))]
    if isinstance(raw, Mapping):
        raw = [part for name in sorted(raw) for part in (name, raw[name])]
    if isinstance(raw, Sequence):
        return digest(map(bytes_of, raw)).encode()
    array = np.asarray(raw)
    if array.dtype.hasobject:
        raise TypeError(
            f"cannot digest {type(raw).__name__}: a raw form is made of strings, tensors and arrays"
        )
    return f"{array.dtype.str}{array.shape}".encode() + array.tobytes()


def _label_texts(labels: Mapping[str, Label], rows: int) -> list[str]:
    """Return what labels tell of every row, in the order of their names."""
    texts = [labels[name].texts(np.arange(rows)) for name in sorted(labels)]
    return ["\0".join(text or "" for text in row) for row in zip(*texts, strict=True)] or [""] * rows


def _splits(data: ReadRows) -> list[str]:
    """Return the split of every row in words; a row that is in several names them all, one in none nothing."""
    of = data.splits
    sides = {**{f"train: {number}": rows for number, rows in enumerate(of.tasks)}, **of.sides}
    if of.tasks:
        del sides["train"]
    sides_of: list[list[str]] = [[] for _ in range(len(data))]
    for side, rows in sides.items():
        for row in rows:
            sides_of[row].append(side)
    return ["; ".join(of_row) for of_row in sides_of]
