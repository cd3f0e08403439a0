"""A run that was killed, interrupted or could not write goes on as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.evaluation import create
from counterpoint.execution.lease import LeaseLostError, leased
from counterpoint.files import DamagedFileError, latest_checkpoint
from counterpoint.recipes import Recipe, override
from counterpoint.study.training import runner
from counterpoint.study.training.runner import run
from counterpoint.training import start
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.run import OtherRunError, Run, RunState
from counterpoint.training.saving import checkpoint as checkpoints
from counterpoint.training.saving import saver
from counterpoint.training.saving.checkpoint import CheckpointError
from counterpoint.training.start import keep_order, load
from fixtures.run_folders import contents, marks

_KILL = """
import os, signal, sys
from pathlib import Path
import torch
from counterpoint.recipes import Recipe
from counterpoint.study.training import runner
from counterpoint.training.saving import saver
from counterpoint.training.run import Run

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def before(module, name, when):
    real = getattr(module, name)
    def dying(*given, **named):
        if when(*given):
            die()
        return real(*given, **named)
    setattr(module, name, dying)

def step(number):
    return lambda now: now.step == number and die()

WINDOWS = {
    "before the first checkpoint": lambda: step(2),
    "in the middle of an epoch": lambda: step(7),
    "between metrics and checkpoint": lambda: before(saver, "save", lambda folder, step, *_: step == 6),
    "in a checkpoint": lambda: before(saver, "save_file", lambda _, path: "0000006" in str(path)),
    "after the last step": lambda: before(runner, "score", lambda *_: True),
    "in evaluation": lambda: before(runner, "write_json", lambda path, _: path.name == "diagnostics.json"),
}
torch.set_num_threads(1)
for name, arrange in WINDOWS.items():
    folder = Path(sys.argv[1]) / name
    child = os.fork()
    if not child:
        runner.run(Run.read(folder), folder, tasks=("retrieval",), on_step=arrange())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (name, status)
    print(name)
