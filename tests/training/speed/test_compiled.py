"""Towers whose blocks are compiled train the same run. Where shapes are checked as in tests nothing is compiled."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

import counterpoint as cp
from counterpoint.methods.arm import Arm
from counterpoint.recipes import Recipe, override
from counterpoint.training.record.metrics import read_metrics
from counterpoint.training.speed import compiled
from fixtures.commands import counterpoint


def test_towers_without_blocks_are_refused(recipe: Recipe) -> None:
    plain = override(recipe, {"towers.image": "mlp", "towers.text": "bag"})
    with pytest.raises(ValueError, match="compile: no tower has blocks"):
        compiled.compile_blocks(Arm.parse("clip").build(plain, {"text": ["a red circle"]}, seed=0))


def test_what_a_kill_left_of_compiled_code_is_removed(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "_check_compiler", lambda device: None)
    left, linked, whole = (tmp_path / "aa" / f"{name}.so" for name in ("left", "linked", "whole"))
    left.parent.mkdir()
    for path in (left, linked, whole):
        path.write_bytes(b"code" if path == whole else b"")
    for path in (left, whole):
        os.utime(path, (time.time() - 60,) * 2)
    vit = override(recipe, {"towers.image": "vit", "towers.text": "bag"})
    compiled.compile_blocks(Arm.parse("clip").build(vit, {"text": ["a red circle"]}, seed=0))
    assert [path.exists() for path in (left, linked, whole)] == [False, True, True]


@pytest.fixture
def words(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))  # nothing was compiled earlier
    return [
        *("train", "clip", "--data", str(pairs), "--steps", "5", "--batch-size", "16", "--log-every", "1"),
        *(
            "--tasks",
            "retrieval",
            "--towers.image",
            "vit",
            "--towers.image-size",
            "24",
            "--towers.text",
            "bag",
        ),
    ]


@pytest.mark.slow
def test_a_run_is_the_same_and_is_read_as_any(words: list[str], tmp_path: Path) -> None:
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        with counterpoint(tmp_path / "log", *words, *more, "--out", tmp_path / name) as command:
            assert command.ends() == 0, command.output
    plain, other = (
        read_metrics(tmp_path / name).filter(name="loss")["value"].to_numpy()
        for name in ("plain", "compiled")
    )
    assert len(plain) == 5
    np.testing.assert_allclose(other, plain, rtol=1e-3)  # float32: Adam's first steps enlarge its rounding
    assert not np.array_equal(other, plain), "its sums have another order"
    names = [cp.load(str(tmp_path / name)).state_dict().keys() for name in ("plain", "compiled")]
    assert names[0] == names[1]


@pytest.mark.slow
def test_without_a_compiler_it_is_said_before_training(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with counterpoint(tmp_path / "log", *words, "--compile", "--out", tmp_path / "run") as command:
        assert command.ends() == 1, command.output
        said = command.output
    assert "counterpoint train: compile: torch cannot compile for cpu here" in said
    assert "install a C++ compiler, as by apt-get install g++, or leave compile out" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "run").glob("checkpoint/*"))
