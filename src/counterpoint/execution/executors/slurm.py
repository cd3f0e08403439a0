"""Units carried out by jobs of SLURM: an array of jobs that each take units, and one after it that ends the work."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, final

from ... import trust
from ...files import write_text
from .._work import Work
from ..unit import Listener, PortableUnit, ResourceRequest, Unit, WorkHandover

T = TypeVar("T")
LAST_WORD = 120
"""Seconds before the time limit in which a run comes to a checkpoint."""
_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""File systems that no other machine can see."""


@final
@dataclass(frozen=True)
class Slurm:
    """Executor through SLURM's queue.

    Scripts lie in ``slurm/`` in the work's folder. Every job of the array runs ``counterpoint work`` there: it takes
    the next unit that is left, and ends when there is none; the job after the array takes up what a cancelled one left,
    and ends the work. Where the time limit comes near, a job's unit comes to a checkpoint, and the job is queued
    again. Partition, account and the like are those of sbatch's own variables (``SBATCH_PARTITION``, …).

    Attributes:
        time: limit of a job, as sbatch takes it; the partition's own unless given.
        submit: submit the jobs, rather than say how.
    """

    time: str = ""
    submit: bool = False

    def check(self, needs: ResourceRequest) -> None:
        """Refuse to submit where there is nothing to submit with.

        Raises:
            FileNotFoundError: if there is no ``sbatch`` here.
        """
        if self.submit and shutil.which("sbatch") is None:
            raise FileNotFoundError(
                "there is no sbatch here: repeat this command on a machine of the cluster"
            )

    def carry_out(
        self, units: Sequence[Unit[T]], listener: Listener | None = None, listed: Path | None = None
    ) -> list[T]:
        """Return all results, in the order of the units, where all are there; otherwise hand over to jobs.

        Raises:
            WorkHandover: with the command, or the jobs that were submitted.
            ValueError: for units that no folder lists, and a folder that other machines cannot see.
            FileNotFoundError: if there is no ``sbatch`` here to submit with.
            RuntimeError: if SLURM refuses the jobs; with its reason.
        """
        work = Work(units, listener)
        if not work.left:
            return work.results
        if listed is None:
            raise ValueError("jobs of SLURM find units in a folder that lists them, and these have none")
        _check_shared(listed)
        if self.submit and (waiting := _queued(listed)):
            raise WorkHandover(f"job {waiting} is in hand already; see: squeue --job {waiting}")
        first = units[work.left[0]]
        needs = first.needs if isinstance(first, PortableUnit) else ResourceRequest()
        scripts = listed.absolute() / "slurm"
        array, last = scripts / "runs.sh", scripts / "end.sh"
        write_text(array, self._script(listed, needs, len(work.left)))
        write_text(last, self._script(listed, needs, 0))
        if not self.submit:
            both = f"sbatch --dependency=afterany:$(sbatch --parsable {_quoted(array)}) {_quoted(last)}"
            raise WorkHandover(f"submit the jobs with:\n{both}\nor repeat this command with --submit")
        self.check(needs)
        job = _submit(str(array))
        write_text(scripts / "job", job)
        end = _submit(f"--dependency=afterany:{job}", str(last))
        raise WorkHandover(
            f"submitted job {job}, of {len(work.left)} that take runs, and job {end}, which ends the work after them; "
            f"see: counterpoint status {_quoted(listed)}"
        )

    def _script(self, folder: Path, needs: ResourceRequest, count: int) -> str:
        """Return the script of an array of jobs that take units, or of the one after it."""
        folder = folder.absolute()
        gpus = -(-needs.gpus // needs.nodes)
        options = {
            "job-name": f"{folder.name}{'' if count else '-end'}",
            "output": folder / "slurm" / ("%A_%a.log" if count else "%j.log"),
            "open-mode": "append",
            "chdir": os.getcwd(),
            "nodes": needs.nodes,
            "ntasks-per-node": 1,
            "cpus-per-task": -(-needs.cpus // needs.nodes),
            "signal": f"B:HUP@{LAST_WORD}",
        }
        options |= {"array": f"1-{count}"} if count else {}
        options |= {"gpus-per-node": gpus} if gpus else {}
        options |= {"mem": f"{-(-needs.memory // needs.nodes // 2**20)}M"} if needs.memory else {}
        options |= {"time": self.time} if self.time else {}
        # With -P no module is imported from the folder that the job stands in.
        words = [
            sys.executable,
            "-P",
            "-m",
            "counterpoint",
            "work",
            str(folder),
            *["--no-wait"] * bool(count),
        ]
        trusted = (f"export {name}={shlex.quote(value)}" for name, value in trust.environment().items())
        return "\n".join(
            [
                "#!/bin/bash",
                *(f"#SBATCH --{name}={shlex.quote(str(value))}" for name, value in options.items()),
                "#SBATCH --requeue",
                *trusted,
                f"{shlex.join(words)} &",
                "work=$!",
                "# The time limit is near: the run comes to a checkpoint, and goes on when the job is begun again.",
                "trap 'kill -HUP $work' HUP",
                "trap 'kill -TERM $work' TERM",
                "status=0; wait $work || status=$?",
                "while kill -0 $work 2>/dev/null; do status=0; wait $work || status=$?; done",
                'if [ $status = 129 ]; then scontrol requeue "$SLURM_JOB_ID"; fi',
                "exit $status",
                "",
            ]
        )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _submit(*words: str) -> str:
    """Submit a script and return the job's number."""
    done = subprocess.run(["sbatch", "--parsable", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"sbatch refused the job: {' '.join(done.stderr.split())}")
    return done.stdout.strip().partition(";")[0]


def _queued(folder: Path) -> str:
    """Return the number of the job that was submitted for a folder and has not ended; empty where there is none."""
    mark = folder / "slurm" / "job"
    if not mark.exists() or shutil.which("squeue") is None:
        return ""
    job = mark.read_text(encoding="utf-8").strip()
    listing = subprocess.run(
        ["squeue", "--noheader", "--job", job], capture_output=True, text=True, check=False
    )
    return job if listing.returncode == 0 and listing.stdout.strip() else ""


def _check_shared(folder: Path) -> None:
    """Refuse a folder in this machine's memory; of another one the jobs say whether they see it before they begin."""
    path = folder.absolute()
    mounts = []
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, kind, *_ = line.split()
        if path.is_relative_to(point):
            mounts.append((len(point), kind))
    if mounts and max(mounts)[1] in _MEMORY:
        raise ValueError(
            f"{folder} is in the memory of this machine, and jobs on others do not see it: choose a folder on a disk "
            "that all machines of the cluster share, with --out, or COUNTERPOINT_CACHE"
        )
