"""Child process of `Local`: reads orders from its standard input, one unit a line, and reports on a pipe of its own.

The child lives as long as that input is open. When it closes, because the parent wants to stop or is gone, the unit in
hand ends at a checkpoint.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ..reasons import reason
from .lease import InUseError, leased
from .orders import WorkItem
from .signals import StopRequest, follow, lapse, let_through, raised, request_end
from .state import finish
from .together import launch
from .unit import UnitProgress

_EVERY = 0.25
"""Seconds between two reports of progress: a few a second are all a person can see."""


def main(descriptor: int) -> int:
    """Carry out what is ordered, until there are no more orders."""
    report = os.fdopen(descriptor, "w", encoding="utf-8")
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    # A terminal sends these to every process; the parent passes on what is meant for all.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        with raised():
            let_through()
            threading.Thread(target=_listen, args=(orders, os.getppid()), daemon=True).start()
            while True:
                _carry_out(WorkItem.read(json.loads(orders.get())), report)
    except StopRequest as stopped:
        return stopped.status


def _listen(orders: queue.SimpleQueue[bytes], parent: int) -> None:
    heard = b""
    # Not through sys.stdin, whose lock a thread that waits for input would keep when the process ends.
    while chunk := os.read(0, 65536):
        *lines, heard = (heard + chunk).split(b"\n")
        for line in lines:
            orders.put(line)
    request_end()
    # A parent that lives waits for the checkpoint as long as it takes; without one there is a limit.
    follow(parent, lapse)


def _carry_out(order: WorkItem, report: TextIO) -> None:
    try:
        if order.needs.gpus > 1:
            launch(order, _Reporter(report))
        else:
            # The folder comes before the imports, which take seconds: two parents are told apart at once.
            with leased(Path(order.folder)):
                finish(order.parse(), _Reporter(report))
    except InUseError as error:
        _send(report, {"in_use": str(error)})
    except Exception as error:
        _send(report, {"error": reason(error), "traceback": traceback.format_exc()})
    else:
        _send(report, {"ended": True})


class _Reporter:
    """Sends progress to the parent, a few times a second."""

    def __init__(self, report: TextIO) -> None:
        self.report, self.last = report, 0.0

    def __call__(self, progress: UnitProgress) -> None:
        now = time.monotonic()
        if now - self.last > _EVERY or progress.done == progress.total:
            self.last = now
            _send(self.report, {"progress": asdict(progress)})


def _send(report: TextIO, message: dict[str, Any]) -> None:
    try:
        report.write(json.dumps(message) + "\n")
        report.flush()
    except OSError:  # the parent is gone, and the closed input ends this process
        return


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
