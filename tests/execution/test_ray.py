"""Units on a Ray cluster of two machines: carried out once each, and taken up again when a machine is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from counterpoint.execution import ResourceRequest, StopRequest, UnitFailedError
from counterpoint.execution.executors.ray import Ray
from counterpoint.execution.state import State
from fixtures import ray_cluster
from fixtures.units import Counting, Heard

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.system]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a machine that only leads."""
    tests = str(Path(__file__).parents[1])  # where the tests' own units are, which the machines must know
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([tests, before])
    try:
        with ray_cluster.cluster() as made:
            yield made
    finally:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def two(cluster: Any) -> Iterator[Any]:
    """Two machines that work, with a processor and, so they say, a GPU each."""
    nodes = ray_cluster.machines(cluster)
    yield cluster
    for node in nodes:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)


def until(happened: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"waited {seconds} seconds for {what}"
        time.sleep(0.05)


def three(folder: Path, **options: object) -> list[Counting]:
    return [Counting(name, folder / name, **options) for name in ("a", "b", "c")]  # type: ignore[arg-type]


def test_each_unit_is_carried_out_once_and_told_of(two: Any, tmp_path: Path) -> None:
    units, heard = three(tmp_path, total=10, seconds=0.3), Heard()
    assert Ray(two.address).carry_out(units, heard) == [10, 10, 10]
    assert sorted(heard.ends) == ["a: counted to 10", "b: counted to 10", "c: counted to 10"]
    assert set(heard.steps) == {"a", "b", "c"}
    assert Ray(two.address).carry_out(units) == [10, 10, 10]
    assert [len(unit.steps) for unit in units] == [10, 10, 10], "nothing was done twice"
    assert os.getpid() not in units[0].steps


def test_an_error_names_the_unit_and_what_is_done(two: Any, tmp_path: Path) -> None:
    units = [Counting("a", tmp_path / "a"), Counting("b", tmp_path / "b", fails="error")]
    with pytest.raises(
        UnitFailedError, match=r"b: two is too much \(\d of 2 are done; the same command"
    ) as told:
        Ray(two.address).carry_out(units)
    assert "ValueError" in "".join(told.value.__notes__)


def test_the_unit_of_a_lost_worker_goes_on_where_it_was(two: Any, tmp_path: Path) -> None:
    unit = Counting("a", tmp_path / "a", total=40, seconds=0.1)

    def kill() -> None:
        until(lambda: len(unit.steps) > 4, "the unit to begin")
        os.kill(unit.steps[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    assert Ray(two.address).carry_out([unit]) == [40]
    thread.join()
    assert len(unit.steps) == 40
    assert len(set(unit.steps)) == 2


def test_the_unit_of_a_lost_machine_is_taken_up_elsewhere(two: Any, tmp_path: Path) -> None:
    units = [Counting(name, tmp_path / name, total=60, seconds=0.1) for name in "ab"]

    def remove() -> None:
        until(lambda: all(len(unit.steps) > 4 for unit in units), "both units to begin")
        two.remove_node(next(iter(two.worker_nodes)), allow_graceful=False)

    thread = threading.Thread(target=remove)
    thread.start()
    assert Ray(two.address).carry_out(units) == [60, 60]
    thread.join()
    assert [len(unit.steps) for unit in units] == [60, 60]
    assert sorted(len(set(unit.steps)) for unit in units) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_units_where_they_can_go_on(number: signal.Signals, two: Any, tmp_path: Path) -> None:
    units = three(tmp_path, total=100_000, seconds=0.01)

    def press() -> None:
        until(lambda: sum(bool(unit.steps) for unit in units) == 2, "two units to begin")
        os.kill(os.getpid(), number)

    thread, before = threading.Thread(target=press), signal.getsignal(number)
    thread.start()
    with pytest.raises(StopRequest) as stopped:
        Ray(two.address).carry_out(units)
    thread.join()
    assert stopped.value.number == number
    assert signal.getsignal(number) == before, "Ray puts a handler of its own in place of SIGTERM's"
    begun = [unit for unit in units if unit.steps]
    assert len(begun) == 2
    for unit in begun:
        state = State.read(unit.folder)
        assert state is not None
        assert state.status == "stopped"
        assert not list(unit.folder.glob(".lease-*"))


def test_a_unit_of_several_gpus_is_a_job_of_ray_train(two: Any, tmp_path: Path) -> None:
    unit = Counting("a", tmp_path / "a", total=40, seconds=0.2, needs=ResourceRequest(cpus=2, gpus=2))
    with pytest.raises(ValueError, match=r"is to have 3 GPUs, and the cluster has 2: lower --gpus-per-run"):
        Ray(two.address).carry_out([Counting("b", tmp_path / "b", needs=ResourceRequest(gpus=3))])
    assert Ray(two.address).carry_out([unit]) == [40]
    assert len(set(unit.steps)) == 2, "each process counted"
    assert not (unit.folder / ".ray").exists()


def test_what_is_wrong_is_said_at_once(two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError, match=r"there is no Ray cluster at 127.0.0.1:1 .*ray start --head"):
        Ray("127.0.0.1:1").carry_out(three(tmp_path))
    with pytest.raises(ValueError, match=r"is to have 9 processors of one machine.*the largest .* has 1"):
        Ray(two.address).carry_out([Counting("b", tmp_path / "b", needs=ResourceRequest(cpus=9))])
    monkeypatch.setattr("counterpoint.execution.executors.ray._sees", lambda path: False)
    with pytest.raises(
        ValueError, match=r"is not to be seen on .*on a disk that all machines of the cluster share"
    ):
        Ray(two.address).carry_out(three(tmp_path))
