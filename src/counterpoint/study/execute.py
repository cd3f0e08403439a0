"""Runs, one after another or several at once, with their progress told as it happens."""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

from ..training.loop import Progress
from ..training.run import Run, RunState
from .runner import run

_GRACE = 30.0
"""Seconds that a child has for its last checkpoint."""


@dataclass(frozen=True)
class Job:
    """A run and where it goes."""

    what: Run
    folder: Path
    tasks: tuple[str, ...] | None = None
    test: bool = True


@dataclass(frozen=True)
class Event:
    """Progress of a job, or its end."""

    job: int
    progress: Progress | None = None
    state: RunState | None = None


Listener = Callable[[Event], None]


def execute(jobs: Sequence[Job], at_once: int = 1, listen: Listener = lambda event: None) -> list[RunState]:
    """Carry out jobs and return their ends, in their order.

    Args:
        jobs: what to run.
        at_once: how many at a time; above 1 each has a process of its own with ``cores / at_once`` threads.
        listen: called in this process with every event.

    Raises:
        KeyboardInterrupt: after every running job has written a checkpoint.
        Exception: the first error of a job; the others that were running are left to finish.
    """
    if at_once <= 1 or len(jobs) <= 1:
        ends = []
        for index, job in enumerate(jobs):
            state = _one(job, lambda p, i=index: listen(Event(i, progress=p)))  # type: ignore[misc]
            listen(Event(index, state=state))
            ends.append(state)
        return ends
    return _in_processes(jobs, at_once, listen)


def _one(job: Job, on_step: Callable[[Progress], None]) -> RunState:
    return run(job.what, job.folder, tasks=job.tasks, test=job.test, on_step=on_step)


def _in_processes(jobs: Sequence[Job], at_once: int, listen: Listener) -> list[RunState]:
    context = mp.get_context("spawn")
    manager = SyncManager(ctx=context)
    manager.start(_follow_parent)
    with manager:
        events: Any = manager.Queue()
        threads = max((os.cpu_count() or 1) // at_once, 1)
        pool = ProcessPoolExecutor(at_once, mp_context=context, initializer=start_child, initargs=(threads,))
        futures = {pool.submit(_in_child, index, job, events): index for index, job in enumerate(jobs)}
        ends: dict[int, RunState] = {}
        try:
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
                _drain(events, listen)
                for future in done:
                    ends[futures[future]] = future.result()
                    listen(Event(futures[future], state=ends[futures[future]]))
        finally:
            # On Ctrl-C the children received the same signal: each writes its checkpoint before it ends.
            pool.shutdown(wait=True, cancel_futures=True)
    return [ends[index] for index in range(len(jobs))]


def _drain(events: Any, listen: Listener) -> None:
    while True:
        try:
            index, progress = events.get_nowait()
        except queue.Empty:
            return
        listen(Event(index, progress=progress))


def start_child(threads: int) -> None:
    """What a process of a pool does first: take its share of the cores, and end when the study does."""
    import torch

    torch.set_num_threads(threads)
    _follow_parent()


def _follow_parent() -> None:
    """End this process when the study's is gone, at a checkpoint: another study may go on in the same folder."""
    parent = mp.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(_GRACE)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _in_child(index: int, job: Job, events: Any) -> RunState:
    told = [0.0]

    def on_step(progress: Progress) -> None:
        # A queue message costs a fraction of a millisecond; a few a second are all a person can see.
        if (now := time.monotonic()) - told[0] > 0.25 or progress.step == progress.steps:
            told[0] = now
            events.put((index, progress))

    return _one(job, on_step)
