"""A user's own rows without pictures: sounds and texts, whatever the modalities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..sources import Records
from .stored import StoredData, columns_there


class StoredRows(StoredData):
    """Rows of any columns from files: sounds with captions, sounds alone.

    Everything that `Pairs` says of tables, folders, splits and labels holds here.
    """

    def columns_of(self, source: str | Path, records: Records) -> Mapping[str, str]:
        columns = columns_there(records)
        if not columns:
            raise ValueError(f"{source} holds nothing that is read: no row has a file or a text")
        return columns
