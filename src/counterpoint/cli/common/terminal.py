"""The console of every command: text is printed as it is, without markup and without control characters."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from ...reasons import CONTROL, printable


class Terminal(Console):
    """A console that takes no text for markup, and prints control characters as escapes.

    Names, paths and captions come from the user, and ``sub[/x]`` is a folder, not a closing tag. Words that want a
    style are given as `rich.text.Text`. An escape sequence in a file name is printed, and not obeyed by the terminal.

    Args:
        stderr: print to standard error, where standard output is for JSON.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        if isinstance(renderable, Text) and CONTROL.search(renderable.plain):
            renderable = self._escaped(renderable)
        return super().render(renderable, options)

    def on_broken_pipe(self) -> None:
        """Fall silent where the reader of the output is gone: the work goes on (``train … | head -1``)."""
        silence(self.file)

    def status(self, status: RenderableType, **options: Any) -> Status:
        """Show a text beside a spinner while a block runs."""
        return _PlainStatus(_plain(status), console=self, **options)

    def _escaped(self, text: Text) -> Text:
        parts = ((printable(part.text), part.style or "") for part in text.render(self))
        return Text.assemble(
            *parts, justify=text.justify, overflow=text.overflow, no_wrap=text.no_wrap, end=text.end
        )


def print_json(values: object) -> None:
    """Print values as JSON to standard output, with control characters as escapes."""
    written = json.dumps(values, indent=2, ensure_ascii=False)
    print(CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", written))


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
    return Text(printable(text)) if isinstance(text, str) else text
