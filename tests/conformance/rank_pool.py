"""Worker processes that form a gloo group and run functions for as long as they are asked to."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_PATIENCE = 600
"""Seconds before a rank counts as hanging: on a busy machine a healthy one has taken more than a minute."""


def _serve(rank: int, size: int, store: str, orders: Connection) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    while (order := orders.recv()) is not None:
        function, arguments = order
        try:
            orders.send((True, function(rank, size, *arguments)))
        except Exception:
            orders.send((False, traceback.format_exc()))
    dist.destroy_process_group()


class RankPool:
    """``run(function, *arguments)`` calls ``function(rank, size, *arguments)`` on every rank."""

    def __init__(self, size: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connections = []
        self._processes = []
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
        answers = []
        for connection in self._connections:
            if not connection.poll(_PATIENCE):
                raise TimeoutError(f"a rank did not answer within {_PATIENCE} seconds")
            answers.append(connection.recv())
        for good, answer in answers:
            if not good:
                raise AssertionError(f"a rank failed:\n{answer}")
        return [answer for _, answer in answers]

    def close(self) -> None:
        for connection, process in zip(self._connections, self._processes, strict=True):
            if process.is_alive():
                connection.send(None)
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
