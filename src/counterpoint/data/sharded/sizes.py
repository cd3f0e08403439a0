"""The number of a shard's records, where a file beside it says so."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import fsspec

SIZES = "sizes.json"
"""File beside shards that gives the records of each."""


def stated_size(location: str) -> int | None:
    """Return how many records a shard has; None where nothing beside it says so.

    Args:
        location: of the shard, with ``NAME_stats.json`` beside it, as img2dataset writes it, or with a ``sizes.json``
            that gives the records of every file of the folder.
    """
    folder, slash, name = location.rpartition("/")
    stem = name.partition(".")[0]
    successes = _values(f"{folder}{slash}{stem}_stats.json").get("successes")
    size = successes if successes is not None else _sizes(f"{folder}{slash}{SIZES}").get(name)
    return size if isinstance(size, int) and size >= 0 else None


@lru_cache(maxsize=4)
def _sizes(location: str) -> dict[str, Any]:
    return _values(location)


def _values(location: str) -> dict[str, Any]:
    """Return the content of a JSON file; nothing where there is none, or it is of another form."""
    try:
        with fsspec.open(location, "rb") as file:
            values = json.load(file)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
