"""Data over an index, opened as the kind that its columns make it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from ...modalities import PAIR
from ...reasons import counted
from ...types import Fit
from ..listed.pairs import Pairs
from ..listed.photos import Photos
from ..listed.stored import StoredData
from ..listed.stored_rows import StoredRows
from ..replaced import MAX_BROKEN
from ..sources import Ledger, Records, SourceOptions, read
from .data import ShardedData
from .index import OtherIndexError, ShardIndex
from .pictures import ShardedPairs, ShardedPictures

S = TypeVar("S", bound=StoredData)


def open_index(folder: Path, form: int | Fit, broken: float = MAX_BROKEN) -> ShardedData:
    """Open data over an index.

    Args:
        folder: of the index.
        form: side of the pictures, or the way to them that a tower asks for.
        broken: the share of the examples that may be broken.

    Raises:
        OtherIndexError: if more than that share lies in shards that are missing or changed.
        ValueError: as for `ShardIndex.open`.
    """
    index = ShardIndex.open(folder)
    every, lost = int(index.training.sum()), [number for number in index.lost if index.training[number]]
    if (gone := int(index.training[lost].sum())) > max(1.0, broken * every):
        raise OtherIndexError(
            f"{gone:,} of {every:,} records to train on lie in {counted(len(lost), 'shard')} that cannot be used, and "
            f"{broken:g} of them may be broken: {index.lost[lost[0]]}, or allow more with --broken"
        )
    data = _of_kind(index, form)
    data.broken = broken
    return data


def _of_kind(index: ShardIndex, form: int | Fit) -> ShardedData:
    def held(kind: type[S]) -> S:
        # Of the user's options the others have done their work, in the index.
        options = SourceOptions(max_pixels=index.options.max_pixels)
        name = str(index.folder)
        return kind(index.held_out, form, options, read=_called_by_ids, name=name, words=index.words)

    if index.columns.items() >= PAIR.items():
        return ShardedPairs(index, held(Pairs))
    if next(iter(PAIR)) in index.columns:
        return ShardedPictures(index, held(Photos))
    return ShardedData(index, held(StoredRows))


def _called_by_ids(source: str, ledger: Ledger) -> Records:
    """Read held-out rows, which are called what their ids say: the shard and the record that each is."""
    records = read(source, ledger)
    return records.with_frame(records.frame.with_columns(key="id"))
