"""Ctrl-C, SIGTERM and SIGHUP are one request to end; a second one is an order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from counterpoint.execution import StopRequest, postponed
from counterpoint.execution.signals import SIGNALS, raised


@pytest.mark.parametrize("number", SIGNALS)
def test_first_signal_is_noted_until_work_comes_to_a_good_place(number: signal.Signals) -> None:
    with postponed() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(StopRequest) as told:
            stop.check()
    assert told.value.status == 128 + number


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_such_work_it_is_raised(number: signal.Signals) -> None:
    with pytest.raises(StopRequest, match="Ctrl-C" if number == signal.SIGINT else number.name), raised():
        os.kill(os.getpid(), number)


def test_an_echo_within_a_moment_is_the_same_request() -> None:
    with postponed() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGINT


def test_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with raised(), postponed():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_is_ignored_stays_ignored_and_programs_handler_stays() -> None:
    calls: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
        with postponed() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stop.requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert calls == [signal.SIGTERM]


def test_a_thread_leaves_signals_alone() -> None:
    seen: list[bool] = []

    def work() -> None:
        with postponed() as stop:
            seen.append(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


_SECOND = """
import os, signal, sys, time
from counterpoint.execution import postponed
with postponed(at_once=lambda: print("others first", flush=True)):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.6)
    os.kill(os.getpid(), signal.SIGINT)
    print("not reached", flush=True)
"""


def test_a_second_signal_ends_the_process_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _SECOND], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stdout == "others first\n"
    assert done.stderr.strip() == "ended at once; the same command goes on where work was last saved."
