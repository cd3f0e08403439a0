"""Trackers: where the numbers of a run go, and what happens where one of them cannot take them."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.recipes import Recipe, override
from counterpoint.registry import MissingPackageError, UnknownNameError
from counterpoint.study.training.runner import run
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.record.metrics import read_metrics
from counterpoint.training.run import Run
from counterpoint.training.saving.checkpoint import load as load_checkpoint
from counterpoint.training.trackers import TRACKERS, MetricLog, Remote, check
from counterpoint.training.trackers import _log as log_module
from fixtures.full_disk import full_disk


class _Stop(Exception):
    """The error that ends a run at once."""


@pytest.fixture
def what(recipe: Recipe) -> Run:
    return Run("clip", "emoji", override(recipe, {"steps": 9, "checkpoint_every": 3, "log_every": 1}))


class _Server:
    """Stand-in for a tracker's server and for Lightning's logger of it: what was sent, by run."""

    def __init__(self) -> None:
        self.runs: dict[str, list[tuple[int, Mapping[str, float]]]] = {}
        self.ends: list[str] = []
        self.there, self.version = True, ""

    def log_hyperparams(self, values: Mapping[str, object]) -> None:
        self.arm = values["arm"]

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        if not self.there:
            raise ConnectionError("the server is gone")
        self.runs[self.version].append((step, values))

    def save(self) -> None:
        pass

    def finalize(self, status: str) -> None:
        self.ends.append(status)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> _Server:
    server = _Server()

    class Standing(Remote):
        def opened(self, folder: Path, run: str | None) -> _Server:
            server.version = run or f"run-{len(server.runs)}"
            server.runs.setdefault(server.version, [])
            return server

    monkeypatch.setattr(
        log_module, "TRACKERS", type("Registry", (), {"get": staticmethod(lambda name: Standing)})
    )
    return server


def test_every_tracker_is_one_of_the_room() -> None:
    assert TRACKERS.names() == ("mlflow", "parquet", "tensorboard", "wandb")
    assert all(TRACKERS.get(name).__abstractmethods__ == frozenset() for name in TRACKERS.names())


def test_an_unknown_tracker_is_refused_and_no_folder_left(what: Run, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown tracker 'wandbb': did you mean 'wandb'"):
        run(what, tmp_path / "run", track=("wandbb",))
    assert not (tmp_path / "run").exists()


def test_full_disk_leaves_the_numbers_and_the_checkpoint_before(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, "metrics", after=1)
    with pytest.raises(
        OSError,
        match=r"No space left on device \(it takes about \d+ KB, and .* free there\).*run/metrics.parquet",
    ):
        run(what, tmp_path / "run")
    monkeypatch.undo()
    step = read_metrics(tmp_path / "run")["step"].max()
    saved = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert saved is not None
    assert step == saved.step == 3
    run(what, tmp_path / "run")
    assert read_metrics(tmp_path / "run")["step"].max() == 9


@pytest.mark.parametrize("command", [["train", "clip"], ["compare", "clip", "siglip"]])
def test_the_command_refuses_an_unknown_tracker_at_once(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--track", "tensorboard", "ml-flow"]) == 1
    assert "unknown tracker 'ml-flow': did you mean 'mlflow'?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_refused_before_anything_is_trained(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'counterpoint\[track\]'"):
        run(what, tmp_path / "run", track=("tensorboard",))
    assert not (tmp_path / "run").exists()
    check(["parquet"])


def test_a_tracker_that_nobody_asked_for_writes_nothing(tmp_path: Path) -> None:
    with MetricLog(tmp_path) as log:
        log.add(1, {"loss": 2.0})
        log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.parquet"]
    assert read_metrics(tmp_path).rows() == [(1, "loss", 2.0)]


def test_a_run_that_goes_on_does_so_in_the_same_remote_run(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("---\narm: clip\n...\n")
    with pytest.raises(_Stop):
        _ended_by(_Stop(), tmp_path, steps=4, saved=2)
    with MetricLog(tmp_path, ["there"], since=2) as log:
        for step in (3, 4, 5):
            log.add(step, {"loss": float(step)})
        log.close()
    assert {name: [step for step, _ in sent] for name, sent in server.runs.items()} == {
        "run-0": [1, 2, 3, 4, 5]
    }
    assert server.arm == "clip"
    assert server.ends == ["failed", "success"]
    assert read_metrics(tmp_path)["step"].to_list() == [1, 2, 3, 4, 5]


def test_a_run_that_is_stopped_has_not_ended(server: _Server, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _ended_by(KeyboardInterrupt(), tmp_path, steps=1, saved=1)
    assert server.ends == []


def _ended_by(error: BaseException, folder: Path, steps: int, saved: int) -> None:
    with MetricLog(folder, ["there"]) as log:
        for step in range(1, steps + 1):
            log.add(step, {"loss": float(step)})
            if step == saved:
                log.save()
        raise error


def test_server_is_gone_is_told_once_and_gets_what_it_missed(server: _Server, tmp_path: Path) -> None:
    with MetricLog(tmp_path, ["there"]) as log:
        log.add(1, {"loss": 1.0})
        server.there = False
        with pytest.warns(
            UserWarning, match=r"there takes no more numbers .*the server is gone.*metrics.parquet"
        ):
            log.add(2, {"loss": 2.0})
        with warnings.catch_warnings(action="error"):
            log.add(3, {"loss": 3.0})
            log.close()
    server.there = True
    with MetricLog(tmp_path, ["there"], since=3) as log:
        log.add(4, {"loss": 4.0})
        log.close()
    assert [step for step, _ in server.runs["run-0"]] == [1, 2, 3, 4]


def test_a_tracker_that_cannot_be_opened_ends_no_run(
    what: Run, server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "TRACKERS", TRACKERS)
    tensorboard = TRACKERS.get("tensorboard")
    monkeypatch.setattr(tensorboard, "__init__", lambda self, folder, since: 1 / 0)
    with pytest.warns(UserWarning, match="tensorboard takes no more numbers of this run") as told:
        state = run(what, tmp_path, tasks=("retrieval",), track=("tensorboard",))
    assert state.status == "finished"
    assert len(told) == 1


def _stopped_and_gone_on(what: Run, folder: Path, tracker: str) -> None:
    def stop(progress: TrainingProgress) -> None:
        if progress.step == 5:
            raise _Stop

    with pytest.raises(_Stop):
        run(what, folder, tasks=("retrieval",), on_step=stop, track=(tracker,))
    run(what, folder, tasks=("retrieval",), track=(tracker,))


@pytest.mark.slow
def test_mlflow_has_each_step_once_in_one_run(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    _stopped_and_gone_on(what, tmp_path / "run", "mlflow")
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (one,) = client.search_runs([client.get_experiment_by_name("counterpoint").experiment_id])
    assert one.info.status == "FINISHED"
    assert one.data.params["arm"] == "clip"
    steps = [metric.step for metric in client.get_metric_history(one.info.run_id, "loss")]
    assert sorted(steps) == list(range(1, 10))
    assert any("R_1" in name for name in one.data.metrics)


@pytest.mark.slow
def test_wandb_goes_on_under_the_same_id(what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    _stopped_and_gone_on(what, tmp_path / "run", "wandb")
    there = json.loads((tmp_path / "run" / "trackers" / "wandb.json").read_text())
    assert there["sent"] == 9
    parts = list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{there['run']}"))
    assert len(parts) == len(list((tmp_path / "run" / "wandb").glob("offline-run-*")))
    assert 1 <= len(parts) <= 2  # two within one second would have one name


@pytest.mark.slow
def test_an_mlflow_server_that_is_not_there_ends_no_run(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.warns(UserWarning, match="mlflow takes no more numbers of this run"):
        assert run(what, tmp_path, tasks=("retrieval",), track=("mlflow",)).status == "finished"
