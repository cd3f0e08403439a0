"""Conversations of files, and those made of questions and captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import counterpoint as cp
from counterpoint.data.converting import convert
from counterpoint.data.source import load_any
from counterpoint.data.views import key
from counterpoint.data.views.conversations import talk
from counterpoint.raw import Exchange
from counterpoint.recipes.schema import Augmentation


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def write_pictures(folder: Path, count: int) -> None:
    for number in range(count):
        Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(folder / f"{number}.png")


def test_question_and_answer_beside_a_picture_are_a_conversation(tmp_path: Path) -> None:
    write_pictures(tmp_path, 12)
    rows = [f"{k % 6}.png,What is {k}?,It is {k % 3}." for k in range(12)]
    (tmp_path / "it.csv").write_text("\n".join(["image,question,answer", *rows]))
    data = load_any(str(tmp_path / "it.csv"), 8)
    assert data.columns == {"image": "image", "talk": "talk"}
    assert data.read("talk", np.array([4])) == [(cp.Exchange("What is 4?", "It is 1."),)]
    # Rows of one picture are in one split, and equal answers bind none.
    side = {int(row): name for name, part in data.splits.sides.items() for row in part}
    assert all(side[k] == side[k + 6] for k in range(6))
    assert len(set(side.values())) == 3


def test_a_question_without_an_answer_is_refused_by_its_row(tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    (tmp_path / "it.csv").write_text("image,question,answer\n0.png,What?,That.\n1.png,Why?,\n")
    with pytest.raises(ValueError, match=r"it\.csv, row 2: question or answer is empty"):
        load_any(str(tmp_path / "it.csv"), 8)


def test_columns_can_be_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, 6)
    rows = [{"file": f"{k}.png", "q": "What?", "a": f"Number {k}."} for k in range(6)]
    (tmp_path / "it.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = load_any(f"{tmp_path / 'it.jsonl'},columns=image:file+talk:q+talk:a", 8)
    assert data.read("talk", np.array([2])) == [(cp.Exchange("What?", "Number 2."),)]


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([{"from": "human", "value": "What?"}], "entry 1: the last request has no reply"),
        ([{"from": "gpt", "value": "That."}] * 2, "entry 1: turn 1 is from 'gpt'"),
        ([{"value": "What?"}], 'entry 1: expected "conversations"'),
    ],
)
def test_a_broken_entry_of_llava_is_named(tmp_path: Path, turns: list[object], message: str) -> None:
    (tmp_path / "it.json").write_text(json.dumps([{"conversations": turns}]))
    with pytest.raises(ValueError, match=message):
        load_any(str(tmp_path / "it.json"), 8)


def test_a_world_is_asked_about_in_its_questions_and_captions() -> None:
    data = load_any("scenes:tiny,talk=questions+captions")
    rows = np.array([3, 0])
    whole = data.read("talk", rows)
    assert data.read("talk", rows[::-1]) == whole[::-1]
    assert all(
        row[-1] == ("Describe the picture.", text)
        for row, text in zip(whole, data.read("text", rows), strict=True)
    )
    assert all(len(row) > 1 and row[0].request.endswith(("?", ".")) for row in whole)
    captions = load_any("scenes:tiny,talk=captions")
    assert captions.read("talk", rows) == [row[-1:] for row in whole]
    assert captions.fingerprint.parts != data.fingerprint.parts
    with pytest.raises(ValueError, match="unknown part of conversations 'caption': did you mean 'captions'"):
        load_any("scenes:tiny,talk=caption")


def test_the_plain_view_draws_an_exchange_by_the_key() -> None:
    rows = [tuple(cp.Exchange(f"{row} {k}", "yes") for k in range(5)) for row in range(40)]
    drawn: list[str] = []

    def note(conversations: list[tuple[cp.Exchange, ...]]) -> object:
        drawn[:] = [one.request for (one,) in conversations]
        return cp.data.load("digits").images(np.array([0]))

    view, keys = talk("plain", Augmentation()), key(0, 0, np.arange(40), "talk")
    view(rows, keys, note)
    assert {text.split()[1] for text in drawn} == {*"01234"}
    first = list(drawn)
    view(rows[::-1], keys[::-1], note)
    assert drawn[::-1] == first
    view([()], keys[:1], note)
    assert drawn == [""]


def test_a_rejected_reply_is_another_column_of_conversations(tmp_path: Path) -> None:
    write_pictures(tmp_path, 6)
    rows = [f"{k}.png,What is {k}?,It is {k}.,{'' if k == 2 else 'It is not.'}" for k in range(6)]
    (tmp_path / "it.csv").write_text("\n".join(["image,prompt,chosen,rejected", *rows]))
    data = load_any(str(tmp_path / "it.csv"), 8)
    assert data.columns == {"image": "image", "talk": "talk", "rejected": "talk"}
    assert data.read("talk", np.array([2])) == [(cp.Exchange("What is 2?", "It is 2."),)]
    assert data.read("rejected", np.array([1])) == [(cp.Exchange("What is 1?", "It is not."),)]
    assert data.present("rejected", np.arange(6)).tolist() == [k != 2 for k in range(6)]


def test_worse_replies_can_be_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, 6)
    rows = [{"file": f"{k}.png", "q": "What?", "a": f"Number {k}.", "blind": "None."} for k in range(6)]
    (tmp_path / "it.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = load_any(f"{tmp_path / 'it.jsonl'},columns=image:file+talk:q+talk:a+blind", 8)
    assert data.columns == {"image": "image", "talk": "talk", "blind": "talk"}
    assert data.read("blind", np.array([2])) == [(cp.Exchange("What?", "None."),)]


@pytest.mark.parametrize("to", ["webdataset", "parquet"])
def test_conversations_go_into_shards(tmp_path: Path, to: Any) -> None:
    write_pictures(tmp_path, 6)
    several = [Exchange("What is 1?", "It is 1."), Exchange("Sure?", "Yes.")]
    rows = [f"{k}.png,What is {k}?,It is {k}.,{'' if k == 2 else 'It is not.'}" for k in range(6)]
    (tmp_path / "it.csv").write_text("\n".join(["image,prompt,chosen,rejected", *rows]))
    turns = [
        {"from": who, "value": text}
        for exchange in several
        for who, text in zip(("human", "gpt"), exchange, strict=True)
    ]
    (tmp_path / "it.json").write_text(json.dumps([{"image": "1.png", "conversations": turns}] * 3))
    convert(str(tmp_path / "it.csv"), tmp_path / "pairs", to=to)
    data = load_any(str(tmp_path / "pairs"), 8)
    assert data.columns == {"image": "image", "talk": "talk", "rejected": "talk"}
    every = np.arange(len(data))
    read = sorted(zip(data.read("talk", every), data.read("rejected", every), strict=True))
    worse = [() if k == 2 else (Exchange(f"What is {k}?", "It is not."),) for k in range(6)]
    assert read == [((Exchange(f"What is {k}?", f"It is {k}."),), of) for k, of in enumerate(worse)]
    convert(str(tmp_path / "it.json"), tmp_path / "turns", to=to)
    assert load_any(str(tmp_path / "turns"), 8).read("talk", np.arange(3)) == [tuple(several)] * 3
