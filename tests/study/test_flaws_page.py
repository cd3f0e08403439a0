"""``counterpoint diagnose --what in-context``, on an untrained model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from counterpoint.cli import main
from counterpoint.networks.tiny_vlm import build, processor, train_tokenizer
from counterpoint.recipes.tiny_vlm import TinyVLM, Transformer

SMALL = TinyVLM(
    image_size=24,
    patch=12,
    vision=Transformer(width=16, layers=1, heads=2),
    language=Transformer(width=16, layers=1, heads=2),
    vocabulary=300,
)
DATA = "scenes:tiny,pixels=24,train=12,validation=1,test=4"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vlm")
    tokenizer = train_tokenizer(["Does the sentence describe the picture? a red cat"] * 9, SMALL.vocabulary)
    torch.manual_seed(0)
    build(SMALL, tokenizer).save_pretrained(folder)
    processor(SMALL, tokenizer).save_pretrained(folder)
    return folder


def test_the_command_writes_a_page_and_the_numbers(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        *("--data", DATA, "--axes", "matching", "selection", "--shots", "0", "2"),
        *("--seeds", "1", "--rows", "4", "--max-new-tokens", "3", "--out", str(tmp_path), "--json"),
    ]
    assert main(["diagnose", str(saved), "--what", "in-context", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["axes"]) == ["matching", "selection"]
    assert {row["shots"] for row in found["table"]} == {"nothing", "0", "2"}
    assert all(0 <= row["value"] <= 1 for row in found["table"] if row["value"] is not None)
    page = (tmp_path / "flaws.html").read_text(encoding="utf-8")
    assert f"counterpoint diagnose {saved} --what in-context" in page
    assert json.loads((tmp_path / "flaws.json").read_text(encoding="utf-8")) == found


def test_an_unknown_axis_is_named(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "diagnose",
                str(saved),
                "--what",
                "in-context",
                "--data",
                DATA,
                "--axes",
                "matchin",
                "--out",
                str(tmp_path),
            ]
        )
        == 1
    )
    assert "unknown axis 'matchin': did you mean 'matching'?" in capsys.readouterr().err