"""


@pytest.fixture(scope="module")
def trained(pairs: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(Run("clip", str(pairs), recipe, 0), folder, tasks=("retrieval",)).status == "finished"
    return folder


@pytest.fixture
def whole(trained: Path, tmp_path: Path) -> Path:
    """A finished run that a test may spoil."""
    return Path(shutil.copytree(trained, tmp_path / "whole"))


def test_a_run_that_is_refused_leaves_no_folder(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("its window is too short")

    with monkeypatch.context() as first:
        first.setattr(type(create("retrieval")), "check_model", refuse)
        with pytest.raises(ValueError, match="window"):
            run(what, tmp_path / "run", tasks=("retrieval",))
    assert not (tmp_path / "run").exists(), "so that it can hold another run"
    other = Run(what.arm, what.data, what.recipe, what.seed + 1)
    assert run(other, tmp_path / "run", tasks=("retrieval",)).status == "finished"


@pytest.mark.parametrize("moment", ["a checkpoint", "an error", "the evaluation"])
def test_run_whose_folder_another_process_took_writes_nothing(
    moment: str, what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before, describe = tmp_path / "run", {}, runner.describe

    def take() -> None:
        (lease,) = folder.glob(".lease-*.json")
        lease.rename(lease.with_suffix(".taken"))
        RunState(status="finished").write(folder)
        before.update(marks(folder))

    def on_step(now: TrainingProgress) -> None:
        if now.step == 6 and moment != "the evaluation":
            take()
            if moment == "an error":
                raise ZeroDivisionError

    def describe_later(*of: Any) -> dict[str, Any]:
        take()
        return describe(*of)

    if moment == "the evaluation":
        monkeypatch.setattr(runner, "describe", describe_later)
    with pytest.raises(LeaseLostError), leased(folder):
        run(what, folder, tasks=("retrieval",), on_step=on_step)
    assert before
    assert marks(folder).items() <= before.items()


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(("arm", "precision"), [("clip", "32"), ("byolip", "16-mixed")])
def test_run_that_was_killed_at_time_ends_as_if_it_had_not_been(
    arm: str, precision: str, what: Run, tmp_path: Path
) -> None:
    what = Run(arm, what.data, override(what.recipe, {"precision": precision}), what.seed)
    run(what, tmp_path / "whole", tasks=("retrieval",))
    names = re.findall(r'^    "(.*)": lambda', _KILL, re.MULTILINE)
    for name in names:
        what.reserve(tmp_path / name)
    done = subprocess.run([sys.executable, "-c", _KILL, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.split("\n") == [*names, ""], done.stderr
    assert latest_checkpoint(tmp_path / names[0] / "checkpoint") is None
    assert checkpoints.load(tmp_path / names[1] / "checkpoint").step == 6  # type: ignore[union-attr]
    assert list((tmp_path / "in a checkpoint").rglob("*.part"))
    expected = contents(tmp_path / "whole")
    assert expected["run.json"]["steps"] == 9
    for name in names:
        assert run(what, tmp_path / name, tasks=("retrieval",)).status == "finished"
        found = contents(tmp_path / name)
        assert found.keys() == expected.keys(), name
        for file, content in expected.items():
            assert found[file] == content, f"{name}: {file}"
        assert RunState.read(tmp_path / name).seconds > 0, name  # type: ignore[union-attr]


def test_tensorboard_shows_each_step_once(what: Run, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 5:
            raise _Stop

    with pytest.raises(_Stop):
        run(what, tmp_path, tasks=("retrieval",), on_step=stop, track=("tensorboard",))
    (first,) = (tmp_path / "tensorboard").glob("events.*")
    first.rename(first.with_name("events.out.tfevents.0000000001.host"))  # its name tells seconds alone
    run(what, tmp_path, tasks=("retrieval",), track=("tensorboard",))
    board = accumulator.EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == list(range(1, 10))


def test_time_spent_waiting_for_data_is_that_of_all_processes(what: Run, tmp_path: Path) -> None:
    def stop(progress: TrainingProgress) -> None:
        if progress.step == 4:
            raise _Stop

    with pytest.raises(_Stop):
        run(what, tmp_path, tasks=("retrieval",), on_step=stop)
    stopped = RunState.read(tmp_path)
    assert stopped is not None
    assert 0 < stopped.waiting_seconds <= stopped.seconds
    replace(stopped, waiting_seconds=1000.0).write(tmp_path)
    assert run(what, tmp_path, tasks=("retrieval",)).waiting_seconds > 1000


class _Stop(Exception):
    """The error that ends a run at once."""


def test_ctrl_c_finishes_the_step_and_saves_it(what: Run, whole: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"

    def press(progress: TrainingProgress) -> None:
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(what, stopped, tasks=("retrieval",), on_step=press)
    saved = checkpoints.load(stopped / "checkpoint")
    assert saved is not None
    assert saved.step in (4, 5)
    run(what, stopped, tasks=("retrieval",))
    # Of the two checkpoints that are kept, the older one is where it was stopped or the last regular one.
    found, expected = contents(stopped), contents(whole)
    assert {k: v for k, v in found.items() if "step-" not in k or "step-0000009" in k} == {
        k: v for k, v in expected.items() if "step-" not in k or "step-0000009" in k
    }


def test_a_full_disk_leaves_the_old_checkpoint(
    what: Run, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls, write = tmp_path / "full", [0], saver.save_file

    def full(tensors: object, path: Path) -> None:
        calls[0] += 1
        if calls[0] > 3:  # the second checkpoint; each has a model and an optimiser
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(tensors, path)  # type: ignore[arg-type]

    monkeypatch.setattr(saver, "save_file", full)
    with pytest.raises(
        CheckpointError, match=r"No space left.* \(it takes about .* are free there\).*step-0000003 is intact"
    ):
        run(what, folder, tasks=("retrieval",))
    monkeypatch.undo()
    assert [p.name for p in (folder / "checkpoint").iterdir()] == ["step-0000003"]
    run(what, folder, tasks=("retrieval",))
    assert contents(folder) == contents(whole)


def test_a_finished_run_is_not_repeated(what: Run, whole: Path) -> None:
    def never(progress: TrainingProgress) -> None:
        raise AssertionError("it trained again")

    assert run(what, whole, on_step=never) == RunState.read(whole)


def test_the_model_of_a_run_folder_embeds(whole: Path) -> None:
    model = load(whole)
    z = model.embed("text", ["a small red circle", "a large blue square"])
    assert z.shape == (2, 256)
    assert z.norm(dim=1).tolist() == pytest.approx([1.0, 1.0])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


_DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "cut": ("model.safetensors", lambda path: os.truncate(path, 100), "it has 100 of"),
    "a flipped bit": ("model.safetensors", _flip, "its content is not what was written"),
    "no optimiser": ("optimizer.safetensors", Path.unlink, "it is missing"),
    "a flipped bit of the optimiser": ("optimizer.safetensors", _flip, "its content is not what was written"),
    "no step": ("trainer.json", lambda path: path.write_text(""), "it has 0 of"),
    "no manifest": ("manifest.json", lambda path: path.write_text("[]"), "valid dictionary"),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    damage: str, what: Run, whole: Path, tmp_path: Path
) -> None:
    file, spoil, reason = _DAMAGE[damage]
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    RunState(status="running").write(folder)
    path = folder / "checkpoint" / "step-0000009" / file
    spoil(path)
    with pytest.warns(
        UserWarning, match=rf"step-0000009/{file} is damaged \(.*{reason}.*step-0000006, is used"
    ):
        run(what, folder, tasks=("retrieval",))
    assert contents(folder) == contents(whole)


def test_where_all_checkpoints_damaged_run_begins_anew_when_told(what: Run, whole: Path) -> None:
    for path in (whole / "checkpoint").iterdir():
        _flip(path / "model.safetensors")
    expected = contents(whole)
    RunState(status="running").write(whole)
    with pytest.raises(CheckpointError, match=r"step-0000009/model.*step-0000006/model.*Delete that folder"):
        run(what, whole, tasks=("retrieval",))
    shutil.rmtree(whole / "checkpoint")
    RunState(status="running").write(whole)
    run(what, whole, tasks=("retrieval",))
    assert contents(whole).keys() == expected.keys()


def test_checkpoint_run_deletes_while_read_replaced_by_newer_one(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    newest = latest_checkpoint(folder / "checkpoint")
    assert newest is not None
    listings = iter([newest.with_name("step-0000001"), newest, newest])
    monkeypatch.setattr(start, "latest_checkpoint", lambda _: next(listings))
    again = load(folder)
    monkeypatch.undo()
    assert again.fingerprint == load(whole).fingerprint


def test_damaged_checkpoint_that_was_named_leaves_others_alone(whole: Path) -> None:
    first, newest = sorted((whole / "checkpoint").iterdir())
    _flip(first / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"step-0000006/model.* is damaged .*: name another checkpoint"):
        load(first)
    load(newest)


def test_a_model_with_damaged_weights_is_not_loaded(whole: Path) -> None:
    earlier, newest = sorted((whole / "checkpoint").iterdir())
    _flip(newest / "model.safetensors")
    message = (
        rf"^{re.escape(str(newest))}/model.safetensors is damaged \(its content is not what was written\): "
    )
    with pytest.raises(
        CheckpointError, match=rf"{message}name another checkpoint, {re.escape(str(earlier))}$"
    ):
        load(whole)
    load(earlier)
    shutil.rmtree(earlier)
    with pytest.raises(CheckpointError, match=rf"{message}restore it from a copy, or train again$"):
        load(whole)


def test_the_state_of_the_optimiser_is_not_needed_to_embed(whole: Path) -> None:
    for path in (whole / "checkpoint").iterdir():
        (path / "optimizer.safetensors").unlink()
    load(whole)


def test_a_checkpoint_without_a_manifest_is_not_loaded(whole: Path) -> None:
    newest = latest_checkpoint(whole / "checkpoint")
    assert newest is not None
    (newest / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged \(it is missing\)"):
        load(whole)


def test_folders_beside_the_checkpoints_are_none(whole: Path) -> None:
    newest = latest_checkpoint(whole / "checkpoint")
    assert newest is not None
    shutil.copytree(newest, newest.with_name("step-0000060.bak"))
    (newest.parent / "step-x").mkdir()
    load(whole)
    assert latest_checkpoint(whole / "checkpoint") == newest


def test_an_optimiser_of_other_parameters(what: Run, whole: Path) -> None:
    saved = checkpoints.load(whole / "checkpoint")
    assert saved is not None
    method = load(whole)
    other = replace(saved, optimizer={"nosuch/step": torch.zeros(())})
    with pytest.raises(CheckpointError, match=r"'nosuch'.*another recipe or version"):
        checkpoints.restore(other, method, torch.optim.AdamW(method.parameters()))


def test_going_on_under_another_version_is_told(what: Run, tmp_path: Path) -> None:
    what.reserve(tmp_path)
    RunState(status="running").write(tmp_path)
    path = tmp_path / "environment.json"
    written = json.loads(path.read_text())
    written["packages"]["torch"] = "1.0.0"
    path.write_text(json.dumps(written))
    with pytest.warns(UserWarning, match=r"begun under torch 1\.0\.0 and goes on under"):
        what.reserve(tmp_path)
    what.reserve(tmp_path)  # the environment is now the present one


def test_the_order_of_examples_is_in_the_folder_and_stays(tmp_path: Path) -> None:
    keep_order(ShuffledOrder(np.arange(30), 16, 0), tmp_path)
    written = json.loads((tmp_path / "order.json").read_text())
    assert written == {"format": 1, "order": "shuffled", "rows": 30, "batch_size": 16, "seed": 0}
    keep_order(ShuffledOrder(np.arange(30), 16, 0), tmp_path)
    with pytest.raises(OtherRunError, match=r"began in another order.*'rows': 30.*now .*'rows': 29"):
        keep_order(ShuffledOrder(np.arange(29), 16, 0), tmp_path)
    (tmp_path / "order.json").write_text("{")
    with pytest.raises(DamagedFileError, match=r"order\.json is damaged"):
        keep_order(ShuffledOrder(np.arange(30), 16, 0), tmp_path)


def test_the_environment_names_the_dictionary(what: Run, tmp_path: Path) -> None:
    what.reserve(tmp_path)
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


def test_folder_another_machine_does_not_see_refused_before_step(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the first process writes is not here, as on a machine with a disk of its own.
    monkeypatch.setattr(Run, "reserve", lambda *_: None)
    with pytest.raises(OSError, match="a folder that all of them see"):
        run(what, tmp_path / "run", tasks=())
