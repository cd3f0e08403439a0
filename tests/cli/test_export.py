"""counterpoint export: a table of what can hold a model, an export, and one line for what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import huggingface_hub
import pytest
import transformers

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.exporting import LAYOUTS
from fixtures import foreign
from fixtures.files import write_pairs
from fixtures.hub import TOKEN, standing


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    pairs = str(write_pairs(folder / "pairs").parent)
    words = ["train", "clip", "--data", pairs, "--out", str(folder / "run"), "--steps", "2"]
    words += [
        "--recipe",
        "cpu",
        "--batch-size",
        "16",
        "--towers.image-size",
        "16",
        "--towers.vocabulary",
        "300",
    ]
    assert main([*words, "--tasks", "retrieval"]) == 0
    return folder / "run"


def test_the_table_says_which_layouts_can_hold_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(LAYOUTS.names())
    assert found["open-clip"] == {"can": True, "why_not": "", "needs_counterpoint": True}
    assert not found["transformers"]["needs_counterpoint"]
    assert main(["export", str(run)]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in LAYOUTS.names())
    assert "…" not in table
    assert re.search(r"^open-clip +yes +yes +both towers", table, re.MULTILINE)
    assert re.search(r"^transformers +yes +no ", table, re.MULTILINE)


def test_a_run_there_and_back(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine"
    words = ["export", str(run), "--to", "open_clip", "--out", str(out)]
    assert main(words) == 1
    assert "give --allow-custom-code" in capfd.readouterr().err
    assert main([*words, "--allow-custom-code"]) == 0
    said = capfd.readouterr().out
    assert f"{out}: open-clip reads it back" in said
    assert "needs counterpoint" in said
    assert "left out: texts as they are" in said
    before, after = cp.load(run), cp.load(out)
    difference = before.embed("text", ["a red square"]) - after.embed("text", ["a red square"])
    assert difference.abs().max() < 1e-5
    assert main(words) == 1
    assert "exists: give another folder" in capfd.readouterr().err


@pytest.mark.parametrize("layout", ["transformers", "sentence_transformers"])
def test_no_bar_or_note_of_another_library_is_shown(
    layout: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = foreign.clip(tmp_path / "model")
    transformers.utils.logging.enable_progress_bar()
    capfd.readouterr()
    assert main(["export", f"transformers:{folder}", "--to", layout, "--out", str(tmp_path / "mine")]) == 0
    assert capfd.readouterr().err == ""
    assert transformers.utils.logging.get_verbosity() != transformers.utils.logging.ERROR


def test_a_push_asks_before_it_replaces_files(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["export", str(run), "--to", "safetensors", "--push", "nobody/mine", "--licence", "mit"]
    with standing() as hub:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        hub.repositories["nobody/mine"] = {"weights.bin": b"dear"}
        assert main(words) == 1
        assert "choose another name, or say --yes" in capsys.readouterr().err
        assert main([*words, "--yes"]) == 0
        assert f"{hub.address}/nobody/mine: safetensors reads it back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--licence", "mit"], "--licence is written into an export: give --to LAYOUT, too"),
        (["--to", "timm", "--out", "mine", "--yes"], "--yes replaces the files of a repository: give --push"),
        (["--to", "open_clip"], "give --to LAYOUT with --out FOLDER or --push USER/NAME"),
        (["--out", "mine"], "give --to LAYOUT with --out FOLDER or --push USER/NAME"),
        (["--to", "timm", "--out", "mine", "--push", "a/b"], "give --to LAYOUT with --out FOLDER or --push"),
        (
            ["--to", "timm", "--push", "a/b"],
            "a model that is pushed needs a licence: choose one with --licence",
        ),
        (["--to", "openclip", "--out", "mine"], "unknown layout 'openclip': did you mean 'open-clip'"),
    ],
)
def test_one_line_says_what_is_wrong(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "nowhere", *words]) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
