"""A user's own questions about a user's own pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterpoint.data import load
from counterpoint.data.items import MinimalPairs, Question, Questions
from counterpoint.evaluation import evaluate
from fixtures.assistants import always, guessing

ROWS: list[dict[str, Any]] = [
    {"image": "a.png", "question": "Is there a cat?", "answer": "Yes.", "kind": "existence"},
    {"image": "a.png", "question": "Is there a dog?", "answer": "no", "kind": "existence"},
    {"image": "b/b.png", "question": "What colour is it?", "answer": "red", "options": ["red", "blue"]},
    {"image": "b/b.png", "question": "Which brand is it?", "answer": "Acme", "kind": "brand"},
]


def written(folder: Path, rows: list[dict[str, Any]], form: str) -> Path:
    (folder / "b").mkdir(parents=True)
    Image.new("RGB", (20, 10), "red").save(folder / "a.png")
    Image.new("RGBA", (10, 20), (0, 0, 0, 0)).save(folder / "b" / "b.png")
    path = folder / f"questions.{form}"
    if form == "csv":
        lines = ["image,question,answer,options,kind"]
        lines += [
            ",".join(
                [r["image"], r["question"], r["answer"], "|".join(r.get("options", ())), r.get("kind", "")]
            )
            for r in rows
        ]
        path.write_text("\n".join(lines))
    else:
        path.write_text(json.dumps(rows) if form == "json" else "\n".join(json.dumps(row) for row in rows))
    return path


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_questions_are_read_and_asked(form: str, tmp_path: Path) -> None:
    path = written(tmp_path / "mine", ROWS, form)
    data = load(f"questions:{path}", 24)
    items = data.items(Questions, np.arange(2))
    assert items.ids.tolist() == [0, 1, 2, 3]
    assert items.rows.tolist() == [0, 0, 1, 1]
    assert list(items.questions) == [
        Question("existence", "Is there a cat?", "yes", ("yes", "no")),
        Question("existence", "Is there a dog?", "no", ("yes", "no")),
        Question("question", "What colour is it?", "red", ("red", "blue")),
        Question("brand", "Which brand is it?", "Acme"),
    ]
    assert data.items(Questions, np.array([1])).ids.tolist() == [2, 3]
    assert data.items(Questions, np.arange(2), ["brand"]).ids.tolist() == [3]
    assert len(load(f"questions:{path.parent}", 24)) == 2
    assert data.show(tmp_path / "sheet.png").stat().st_size > 0


def test_pictures_are_shown_whole_on_white(tmp_path: Path) -> None:
    data = load(f"questions:{written(tmp_path, ROWS, 'csv')}", 24)
    wide, transparent = data.images(np.arange(2))
    assert wide.shape == (3, 32, 32)
    assert wide[:, 0, 0].tolist() == wide[:, -1, -1].tolist() == [255, 255, 255]
    assert wide[:, 16, 1].tolist() == wide[:, 16, 30].tolist() == [255, 0, 0]
    assert (transparent == 255).all()


def test_tasks_ask_all_of_them(tmp_path: Path) -> None:
    data = load(f"questions:{written(tmp_path, ROWS, 'jsonl')}", 24)
    results = evaluate(always("Acme"), data, ["answers", "pope"])
    assert results.value("answers", "all", "accuracy") == 0.25
    assert results.value("answers", "all", "accuracy", "brand") == 1
    assert results.value("pope", "all", "accuracy") == 0.5
    assert evaluate(guessing(), data, ["answers"]).value("answers", "all", "brand") == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "a.png", "question": "?"}, "question 1: no answer; expected image, question, answer"),
        (
            {"image": "a.png", "question": "?", "answer": "red", "options": ["blue"]},
            "'red' is not among the options blue",
        ),
        ({"image": "a.png", "question": "?", "answer": " "}, "question 1: the answer is empty"),
        ({"image": "a.png", "question": "?", "answer": None}, "question 1: the answer is empty"),
        ({"image": "c.png", "question": "?", "answer": "red"}, "1 of 1 pictures are not there"),
    ],
)
def test_what_is_wrong_is_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path, [row], "json")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load(f"questions:{path}")


def test_an_empty_file_a_broken_picture_and_another_form(tmp_path: Path) -> None:
    path = written(tmp_path, [], "json")
    with pytest.raises(ValueError, match="holds no questions"):
        load(f"questions:{path}")
    path.write_text(json.dumps(ROWS))
    data = load(f"questions:{path}", 12)
    with pytest.raises(LookupError, match="has no minimal pairs"):
        data.items(MinimalPairs, np.arange(1))
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture"):
        data.images(np.arange(1))


def test_spaces_around_a_chosen_answer_do_not_count(tmp_path: Path) -> None:
    path = written(tmp_path, [ROWS[2] | {"answer": " red "}], "csv")
    assert load(f"questions:{path}").items(Questions, np.arange(1)).questions[0].answer == "red"


def test_lines_of_json_end_where_texts_do_not_may_mark_before(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS, "jsonl")
    asked = "Is there\u2028a cat?"
    rows = [ROWS[0] | {"question": asked}, *ROWS[1:]]
    path.write_text("\ufeff" + "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    questions = load(f"questions:{path}").items(Questions, np.arange(2)).questions
    assert [question.text for question in questions] == [row["question"] for row in rows]


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS, "jsonl")
    path.write_text(path.read_text() + "\n\n{no\n")
    with pytest.raises(ValueError, match=rf"line {len(ROWS) + 2}, is not valid JSON: .* at column 2"):
        load(f"questions:{path}")
