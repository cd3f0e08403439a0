"""Units carried out as tasks of a Ray cluster, and those of several GPUs as jobs of Ray Train.

Every machine of the cluster sees the units' folders: a task leaves its result there, and says there how it stands. So
one that is lost with its worker or its machine is begun again elsewhere, and goes on from its checkpoint.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
import traceback
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from ... import trust
from ...reasons import counted, reason
from ...registry import require
from .._work import Work
from ..children import UnitOutcome
from ..lease import InUseError, holder, leased
from ..orders import WorkItem, given_in, here
from ..signals import GRACE, StopRequest, postponed, raised
from ..state import State, finish
from ..unit import Listener, ResourceRequest, Unit

T = TypeVar("T")
RETRIES = 20
"""Times that a unit is begun again after its worker or its machine was lost."""
_WAIT = 0.5
"""Seconds between two looks at the cluster."""
_AGAIN = 5.0
"""Seconds until a folder that another process holds is tried again: one that was lost holds it for a while."""
_SEEN = 120.0
"""Seconds in which every machine of the cluster must have answered."""
_REACHED = 5.0
"""Seconds in which a cluster's address must have answered."""


@final
@dataclass(frozen=True)
class Ray:
    """Executor on a Ray cluster.

    Ctrl-C, SIGTERM and SIGHUP end the units in hand where they can go on. So does the first error of a unit.

    Attributes:
        address: of the cluster, ``HOST:PORT`` or ``ray://HOST:PORT``; unless given, that of the variable
            ``RAY_ADDRESS``, or the one that runs on this machine.
    """

    address: str = ""

    def check(self, needs: ResourceRequest) -> None:
        """Refuse a cluster that is not there, or has less than a unit needs.

        Raises:
            MissingPackageError: if Ray is not installed.
            ConnectionError: if there is no cluster at the address.
            ValueError: if a unit needs more than the cluster has.
        """
        with _connected(self.address) as ray:
            _check_needs(ray, [needs])

    def carry_out(
        self, units: Sequence[Unit[T]], listener: Listener | None = None, listed: Path | None = None
    ) -> list[T]:
        """Carry out those units that are not finished, and return all results in the order of the units.

        Raises:
            MissingPackageError: if Ray is not installed.
            ConnectionError: if there is no cluster at the address.
            ValueError: if a unit needs more than the cluster has, or a machine of it does not see the units' folders.
            StopRequest: after every unit in hand has come to where it can go on.
            UnitFailedError: if a unit ended with an error, or was lost too often.
        """
        work = Work(units, listener)
        orders = {index: WorkItem.of(units[index]) for index in work.left}
        if orders:
            with _connected(self.address) as ray:
                _check_needs(ray, [order.needs for order in orders.values()])
                _check_seen(ray, Path(os.path.commonpath([order.folder for order in orders.values()])))
                _Tasks(ray, work, orders).run()
        return work.results


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a cluster in the block, and to the one that this process is connected to where there is one."""
    ray = require("ray", "cluster")
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    advice = "start one with: ray start --head, or give its --address"
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=_REACHED).close()
        except (OSError, ValueError) as error:
            raise ConnectionError(
                f"there is no Ray cluster at {address} ({reason(error)}): {advice}"
            ) from error
    try:
        with _restoring_sigterm():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (ConnectionError, RuntimeError) as error:
        raise ConnectionError(f"there is no Ray cluster at {address}: {advice}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _restoring_sigterm() -> Iterator[None]:
    """Leave SIGTERM what it meant before the block: in a main thread Ray has it end the process at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_needs(ray: Any, needs: Sequence[ResourceRequest]) -> None:
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(machine.get("GPU", 0) for machine in machines))
    cpus = int(max((machine.get("CPU", 0) for machine in machines), default=0))
    for need in needs:
        if need.gpus > gpus:
            raise ValueError(
                f"a run is to have {counted(need.gpus, 'GPU')}, and the cluster has {gpus}: lower --gpus-per-run"
            )
        if _processors(need) > cpus:
            raise ValueError(
                f"a run is to have {counted(_processors(need), 'processor')} of one machine, for its threads and its "
                f"workers, and the largest of the cluster has {cpus}: lower --threads or --workers"
            )


