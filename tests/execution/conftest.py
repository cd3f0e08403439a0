"""Signals mean here what they mean in a terminal, also where the tests were begun in the background."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

_PLAIN = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _PLAIN}
    for number, plain in _PLAIN.items():
        if before[number] == signal.SIG_IGN:
            signal.signal(number, plain)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
