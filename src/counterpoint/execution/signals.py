"""One way to stop: Ctrl-C, SIGTERM and SIGHUP alike end work where it can go on from, a second one ends it at once."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import final

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 30.0
"""Seconds for a last checkpoint after the process that gave the orders is gone."""
_ECHO = 0.5
"""Seconds in which a second signal counts as the first: launchers pass on what the terminal has sent already."""


class StopRequest(KeyboardInterrupt):
    """Work was asked to end, by Ctrl-C or by the system; what it had done is kept.

    >>> import signal
    >>> stopped = StopRequest(signal.SIGTERM)
    >>> str(stopped), stopped.status
    ('stopped by SIGTERM', 143)

    Attributes:
        number: the signal.
        status: the exit status that says so.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        by = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"stopped by {by}")
        self.number, self.status = number, 128 + number


@final
class Stop:
    """Request to end, noted until the work has come to a good place."""

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def requested(self) -> bool:
        return self.number is not None

    def check(self) -> None:
        """Raise `StopRequest` if the request has been made."""
        if self.number is not None:
            raise StopRequest(self.number)


@contextmanager
def postponed(at_once: Callable[[], None] | None = None) -> Iterator[Stop]:
    """Note the first signal in the block instead of ending; a second one ends the process at once.

    In a thread other than the main one signals are left as they are, and the request is never made.

    Args:
        at_once: called before the process ends at once.
    """
    stop = Stop()

    def first(number: int) -> None:
        stop.number = number

    with _handled(_Handler(first, at_once)):
        yield stop


@contextmanager
def raised() -> Iterator[None]:
    """Raise `StopRequest` in the block where a signal arrives; a second signal ends the process at once."""

    def first(number: int) -> None:
        raise StopRequest(number)

    with _handled(_Handler(first, None)):
        yield


@final
class _Handler:
    """Handler of all the signals: the first is given to ``first``, a later one ends the process."""

    def __init__(self, first: Callable[[int], None], at_once: Callable[[], None] | None) -> None:
        self.first, self.at_once = first, at_once
        self.since: float | None = None

    def __call__(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if self.since is None:
            self.since = now
            self.first(number)
        elif now - self.since > _ECHO and not under_torchrun():
            if self.at_once is not None:
                self.at_once()
            end(number)


@contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    # Ignored signals stay ignored (nohup), and so do a program's own handlers of what the system sends.
    ours = {
        number
        for number, previous in before.items()
        if isinstance(previous, _Handler)
        or previous in (signal.SIG_DFL, signal.default_int_handler)
        or (number == signal.SIGINT and callable(previous))
    }
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


@contextmanager
def held_back() -> Iterator[None]:
    """Let signals wait until the end of the block, and those of processes begun in it until they `let_through`.

    So a process is not interrupted before it has said what its signals mean.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Let signals come to this process again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def end(number: int) -> None:
    """End this process now, with a word and without a traceback."""
    show_cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
    with suppress(OSError):
        os.write(
            2, f"{show_cursor}\nended at once; the same command goes on where work was last saved.\n".encode()
        )
    os._exit(128 + number)


def under_torchrun() -> bool:
    """Tell whether ``torchrun`` started this process; it passes signals on, and ends what does not end."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def follow(parent: int, then: Callable[[], None]) -> None:
    """Watch a parent process from a thread, and call ``then`` there when it is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        then()

    threading.Thread(target=watch, name="follow", daemon=True).start()


def end_with_grace() -> None:
    """End this process at a checkpoint if it comes to one within `GRACE` seconds, else then."""
    request_end()
    lapse()


def request_end() -> None:
    """Ask this process to end, from any of its threads."""
    # Not os.kill, which may interrupt another thread than the main one, which handles signals, and let that wait on.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def raise_in(thread: int, error: Exception) -> None:
    """Raise an error in another thread, as soon as that runs Python code.

    A signal would reach the main thread alone, and may be ignored there or mean something else to the program.
    """
    # The interpreter takes a class, and calls it without arguments.
    kind = type(error)
    members = {"__init__": lambda self: Exception.__init__(self, *error.args), "__module__": kind.__module__}
    bound = type(kind.__name__, (kind,), members)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(bound))


def lapse() -> None:
    """End this process after `GRACE` seconds."""
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)
