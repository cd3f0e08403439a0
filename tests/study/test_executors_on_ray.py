"""Studies on a Ray cluster whose workers or commands are killed: the runs are those of an undisturbed study."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures import ray_cluster
from fixtures.commands import counterpoint
from fixtures.compared import runs
from fixtures.killed_studies import COMPARE, KILLS, Undisturbed, disturbed, states

pytestmark = [pytest.mark.slow, pytest.mark.system]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Return a Ray cluster of a head and two machines that work, with a processor and, so they say, a GPU each."""
    with ray_cluster.cluster() as made:
        ray_cluster.machines(made)
        yield made


def test_a_study_on_ray_whose_workers_are_killed(
    options: list[str], undisturbed: Undisturbed, cluster: Any, tmp_path: Path
) -> None:
    study, ended = tmp_path / "study", threading.Event()

    def kill() -> None:
        for moment in itertools.islice(undisturbed.moments(), KILLS):
            while not (held := list(study.glob("runs/*/*/.lease-*.json"))) and not ended.is_set():
                time.sleep(0.05)
            ended.wait(moment)
            try:
                os.kill(json.loads(held[0].read_text())["process"], signal.SIGKILL)
            except (OSError, ValueError, IndexError):
                continue  # it has ended meanwhile

    words = [*COMPARE, *options, "--executor", "ray", "--address", cluster.address, "--out", study]
    with counterpoint(tmp_path / "log", *words) as session:
        thread = threading.Thread(target=kill)
        thread.start()
        try:
            status = session.ends(900)
        finally:
            ended.set()
            thread.join()
        assert status == 0, session.output
    undisturbed.check(study)


def test_a_study_on_ray_whose_command_is_killed(
    options: list[str], undisturbed: Undisturbed, cluster: Any, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    there = ["--executor", "ray", "--address", cluster.address, "--out", study]
    words = [sys.executable, "-m", "counterpoint", *COMPARE, *options, *there]
    # One kill in training and one before a run: what lies between is the same as under the other executors.
    disturbed(tmp_path / "log", words, study, undisturbed.moments(), kills=2)
    undisturbed.check(study)


def test_runs_of_several_gpus_jobs_of_ray_train_outlive_process(
    options: list[str], cluster: Any, tmp_path: Path
) -> None:
    words = ["compare", "clip", *options, "--steps", "100", "--seeds", "1", "--validate-every", "100"]
    there = ["--executor", "ray", "--address", cluster.address, "--gpus-per-run", "2"]
    with counterpoint(tmp_path / "log", *words, "--jobs", "1", "--out", tmp_path / "one") as session:
        assert session.ends() == 0, session.output
    with counterpoint(tmp_path / "log", *words, *there, "--out", tmp_path / "two") as session:
        session.wait_until(lambda: any(tmp_path.glob("two/runs/*/*/checkpoint/step-*")), "a checkpoint")
        (held,) = tmp_path.glob("two/runs/*/*/.lease-*.json")
        os.kill(json.loads(held.read_text())["process"], signal.SIGKILL)
        assert session.ends(900) == 0, session.output
    assert states(tmp_path / "two") == ["finished"]
    assert (tmp_path / "two" / "report.html").exists()
    losses = [
        pl.read_parquet(run / "metrics.parquet").filter(name="loss")["value"].to_list()
        for study in ("one", "two")
        for run in runs(tmp_path / study)
    ]
    # float32: Adam enlarges its rounding step by step. The run goes on from step 10 or so, so 40 steps show enough;
    # the others leave time to find its process.
    assert losses[1][:4] == pytest.approx(losses[0][:4], rel=1e-3)
