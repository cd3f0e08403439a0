"""Options that all commands have which carry out units of work: where, and with what."""

from __future__ import annotations

from dataclasses import fields

from pydantic.dataclasses import dataclass as form

from ...execution import Executor, ResourceRequest
from ...execution.executors import EXECUTORS, LOCAL
from ...forms import FORM, Count, Natural

_GB = 2**30


@form(frozen=True, config=FORM)
class Execution:
    """Options for where units of work are carried out.

    A field that an executor has too is an option of that executor alone.
    """

    executor: str = LOCAL
    """Place where runs are carried out: local; ray, a cluster; slurm, an array of jobs. See also: counterpoint work."""
    jobs: Count | None = None
    """Runs at a time on this machine, each with its share of the cores."""
    gpus_per_run: Natural = 0
    """GPUs of a run; with several, so many processes train it, and the batch is that of all."""
    nodes_per_run: Count = 1
    """Machines that the GPUs of a run are on."""
    memory_per_run: Natural = 0
    """GB of memory of a run that a cluster sets aside; as the cluster is set up, unless given."""
    address: str = ""
    """ray: the cluster's HOST:PORT; the one of RAY_ADDRESS, or on this machine, unless given."""
    time: str = ""
    """slurm: time limit of a job, as sbatch takes it (12:00:00); a run that reaches it goes on in a further one."""
    submit: bool = False
    """slurm: submit the jobs, rather than print the command that does."""

    @property
    def needs(self) -> ResourceRequest:
        """Return what a run needs, but for the processors, which follow from its recipe."""
        return ResourceRequest(
            gpus=self.gpus_per_run, nodes=self.nodes_per_run, memory=self.memory_per_run * _GB
        )

    @property
    def chosen(self) -> str | Executor:
        """Return the executor with its options, or the name of the local one, which each command makes as suits it.

        Raises:
            UnknownNameError: for a name that there is none of.
            ValueError: for an option that the executor does not have.
        """
        kinds = {name: EXECUTORS.get(name) for name in EXECUTORS.names()}
        kind = EXECUTORS.get(self.executor)
        known = {option.name for each in kinds.values() for option in fields(each)}
        values = {
            option.name: value
            for option in fields(self)
            if option.name in known and (value := getattr(self, option.name)) != option.default
        }
        accepted = {option.name for option in fields(kind)}
        for name in values.keys() - accepted:
            raise ValueError(f"--{name} is no option of --executor {self.executor}")
        return LOCAL if self.executor == LOCAL else kind(**values)
