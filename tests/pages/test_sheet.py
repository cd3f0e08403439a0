"""Sheets as pages: what is heard has a player, what moves moves, what has words is told, in one file."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.data.pictures.sheet import contact_sheet
from counterpoint.data.synthetic.emoji.world import Emoji
from counterpoint.evaluation import create, failures
from fixtures.tiny import Pixels, TinyData


def parts(page: Path, kind: str) -> list[bytes]:
    """The files of a kind that stand in a page, which has no others: neither scripts nor addresses."""
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    return [base64.b64decode(found) for found in re.findall(rf'src="data:{kind};base64,([^"]+)"', text)]


def test_sounds_have_player_that_page_allows_and_a_spectrogram(tmp_path: Path) -> None:
    page = tmp_path / "sheet.html"
    data = "sounds:basic,train=20,validation=2,test=4"
    assert main(["data", "show", data, "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    cards = text.count("<article")
    assert cards > 16
    assert len(parts(page, "audio/wav")) == len(parts(page, "image/png")) == cards
    assert text.count("<audio controls") == cards
    assert "<h1>sounds:basic,<wbr>train=20,<wbr>" in text  # on a phone it is broken between options
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert "media-src data:" in policy[1], "else browsers would play nothing"
    assert re.search(r'class="told">an? [a-z ]+<', text), "captions stand in words"


def test_clips_move_and_series_are_drawn_each_under_columns_name(tmp_path: Path) -> None:
    page = tmp_path / "sheet.html"
    data = "clips:sensors,train=8,validation=1,test=2,pixels=24"
    assert main(["data", "show", data, "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    cards = text.count("<article")
    moving = [Image.open(io.BytesIO(file)) for file in parts(page, "image/webp")]
    assert len(moving) == len(parts(page, "image/png")) == cards > 4
    assert all(picture.n_frames > 1 for picture in moving)  # type: ignore[attr-defined]
    assert text.count('class="caption">video<') == text.count('class="caption">series<') == cards


def test_a_row_of_a_table_is_told_by_names_and_values(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    rows = [f"{20 + k},{'fm'[k % 2]},patient {k}" for k in range(30)]
    table.write_text("\n".join(["age,sex,caption", *rows]), encoding="utf-8")
    page = tmp_path / "sheet.html"
    named = ["--columns", "table=age+sex", "text=caption"]
    assert main(["data", "show", str(table), *named, "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert re.search(r'class="told">age: \d\d\nsex: [fm]<', text)
    assert "no picture" not in text


@pytest.mark.parametrize("ending", ["png", "html"])
def test_what_a_row_lacks_is_not_shown(ending: str, tmp_path: Path) -> None:
    row = cp.Table(torch.tensor([[31.0]]), ("age",), ((),))[0]
    examples = {"table": ("table", [None, row]), "text": ("text", ["somebody", None])}
    path = contact_sheet("made", [("train", examples)], tmp_path / f"sheet.{ending}")
    assert path.exists()
    if ending == "html":
        told = re.findall(r'class="told">([^<]+)<', path.read_text(encoding="utf-8"))
        assert told == ["somebody", "age: 31"]


@pytest.mark.parametrize("ending", [".pdf", ".jpg", ""])
def test_other_endings_are_refused_before_anything_is_read(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"sheet{ending}"
    assert main(["data", "show", "emoji", "--out", str(path)]) == 1
    assert (
        "in a picture, .png, or on a page that plays sounds and clips too, .html" in capsys.readouterr().err
    )
    with pytest.raises(ValueError, match=r"\.png, or on a page"):
        Emoji("default").show(path)
    assert not path.exists()


def test_failures_are_a_page_with_the_parts_of_a_sheet(tmp_path: Path, tiny_data: TinyData) -> None:
    rows = tiny_data.splits.test["compositions"]
    scores = create("retrieval")(Pixels(), tiny_data, rows)
    page = failures(scores, Pixels(), tiny_data, rows, tmp_path / "failures.html", most=2)
    text = page.read_text(encoding="utf-8")
    assert text.count("<article") == len(parts(page, "image/png")) == 2
    assert "retrieval on tiny: 2 failures, the surest first" in text
    with pytest.raises(ValueError, match=r"\.png, or on a page"):
        failures(scores, Pixels(), tiny_data, rows, tmp_path / "failures.svg")
