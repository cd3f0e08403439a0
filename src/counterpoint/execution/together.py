"""Units that several processes work on together: ``torchrun`` starts a process a GPU, and each does its part.

The process that has the order begins the launcher, follows the unit through its folder, and passes a stop on. The
first of the processes holds the folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..reasons import printable, reason
from .children import environment
from .lease import InUseError, holder, leased
from .orders import WorkItem
from .ranks import first_to_fail
from .signals import StopRequest, end_with_grace, follow, postponed, raised
from .state import State, finish
from .unit import OnProgress, PortableUnit, Unit, UnitFailedError

T = TypeVar("T")
_WAIT = 0.5
"""Seconds between two looks at the processes."""
_OWNER = "COUNTERPOINT_OWNER"
_REASON = "COUNTERPOINT_REASON"
"""The variable that names the file into which the first process to fail writes why."""
_PORT = 29400


def carry_out(unit: Unit[T], on_progress: OnProgress | None = None) -> T:
    """Hold a unit's folder and return its result: what is not done yet is done now, by as many processes as it needs.

    Raises:
        InUseError: if another process has the folder.
        UnitFailedError: if one of several processes failed.
    """
    if isinstance(unit, PortableUnit) and unit.needs.gpus > 1 and "WORLD_SIZE" not in os.environ:
        if (result := unit.read()) is None:
            launch(WorkItem.of(unit), on_progress)
            result = unit.read()
        if result is None:
            raise UnitFailedError(f"{unit.key}: its processes ended without a result")
        return result
    with leased(unit.folder):
        return finish(unit, on_progress)


def launch(order: WorkItem, on_progress: OnProgress | None = None) -> None:
    """Carry out an order by as many processes as it needs GPUs, until they end.

    Raises:
        InUseError: if another process has the folder.
        UnitFailedError: if one of the processes failed; they have said why.
        StopRequest: if a stop was asked for; they have come to where the unit can go on.
    """
    folder = Path(order.folder)
    if (other := holder(folder)) is not None:
        raise InUseError(folder, other)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "reason"
        process = subprocess.Popen(
            command(order), env=environment(threads=1) | _owner(order) | {_REASON: str(path)}
        )
        seen, told = None, False
        with postponed(at_once=process.kill) as stop:
            while (status := process.poll()) is None:
                # Once: each further signal breaks off the launcher's wait for the checkpoint of its processes.
                if stop.requested and not told:
                    process.terminate()
                    told = True
                state = State.read(folder)
                news = state is not None and state != seen and state.status == "working"
                if news and on_progress is not None and state is not None:
                    on_progress(state.progress)
                seen = state
                time.sleep(_WAIT)
            stop.check()
        if status:
            if (other := holder(folder)) is not None:
                raise InUseError(folder, other)
            why = path.read_text(encoding="utf-8") if path.exists() else f"ended with status {status}"
            raise UnitFailedError(f"{order.key}: one of {order.needs.gpus} processes failed: {why}")


def command(order: WorkItem) -> list[str]:
    """Return the command that starts the processes of an order: on this machine, or on all those of a SLURM job.

    Raises:
        ValueError: if the order needs several machines and this is no SLURM job.
    """
    nodes, each = order.needs.nodes, -(-order.needs.gpus // order.needs.nodes)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(each)]
    begun = ["-m", "counterpoint.execution.together", json.dumps(order.plain())]
    if nodes == 1:
        return [*launcher, "--standalone", *begun]
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        raise ValueError(
            f"{order.key} needs {nodes} machines: use --executor slurm or --executor ray, or --nodes-per-run 1"
        )
    first = f"{os.environ.get('SLURMD_NODENAME', 'localhost')}:{_PORT + int(job) % 1000}"
    meet = ["--rdzv-backend", "c10d", "--rdzv-endpoint", first, "--rdzv-id", job]
    return ["srun", f"--nodes={nodes}", "--ntasks-per-node=1", *launcher, f"--nnodes={nodes}", *meet, *begun]


def _owner(order: WorkItem) -> dict[str, str]:
    # On other machines the number means nothing, and srun ends what it has started there.
    return {_OWNER: str(os.getpid())} if order.needs.nodes == 1 else {}


def main(order: WorkItem) -> int:
    """Do this process's part of an order."""
    follow(os.getppid(), end_with_grace)
    if owner := os.environ.get(_OWNER):
        threading.Thread(target=_follow_owner, args=(int(owner), os.getppid()), daemon=True).start()
    try:
        with raised(), leased(Path(order.folder)):
            finish(order.parse())
    except StopRequest as stopped:
        return stopped.status
    except Exception as error:
        if first_to_fail(message := reason(error)):
            print(printable(f"{order.key}: {message}"), file=sys.stderr)
            # Not by the unit's state: the first process writes that, and may be ended before it could.
            with suppress(OSError, KeyError):  # on another machine there is no such place
                Path(os.environ[_REASON]).write_text(message, encoding="utf-8")
        return 1
    return 0


def _follow_owner(owner: int, launcher: int) -> None:
    """Ask the launcher to end its processes once the process that gave the order is gone."""
    while True:
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            os.kill(launcher, signal.SIGTERM)
            return
        time.sleep(_WAIT)


if __name__ == "__main__":
    sys.exit(main(WorkItem.read(json.loads(sys.argv[1]))))
