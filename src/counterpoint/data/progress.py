"""The bar that is shown on a terminal while files are read, once that has taken a while."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import Progress

_PATIENCE = 1.0  # seconds before a bar is shown


def with_bar(steps: Sequence[int], title: str) -> Iterator[int]:
    """Yield the steps, with a progress bar on a terminal once they have taken a while."""
    began = time.monotonic()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=len(steps), visible=False)
        for done, step in enumerate(steps):
            progress.update(task, completed=done, visible=time.monotonic() - began > _PATIENCE)
            yield step
