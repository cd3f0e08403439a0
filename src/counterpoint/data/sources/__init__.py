"""Sources of examples: each recognises what the user wrote, lists its shards and reads them as records."""

from __future__ import annotations

from ._asset import Asset
from ._ledger import TOLERANCE, Ledger
from ._reading import SOURCES, Reader, opened, read, recognised, shards, suffixes
from ._record import Cell, Record, Records
from ._source import Shard, Source

__all__ = [
    "SOURCES",
    "TOLERANCE",
    "Asset",
    "Cell",
    "Ledger",
    "Reader",
    "Record",
    "Records",
    "Shard",
    "Source",
    "opened",
    "read",
    "recognised",
    "shards",
    "suffixes",
]
