"""``counterpoint diagnose --what states``, on the model that is included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoint.cli import main

DATA = "scenes:companions,objects=2,repeats=0,concepts=cat+ball+car+tree,pairs=cat:ball,strength=1,corrupted=0,test=8"


def test_the_command_writes_a_page_and_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "diagnose",
        "tiny-vlm",
        "--what",
        "states",
        "--data",
        DATA,
        "--concepts",
        "2",
        "--rows",
        "8",
        "--max-new-tokens",
        "10",
    ]
    assert main([*words, "--word", "a", "--out", str(tmp_path), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    concepts = values["sections"]["concepts"]
    assert concepts["numbers"]["descriptions with the word"] >= 5
    assert 0 < concepts["numbers"]["active concepts, mean"] <= 2
    alignment = values["sections"]["alignment"]["numbers"]
    assert -1 <= alignment["pictures and texts, layer 0"] <= alignment["pictures and own texts, layer 2"] <= 1
    weights = values["sections"]["weights"]["numbers"]
    assert [*weights] == [f"{name}, block {k}" for name in ("this model", "untrained") for k in range(4)]
    assert json.loads((tmp_path / "states.json").read_text(encoding="utf-8")) == values
    page = (tmp_path / "states.html").read_text(encoding="utf-8")
    assert concepts["sentence"] in page
    assert "counterpoint diagnose tiny-vlm --what states" in page


def test_a_word_that_is_too_rare_is_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "diagnose",
        "tiny-vlm",
        "--what",
        "states",
        "--data",
        DATA,
        "--word",
        "zebra",
        "--rows",
        "2",
        "--max-new-tokens",
        "5",
    ]
    assert main([*words, "--out", str(tmp_path), "--json"]) == 0
    sentence = json.loads(capsys.readouterr().out)["sections"]["concepts"]["sentence"]
    assert sentence.startswith("Not measured: 0 descriptions with the word 'zebra'")
