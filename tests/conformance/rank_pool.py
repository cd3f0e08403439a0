"""Worker processes that form a gloo group and run functions for as long as they are asked to."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

_PATIENCE = 240
"""Seconds before a rank counts as hanging: on a busy machine a healthy one has taken more than a minute."""
_GRACE = 20
"""Seconds that the other ranks have once one has failed: they may wait for it in vain."""


def _serve(rank: int, size: int, store: str, orders: Connection) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    while True:
        function, arguments = orders.recv()
        try:
            orders.send((True, function(rank, size, *arguments)))
        except Exception:
            orders.send((False, traceback.format_exc()))


class RankPool:
    """``run(function, *arguments)`` calls ``function(rank, size, *arguments)`` on every rank.

    A rank that hangs is a failure, after which the pool is ``broken``: another must take its place.
    """

    def __init__(self, size: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections: list[Connection] = []
        self._processes = []
        self.broken = False
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, size, str(folder / "store"), theirs), daemon=True
            )
            process.start()
            self._connections.append(ours)
            self._processes.append(process)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        for connection in self._connections:
            connection.send((function, arguments))
        answers: dict[Connection, Any] = {}
        failure, patience = "", float(_PATIENCE)
        while len(answers) < len(self._connections):
            waiting = [c for c in self._connections if c not in answers]
            ready = wait(waiting, patience)
            if not ready:
                self.broken = True  # some wait in the middle of a job
                raise AssertionError(
                    failure or f"ranks did not answer within {patience:g} seconds: they hang"
                )
            for connection in ready:
                good, answers[connection] = connection.recv()  # type: ignore[union-attr] # they are ours
                if not good:
                    failure, patience = f"a rank failed:\n{answers[connection]}", _GRACE
        if failure:
            raise AssertionError(failure)
        return [answers[connection] for connection in self._connections]

    def close(self) -> None:
        # Not asked to end by themselves, for which a rank takes seconds: they hold nothing that should be kept.
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
