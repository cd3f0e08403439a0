"""A run has a copy elsewhere, and goes on from it on a machine that has nothing."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from counterpoint.files import checkpoints_in, files_within, latest_checkpoint
from counterpoint.registry import MissingPackageError
from counterpoint.study.training.runner import run
from counterpoint.training.loop import TrainingProgress
from counterpoint.training.run import OtherRunError, Run
from counterpoint.training.saving import remote
from counterpoint.training.saving.remote import Copy, CopyError, copied
from fixtures import store
from fixtures.run_folders import contents


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    where = f"{tmp_path}/copies/one" if request.param == "file" else f"/{uuid.uuid4().hex}"
    return f"{request.param}://{where}"


class _Gone(Exception):
    """The machine is gone."""


def broken_off(what: Run, folder: Path, url: str, step: int) -> None:
    """Train a run until a step, behind which the machine is gone."""

    def end(now: TrainingProgress) -> None:
        if now.step == step:
            raise _Gone

    with pytest.raises(_Gone), copied(folder, url):
        run(what, folder, tasks=("retrieval",), on_step=end)


def test_a_run_goes_on_from_its_copy(what: Run, url: str, tmp_path: Path) -> None:
    run(what, tmp_path / "whole", tasks=("retrieval",))
    broken_off(what, tmp_path / "first", url, 8)
    steps: list[int] = []
    with copied(tmp_path / "second", url):
        found = checkpoints_in(tmp_path / "second" / "checkpoint")
        assert [path.name for path in found] == ["step-0000006", "step-0000003"]
        run(what, tmp_path / "second", tasks=("retrieval",), on_step=lambda now: steps.append(now.step))
    assert steps == [6, 7, 8, 9], "where it stands, and then what is left"
    assert contents(tmp_path / "second") == contents(tmp_path / "whole")
    with copied(tmp_path / "third", url):
        assert contents(tmp_path / "third") == contents(tmp_path / "whole")


def test_the_copy_keeps_the_checkpoints_that_the_folder_keeps(what: Run, url: str, tmp_path: Path) -> None:
    with copied(tmp_path / "run", url):
        run(what, tmp_path / "run", tasks=())
    here = {
        path.relative_to(tmp_path / "run").as_posix()
        for path in (tmp_path / "run").rglob("*")
        if path.is_file()
    }
    assert set(Copy(tmp_path / "run", url)._names()) == here
    assert {name.split("/")[1] for name in here if name.startswith("checkpoint/")} == {
        "step-0000006",
        "step-0000009",
    }


def test_a_checkpoint_may_go_while_the_folder_is_listed(
    what: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(what, tmp_path / "run", tasks=())
    old, scandir = tmp_path / "run" / "checkpoint" / "step-0000006", os.scandir

    def listed(path: Any = ".") -> Any:
        if Path(path) == old:
            monkeypatch.undo()
            shutil.rmtree(old)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    copy = Copy(tmp_path / "run", url)
    copy.keep_up()
    assert not old.exists()
    assert copy._steps() == ["step-0000009"]


def test_checkpoint_that_comes_while_the_folder_is_copied_stays(
    what: Run, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(what, tmp_path / "run", tasks=())
    checkpoints = tmp_path / "run" / "checkpoint"

    def one_more(folder: Path) -> list[Path]:
        (checkpoints / "step-0000006").rename(checkpoints / "step-0000012")
        return files_within(folder)

    monkeypatch.setattr(remote, "files_within", one_more)
    copy = Copy(tmp_path / "run", url)
    copy.keep_up()
    assert copy._steps() == ["step-0000009", "step-0000012"]


def test_a_checkpoint_that_is_not_whole_there_is_none(what: Run, url: str, tmp_path: Path) -> None:
    broken_off(what, tmp_path / "first", url, 8)
    copy = Copy(tmp_path / "first", url)
    copy.system.rm_file(str(copy.root / "checkpoint" / "step-0000006" / "trainer.json"))
    with copied(tmp_path / "second", url):
        newest = latest_checkpoint(tmp_path / "second" / "checkpoint")
        assert newest is not None
        assert newest.name == "step-0000003"


def test_the_copy_of_another_run_is_refused(what: Run, url: str, tmp_path: Path) -> None:
    broken_off(what, tmp_path / "first", url, 4)
    broken_off(replace(what, seed=1), tmp_path / "other", "", 4)
    with pytest.raises(OtherRunError, match="a copy of another run"), copied(tmp_path / "other", url):
        pytest.fail("it is refused before anything else")


def test_copy_of_run_that_goes_on_with_another_budget_is_its_own(what: Run, url: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    broken_off(what, folder, url, 4)
    replace(what, data=f"{what.data},broken=0.5").reserve(folder)
    with copied(folder, url):
        assert Run.read(folder).data.endswith("broken=0.5")


@pytest.mark.parametrize("inside", ["", "/copies/one"])
def test_a_copy_within_the_folder_itself_is_refused(inside: str, tmp_path: Path) -> None:
    with (
        pytest.raises(CopyError, match="is within the run's own folder"),
        copied(tmp_path / "run", f"{tmp_path}/run{inside}"),
    ):
        pytest.fail("it is refused before anything else")
    Copy(tmp_path / "run", f"{tmp_path}/run-copy")


def test_a_copy_that_cannot_be_reached_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(CopyError, match="--sync nowhere://at/all: Protocol not known"),
        copied(tmp_path, "nowhere://at/all"),
    ):
        pytest.fail("it is refused before anything else")

    def without(*_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", without)
    with (
        pytest.raises(MissingPackageError, match=r"Install s3fs.*'counterpoint\[cloud\]'"),
        copied(tmp_path, "s3://bucket/a"),
    ):
        pytest.fail("it is refused before anything else")


def test_store_is_away_for_while_is_told_once_and_ends_nothing(
    what: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSE", 0.01)
    real, failures = Copy.keep_up, iter(range(3))

    def away(self: Any) -> None:
        if next(failures, None) is not None:
            raise CopyError("the store is away")
        real(self)

    monkeypatch.setattr(Copy, "keep_up", away)
    with (
        pytest.warns(UserWarning, match="the store is away; it is tried again") as told,
        copied(tmp_path / "run", f"file://{tmp_path}/copy"),
    ):
        run(what, tmp_path / "run", tasks=())
    assert len(told) == 1
    shutil.rmtree(tmp_path / "run")
    with copied(tmp_path / "run", f"file://{tmp_path}/copy"):
        assert latest_checkpoint(tmp_path / "run" / "checkpoint") is not None


@pytest.fixture
def bucket() -> Iterator[str]:
    """A bucket of a stand-in for S3 on this machine."""
    with store.bucket("runs"):
        yield "s3://runs"


@pytest.mark.slow
@pytest.mark.system
def test_a_run_goes_on_from_an_object_store(what: Run, bucket: str, tmp_path: Path) -> None:
    run(what, tmp_path / "whole", tasks=("retrieval",))
    broken_off(what, tmp_path / "first", f"{bucket}/a", 8)
    with copied(tmp_path / "second", f"{bucket}/a"):
        newest = latest_checkpoint(tmp_path / "second" / "checkpoint")
        assert newest is not None
        assert newest.name == "step-0000006"
        run(what, tmp_path / "second", tasks=("retrieval",))
    assert contents(tmp_path / "second") == contents(tmp_path / "whole")
    with (
        pytest.raises(CopyError, match=r"cannot read the copy of .* at s3://nobody/a: there is no nobody"),
        copied(tmp_path / "second", "s3://nobody/a"),
    ):
        pass