def _processors(needs: ResourceRequest) -> int:
    """Return the processors of each of a unit's processes."""
    return -(-needs.cpus // max(needs.gpus, 1))


def _check_seen(ray: Any, folder: Path) -> None:
    """Check that every machine that can work sees a folder."""
    strategy = require("ray.util.scheduling_strategies", "cluster").NodeAffinitySchedulingStrategy
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f".seen-{uuid.uuid4().hex}"
    mark.touch()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    sees = ray.remote(_sees)
    try:
        references = [
            sees.options(num_cpus=0, scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(
                str(mark)
            )
            for node in nodes
        ]
        answers = ray.get(references, timeout=_SEEN)
    finally:
        mark.unlink()
    blind = [node["NodeManagerHostname"] for node, seen in zip(nodes, answers, strict=True) if not seen]
    if blind:
        raise ValueError(
            f"{folder} is not to be seen on {', '.join(blind)}: choose a folder on a disk that all machines of the "
            "cluster share, with --out, or COUNTERPOINT_CACHE"
        )


def _sees(path: str) -> bool:
    return Path(path).exists()


@final
class _Tasks:
    """Units in the hands of a cluster."""

    def __init__(self, ray: Any, work: Work[Any], orders: dict[int, WorkItem]) -> None:
        self.ray, self.work, self.orders = ray, work, orders
        self.hand: dict[Any, int] = {}
        self.again: dict[int, float] = {}
        self.reported: dict[int, State] = {}

    def run(self) -> None:
        """Carry out all units, until the end, a stop or the first error."""
        with postponed() as stop:
            for index in self.orders:
                self._begin(index)
            while (self.hand or self.again) and not stop.requested:
                done = self._wait()
                for reference in done:
                    self._end(self.hand.pop(reference), reference)
                for index in self.hand.values():
                    self._tell(index)
                for index in [index for index, at in self.again.items() if at < time.monotonic()]:
                    del self.again[index]
                    self._begin(index)
            if stop.requested:
                self._stop()
            stop.check()

    def _wait(self) -> list[Any]:
        if not self.hand:
            time.sleep(_WAIT)
            return []
        done, _ = self.ray.wait([*self.hand], num_returns=len(self.hand), timeout=_WAIT)
        return list(done)

    def _begin(self, index: int) -> None:
        order = self.orders[index]
        several = order.needs.gpus > 1
        # Of several GPUs each process is an actor of Ray Train, which states its own needs.
        options = {"num_cpus": 0} if several else _resources(order.needs)
        task = self.ray.remote(_together if several else _alone)
        begun = task.options(**options, max_retries=RETRIES, name=order.key).remote(
            order.plain(), here(), trust.environment()
        )
        self.hand[begun] = index

    def _end(self, index: int, reference: Any) -> None:
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            *_, last = str(error).strip().splitlines()
            answer = {"error": last, "traceback": str(error)}
        if "in_use" in answer:
            self.again[index] = time.monotonic() + _AGAIN
            if not self.hand:
                self.work.listener.waits(answer["in_use"])
        elif not self.work.found_finished(index):
            self._stop()
            raise self.work.failed(index, UnitOutcome(answer.get("error", ""), answer.get("traceback", "")))

    def _tell(self, index: int) -> None:
        state = State.read(Path(self.orders[index].folder))
        if state is not None and state.status == "working" and state != self.reported.get(index):
            self.reported[index] = state
            self.work.listener.progressed(self.work.units[index], state.progress)

    def _stop(self) -> None:
        """Let the units in hand end where they can go on."""
        for reference in self.hand:
            self.ray.cancel(reference, force=False)
        if self.hand:
            self.ray.wait([*self.hand], num_returns=len(self.hand), timeout=GRACE)


def _resources(needs: ResourceRequest) -> dict[str, Any]:
    memory = {"memory": needs.memory} if needs.memory else {}
    return {"num_cpus": needs.cpus, "num_gpus": needs.gpus, **memory}


def _alone(plain: dict[str, Any], began: str, trusted: dict[str, str]) -> dict[str, str]:
    """Carry out an order in this process, and say how it ended."""
    trust.receive(trusted)
    order = WorkItem.read(plain)
    try:
        with given_in(began), raised(), leased(Path(order.folder)):
            finish(order.parse())
    except InUseError as error:
        return {"in_use": str(error)}
    except Exception as error:
        return {"error": reason(error), "traceback": traceback.format_exc()}
    return {}


def _together(plain: dict[str, Any], began: str, trusted: dict[str, str]) -> dict[str, str]:
    """Carry out an order by the processes of a job of Ray Train, and say how it ended."""
    train, torch = require("ray.train", "cluster"), require("ray.train.torch", "cluster")
    order = WorkItem.read(plain)
    folder, needs = Path(order.folder), order.needs
    if (other := holder(folder)) is not None:
        return {"in_use": str(InUseError(folder, other))}
    each = {"CPU": _processors(needs), "GPU": 1} | (
        {"memory": needs.memory // needs.gpus} if needs.memory else {}
    )
    storage = folder / ".ray"
    trainer = torch.TorchTrainer(
        _part,
        train_loop_config={"order": plain, "began": began, "trusted": trusted},
        torch_config=_without_group(),
        scaling_config=train.ScalingConfig(
            num_workers=needs.gpus,
            use_gpu=True,
            resources_per_worker=each,
            placement_strategy="PACK" if needs.nodes == 1 else "SPREAD",
        ),
        run_config=train.RunConfig(
            name="run",
            storage_path=str(storage),
            failure_config=train.FailureConfig(max_failures=RETRIES),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        return {"error": reason(error), "traceback": traceback.format_exc()}
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    return {}


def _without_group() -> Any:
    """Return the settings of a job whose processes form their group by themselves, and see each other's GPUs."""
    backend: Any = require("ray.train.backend", "cluster").Backend
    settings: Any = require("ray.train.torch", "cluster").TorchConfig

    class Processes(backend):  # type: ignore[misc] # of a package that may be missing
        share_cuda_visible_devices = True

    class Settings(settings):  # type: ignore[misc] # as above
        @property
        def backend_cls(self) -> type[Processes]:
            return Processes

    return Settings()


def _part(config: dict[str, Any]) -> None:
    """Do this process's part of an order, among others that find each other as those of ``torchrun`` do."""
    context = require("ray.train", "cluster").get_context()
    rendezvous = _free_port() if context.get_world_rank() == 0 else None
    rendezvous = require("ray.train.collective", "cluster").broadcast_from_rank_zero(rendezvous)
    ranks = {"RANK": context.get_world_rank(), "WORLD_SIZE": context.get_world_size()}
    local = {"LOCAL_RANK": context.get_local_rank(), "LOCAL_WORLD_SIZE": context.get_local_world_size()}
    os.environ.update({name: str(value) for name, value in {**ranks, **local, **rendezvous}.items()})
    trust.receive(config["trusted"])
    order = WorkItem.read(config["order"])
    try:
        # After a loss the folder is in dead hands for a while.
        with given_in(config["began"]), leased(Path(order.folder), wait=True):
            finish(order.parse())
    except StopRequest as stopped:
        raise RuntimeError(str(stopped)) from stopped


def _free_port() -> dict[str, Any]:
    """Return an address of this machine where the other processes can find this one."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    return {"MASTER_ADDR": require("ray", "cluster").util.get_node_ip_address(), "MASTER_PORT": port}
