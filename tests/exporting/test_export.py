"""Every export: whole and the same, or one clear error and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import counterpoint as cp
from counterpoint.exporting import _export
from counterpoint.files import check_manifest
from counterpoint.registry import Registry, UnknownNameError
from fixtures import foreign
from fixtures.one_layout.kept import Kept


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_export, "LAYOUTS", Registry("layout", "fixtures.one_layout"))
    monkeypatch.setattr(Kept, "settled", [])
    return f"open_clip:tiny@{foreign.open_clip_folder(tmp_path / 'model')}"


def test_an_export_is_whole_and_says_how_near_it_is(model: str, tmp_path: Path) -> None:
    exported = cp.export(model, "kept", tmp_path / "out")
    assert exported.folder == tmp_path / "out"
    assert exported.layout == "kept"
    assert exported.left_out == ("its colour",)
    assert set(exported.differences) == {"image", "text"}
    assert max(exported.differences.values()) <= 1e-5
    check_manifest(tmp_path / "out", "export again", ("inner/words.txt",))
    assert Kept.settled[-1] == str(tmp_path / "out")


def test_embeddings_that_changed_leave_nothing(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kept, "change", 1e-3)
    with pytest.raises(ValueError, match=r"what kept reads back embeds differently \(image by .*text by"):
        cp.export(model, "kept", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        ("refuse", ValueError, "cannot be exported to kept: it is blue"),
        ("full", OSError, "No space left on device"),
    ],
)
def test_what_fails_leaves_nothing(
    event: str,
    error: type[Exception],
    message: str,
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Kept, "event", event)
    with pytest.raises(error, match=message):
        cp.export(model, "kept", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_bad_input_is_told_before_a_model_is_loaded(model: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there exists: give another folder"):
        cp.export(model, "kept", tmp_path / "there")
    with pytest.raises(UnknownNameError, match="unknown layout 'kep': did you mean 'kept'"):
        cp.export(model, "kep", tmp_path / "out")
    with pytest.raises(ValueError, match="is not a run folder"):
        cp.export(str(tmp_path / "there"), "kept", tmp_path / "out")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.yaml").touch()
    with pytest.raises(ValueError, match=r"it is a study's, whose runs are .*ARM.seed-K"):
        cp.export(str(tmp_path / "study"), "kept", tmp_path / "out")
    with pytest.raises(ValueError, match="is not a run folder: there is no such folder"):
        cp.export(str(tmp_path / "nowhere"), "kept", tmp_path / "out")


def test_folder_cannot_be_written_is_told_before_model_is_loaded(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_export, "load", lambda reference: pytest.fail("the model was loaded"))
    for out in (tmp_path / "model" / "open_clip_config.json" / "out", Path("/proc/out")):
        with pytest.raises(OSError, match=rf"^cannot write to {out}: .*; choose another folder with --out$"):
            cp.export(model, "kept", out)
    with pytest.raises(pytest.fail.Exception):
        cp.export(model, "kept", tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "nothing of the trial is left"


@pytest.mark.slow
@pytest.mark.system
def test_killed_export_leaves_no_folder_next_one_none_of_parts(model: str, tmp_path: Path) -> None:
    words = (
        "import sys; sys.path.insert(0, sys.argv[1]); import counterpoint as cp\n"
        "from counterpoint.exporting import _export; from counterpoint.registry import Registry\n"
        "from fixtures.one_layout.kept import Kept; Kept.event = 'kill'\n"
        "_export.LAYOUTS = Registry('layout', 'fixtures.one_layout')\n"
        "cp.export(sys.argv[2], 'kept', sys.argv[3])"
    )
    tests = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", words, tests, model, str(tmp_path / "out")], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "out").exists()
    cp.export(model, "kept", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out"}
