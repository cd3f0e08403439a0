"""Options that say where units are carried out: the same on every command that has some, and refused where in vain."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest

from counterpoint.cli import main
from counterpoint.cli.common.execution import Execution
from counterpoint.execution import Ray, ResourceRequest, Slurm, leased
from counterpoint.execution.executors import EXECUTORS, LOCAL
from counterpoint.registry import UnknownNameError

_NOT_ASKED = {"others"}
"""Fields of executors that commands decide."""


def test_every_option_of_every_executor_can_be_given() -> None:
    known = {option.name for name in EXECUTORS.names() for option in fields(EXECUTORS.get(name))}
    assert known - _NOT_ASKED <= {option.name for option in fields(Execution)}


def test_the_executor_is_made_with_its_options() -> None:
    assert Execution().chosen == LOCAL
    assert Execution(jobs=3).chosen == LOCAL
    assert Execution(executor="ray", address="head:6379").chosen == Ray("head:6379")
    assert Execution(executor="slurm", time="1:00:00", submit=True).chosen == Slurm("1:00:00", submit=True)
    assert Execution(gpus_per_run=8, nodes_per_run=2, memory_per_run=3).needs == ResourceRequest(
        gpus=8, nodes=2, memory=3 * 2**30
    )


def test_what_would_be_in_vain_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown executor 'slrum': did you mean 'slurm'"):
        Execution(executor="slrum").chosen  # noqa: B018 # reading it is the test
    with pytest.raises(ValueError, match="--submit is no option of --executor local"):
        Execution(submit=True).chosen  # noqa: B018
    with pytest.raises(ValueError, match="--jobs is no option of --executor ray"):
        Execution(executor="ray", jobs=2).chosen  # noqa: B018


@pytest.mark.parametrize("command", ["compare", "compare-decoding", "embed"])
def test_the_commands_have_them(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help-all"])
    said = capsys.readouterr().out
    assert all(option in said for option in ("--executor", "--gpus-per-run", "--submit", "--address"))


def test_more_gpus_than_there_are(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    words = ["compare", "clip", "siglip", "--data", str(pairs), "--out", str(tmp_path / "study")]
    assert main([*words, "--gpus-per-run", "8"]) == 1
    assert "is to have 8 GPUs on 1 machine, and here are 1 on one" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_ray_without_a_cluster(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    words = ["compare", "clip", "siglip", "--data", str(pairs), "--steps", "5", "--seeds", "1"]
    words += ["--towers.image-size", "16", "--towers.vocabulary", "300", "--tasks", "retrieval"]
    words += ["--executor", "ray", "--address", "127.0.0.1:1", "--out", str(tmp_path / "study")]
    assert main(words) == 1
    assert "there is no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err


def test_ray_that_is_not_installed(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["compare", "clip", "siglip", "--data", str(pairs), "--executor", "ray"]
    assert main([*words, "--out", str(tmp_path / "study")]) == 1
    assert "pip install 'counterpoint[cluster]'" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_second_command_on_a_run_says_who_works_there(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with leased(run):
        words = [
            "train",
            "clip",
            "--data",
            str(pairs),
            "--steps",
            "2",
            "--batch-size",
            "8",
            "--out",
            str(run),
        ]
        assert main([*words, "--towers.image-size", "16", "--towers.vocabulary", "300"]) == 1
    assert "is in use by process" in capsys.readouterr().err
    assert not run.exists()
