"""A progress line on a terminal, for what takes long on large data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def shown(items: Iterable[T], words: str, total: int | None) -> Iterator[T]:
    """Yield the items, and show on a terminal's standard error how many of the total have passed."""
    console = Console(stderr=True)
    return iter(
        track(items, words, total=total, console=console, transient=True, disable=not console.is_terminal)
    )
