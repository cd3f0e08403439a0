"""Indices in the cache folder, which nobody asked for: of data that is more than is read before training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, final

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID

from ... import execution
from ...types import Fit
from .. import sources
from ..cache import cache_folder
from ..listed import stored
from ..sources import Ledger, SourceOptions, is_pattern, is_url, parted, size_of, without_budget
from .copies import is_remote
from .data import ShardedData
from .indexing import indexed
from .open_index import open_index

MOST_FETCHED = 2**30
"""Bytes of the largest data in a store that is read as a whole before training; more is read while it is trained on."""


def needs_index(written: str) -> bool:
    """Return whether data is seen to be more than is read before training, and can be read meanwhile.

    Args:
        written: the place, with its options.

    Raises:
        ValueError: as for `sources.shards`.
    """
    place, _ = parted(written)
    if not (is_url(place) or is_pattern(place) or sources.is_named(place) or os.path.isfile(place)):
        return False  # a folder, which is listed when it is read
    listed = sources.shards(written, Ledger())
    before = {shard.location: shard.span.before for shard in listed if shard.span is not None}
    if sum(before.values()) >= stored.MOST:  # rows in front of the last part of each table
        return True
    if len(listed) < 3 or not all(map(is_remote, listed)):
        return False
    left = MOST_FETCHED
    for shard in listed:  # a store is asked for each, and the first ones are enough
        left -= size_of(shard.location)
        if left < 0:
            return True
    return False


def open_cached_index(written: str, form: int | Fit) -> ShardedData:
    """Open data over its index in the cache folder, which is made unless it is there.

    Args:
        written: the place, with its options.
        form: side of the pictures, or the way to them that a tower asks for.

    Raises:
        ValueError: as for `indexing.index`.
    """
    place, said = parted(without_budget(written))
    source = ",".join(filter(None, [sources.rooted(place), said]))
    folder = cache_folder() / "indices" / blake2b(source.encode(), digest_size=8).hexdigest()
    with _shown() as listener:
        indexed(source, folder, held_out=SourceOptions.parse(said).held_out, listener=listener)
    return open_index(folder, form, SourceOptions.of(written).broken)


@contextmanager
def _shown() -> Iterator[execution.Listener]:
    """Yield a listener that shows on a terminal how many stretches of shards are counted."""
    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
        yield _Bar(bars)


@final
class _Bar:
    """Listener that moves a bar; there is none until something is counted."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, title: str, units: Sequence[execution.Unit[Any]]) -> None:
        self._task = self._bars.add_task(title, total=len(units))

    def progressed(self, unit: execution.Unit[Any], progress: execution.UnitProgress) -> None:
        return None

    def ended(self, unit: execution.Unit[Any], result: Any) -> None:
        if self._task is not None:
            self._bars.advance(self._task)

    def waits(self, reason: str) -> None:
        self._bars.console.print(f"waiting: {reason}", soft_wrap=True)
