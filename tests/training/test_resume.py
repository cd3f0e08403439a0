"""A run that was killed, interrupted or could not write goes on as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from safetensors.torch import load_file

from counterpoint.files import latest_checkpoint
from counterpoint.recipes import override
from counterpoint.study import runner
from counterpoint.study.runner import run
from counterpoint.training import checkpoint as checkpoints
from counterpoint.training.checkpoint import CheckpointError
from counterpoint.training.loop import Progress
from counterpoint.training.run import Run, RunState, load

_KILL = """
import os, signal, sys
from pathlib import Path
from counterpoint.study.runner import run
from counterpoint.training.run import Run
def at(progress):
    if progress.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
run(Run.read(Path(sys.argv[1])), Path(sys.argv[1]), on_step=at, tasks=("retrieval",))
"""


def same(a: Path, b: Path) -> None:
    """Weights and numbers over time are equal to the last bit."""
    left, right = (load_file(latest_checkpoint(p / "checkpoint") / "model.safetensors") for p in (a, b))  # type: ignore[operator]
    assert left.keys() == right.keys()
    for name in left:
        assert (left[name] == right[name]).all(), name
    timeless = pl.col("name") != "seconds"
    first, second = (pl.read_parquet(p / "metrics.parquet").filter(timeless) for p in (a, b))
    assert first.equals(second)


@pytest.fixture
def whole(what: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "whole"
    assert run(what, folder, tasks=("retrieval",)).status == "finished"
    return folder


def test_a_run_that_is_refused_leaves_no_folder(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("its window is too short")

    with monkeypatch.context() as first:
        first.setattr(runner, "check_model", refuse)
        with pytest.raises(ValueError, match="window"):
            run(what, tmp_path / "run", tasks=("retrieval",))
    assert not (tmp_path / "run").exists(), "so that it can hold another run"
    other = Run(what.arm, what.data, what.recipe, what.seed + 1)
    assert run(other, tmp_path / "run", tasks=("retrieval",)).status == "finished"


@pytest.mark.parametrize(("arm", "precision"), [("clip", "32"), ("byolip", "16-mixed")])
def test_a_killed_run_goes_on_bit_exactly_in_the_middle_of_an_epoch(
    arm: str, precision: str, what: Run, tmp_path: Path
) -> None:
    what = Run(arm, what.data, override(what.recipe, {"precision": precision}), what.seed)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(what, whole, tasks=("retrieval",))
    what.claim(killed)
    done = subprocess.run([sys.executable, "-c", _KILL, str(killed)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    saved = checkpoints.load(killed / "checkpoint")
    assert saved is not None
    assert saved.step == 6  # step 7 was done, but not yet saved
    state = run(what, killed, tasks=("retrieval",))
    assert state.status == "finished"
    same(whole, killed)


def test_ctrl_c_finishes_the_step_and_saves_it(what: Run, whole: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"

    def press(progress: Progress) -> None:
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(what, stopped, tasks=("retrieval",), on_step=press)
    saved = checkpoints.load(stopped / "checkpoint")
    assert saved is not None
    assert saved.step in (4, 5)
    run(what, stopped, tasks=("retrieval",))
    same(whole, stopped)


def test_a_full_disk_leaves_the_old_checkpoint(
    what: Run, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls, write = tmp_path / "full", [0], checkpoints.save_file

    def full(tensors: object, path: Path) -> None:
        calls[0] += 1
        if calls[0] > 3:  # the second checkpoint; each has a model and an optimiser
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(tensors, path)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left.*step-0000003 is intact"):
        run(what, folder, tasks=("retrieval",))
    monkeypatch.undo()
    assert [p.name for p in (folder / "checkpoint").iterdir()] == ["step-0000003"]
    run(what, folder, tasks=("retrieval",))
    same(whole, folder)


def test_a_finished_run_is_not_repeated(what: Run, whole: Path) -> None:
    def never(progress: Progress) -> None:
        raise AssertionError("it trained again")

    assert run(what, whole, on_step=never) == RunState.read(whole)


def test_the_model_of_a_run_folder_embeds(whole: Path) -> None:
    model = load(whole)
    z = model.embed("text", ["a small red circle", "a large blue square"])
    assert z.shape == (2, 256)
    assert z.norm(dim=1).tolist() == pytest.approx([1.0, 1.0])


def test_unreadable_checkpoint_says_which(whole: Path) -> None:
    path = latest_checkpoint(whole / "checkpoint")
    assert path is not None
    (path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=r"step-0000009 cannot be read.*Delete that folder"):
        load(whole)


def test_going_on_under_another_version_is_told(what: Run, tmp_path: Path) -> None:
    what.claim(tmp_path)
    RunState(status="running").write(tmp_path)
    path = tmp_path / "environment.json"
    written = json.loads(path.read_text())
    written["packages"]["torch"] = "1.0.0"
    path.write_text(json.dumps(written))
    with pytest.warns(UserWarning, match=r"begun under torch 1\.0\.0 and goes on under"):
        what.claim(tmp_path)
    what.claim(tmp_path)  # the environment is now the present one


def test_the_environment_names_the_dictionary(what: Run, tmp_path: Path) -> None:
    what.claim(tmp_path)
    assert len(json.loads((tmp_path / "environment.json").read_text())["wordnet"]) == 8


def test_weights_that_are_not_finite_are_said(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(replace(what, recipe=override(what.recipe, {"steps": 1})), tmp_path, tasks=("retrieval",))
    restore = checkpoints.restore

    def diverged(saved: Any, method: Any, optimizer: Any) -> None:
        restore(saved, method, optimizer)
        next(method.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(checkpoints, "restore", diverged)
    with pytest.raises(ValueError, match=r"holds 1 weights with NaN or infinity \(first: .*learning rate"):
        load(tmp_path)
