"""The console of every command: text is printed as it is."""

from __future__ import annotations

import os
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text


class Terminal(Console):
    """A console that takes no text for markup.

    Names, paths and captions come from the user, and ``sub[/x]`` is a folder, not a closing tag. Words that want a
    style are given as `rich.text.Text`.

    Args:
        stderr: print to standard error, where standard output is for JSON.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Fall silent where the reader of the output is gone: the work goes on (``train … | head -1``)."""
        silence(self.file)

    def status(self, status: RenderableType, **options: Any) -> Status:
        """Show a text beside a spinner while a block runs."""
        return _PlainStatus(_plain(status), console=self, **options)


def silence(stream: IO[str]) -> None:
    """Send what is still written to a stream nowhere, from its buffer too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class _PlainStatus(Status):
    """A status line without markup, which rich reads there whatever its console says."""

    def update(self, status: RenderableType | None = None, **options: Any) -> None:
        super().update(None if status is None else _plain(status), **options)


def _plain(text: RenderableType) -> RenderableType:
    return Text(text) if isinstance(text, str) else text
