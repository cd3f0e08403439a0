"""Helper processes, such as those that load data: they end with the process that began them, and only with it.

`begun` lets ``multiprocessing`` take this file for the main script of the processes that are begun in its block. So the
user's own script is not run again in each of them, and they watch their parent before they import anything heavy.
Stop signals, which a terminal or a scheduler sends to all processes, are the parent's to answer.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

from counterpoint.execution.signals import SIGNALS, follow, held_back, let_through

_PARENT = "COUNTERPOINT_PARENT"


@contextmanager
def begun() -> Iterator[None]:
    """Make helpers of the processes that ``multiprocessing`` spawns in the block."""
    from multiprocessing import resource_tracker

    with held_back():  # beginning it lets signals through, so it comes before the rest
        resource_tracker.ensure_running()
    script, stand_in = sys.modules["__main__"], ModuleType("__main__")
    stand_in.__spec__ = ModuleSpec("counterpoint.execution.helpers", None)
    before = os.environ.get(_PARENT)
    sys.modules["__main__"] = stand_in
    os.environ[_PARENT] = str(os.getpid())
    try:
        with held_back():
            yield
    finally:
        sys.modules["__main__"] = script
        if before is None:
            del os.environ[_PARENT]
        else:
            os.environ[_PARENT] = before


if __name__ == "__mp_main__":
    for _number in SIGNALS:
        signal.signal(_number, signal.SIG_IGN)
    let_through()
    follow(int(os.environ[_PARENT]), lambda: os._exit(1))
