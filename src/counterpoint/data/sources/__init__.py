"""Sources of examples: each recognises what the user wrote, lists its shards and reads them as records."""

from __future__ import annotations

from ._files.asset import Asset, digest_of
from ._files.locations import (
    MissingFilesError,
    files_of,
    is_pattern,
    is_url,
    name_of,
    seen_from,
    size_of,
    state_of,
    suffix_of,
)
from ._files.noted import columns_noted, ending_of, noted
from ._files.text import UNKNOWN, caption_lines
from ._ledger import ALSO_POSSIBLE, COLUMNS, Ledger
from ._names import CAPTION_COLUMNS, PICTURE_COLUMNS, split_of
from ._options import (
    FACTS,
    OF_THE_WHOLE,
    SourceOptions,
    checked,
    columns_of,
    parted,
    said_columns,
    with_columns,
    without_budget,
)
from ._reading import (
    CONVERTED,
    SOURCES,
    Reader,
    guess_of,
    is_named,
    is_source,
    open_shard,
    read,
    read_some,
    rooted,
    shards,
    suffixes,
)
from ._record import FOLDER, PLACES, Cell, Record, Records
from ._source import FileSpan, Shard, Source

__all__ = [
    "ALSO_POSSIBLE",
    "CAPTION_COLUMNS",
    "COLUMNS",
    "CONVERTED",
    "FACTS",
    "FOLDER",
    "OF_THE_WHOLE",
    "PICTURE_COLUMNS",
    "PLACES",
    "SOURCES",
    "UNKNOWN",
    "Asset",
    "Cell",
    "FileSpan",
    "Ledger",
    "MissingFilesError",
    "Reader",
    "Record",
    "Records",
    "Shard",
    "Source",
    "SourceOptions",
    "caption_lines",
    "checked",
    "columns_noted",
    "columns_of",
    "digest_of",
    "ending_of",
    "files_of",
    "guess_of",
    "is_named",
    "is_pattern",
    "is_source",
    "is_url",
    "name_of",
    "noted",
    "open_shard",
    "parted",
    "read",
    "read_some",
    "rooted",
    "said_columns",
    "seen_from",
    "shards",
    "size_of",
    "split_of",
    "state_of",
    "suffix_of",
    "suffixes",
    "with_columns",
    "without_budget",
]
