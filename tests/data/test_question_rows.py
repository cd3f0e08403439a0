"""Rows made of questions: their texts, answers and splits, and statements about two pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoint.data.derived.questions import QuestionData
from counterpoint.data.items import Questions
from counterpoint.data.kinds.parsing import parse
from counterpoint.registry import UnknownNameError
from fixtures.tiny import TinyData

TWO = "scenes:basic,train=40,validation=10,test=30"


def test_rows_are_questions_of_the_other_data() -> None:
    data = parse(f"{TWO},ask=questions").open(48)
    assert isinstance(data, QuestionData)
    of = data.data
    rows = data.splits.test["as trained"]
    items = of.items(Questions, of.splits.test["as trained"])
    assert data.read("text", rows) == [question.asked for question in items.questions]
    assert data.ids[rows].tolist() == items.ids.tolist()
    assert torch.equal(data.read("image", rows[:3]), of.read("image", items.rows[:3]))
    answers = data.labels["answer"].texts(rows)
    assert all(it in (None, question.answer) for it, question in zip(answers, items.questions, strict=True))
    assert set(data.subsets[rows]) == set(items.kinds)


def test_answers_of_training_alone_are_classes() -> None:
    data = parse(f"{TWO},ask=questions").open(48)
    label = data.labels["answer"]
    counts = Counter(label.values[data.splits.train].tolist())
    assert all(counts[number] >= 2 for number in range(len(label.names)))


def test_statements_about_two_pictures_are_balanced_and_of_one_split() -> None:
    data = parse(f"{TWO},ask=compared").open(48)
    assert data.columns == {"image": "image", "second": "image", "text": "text"}
    for rows in data.splits.sides.values():
        values = data.labels["answer"].values[rows]
        assert (values == 0).sum() == (values == 1).sum() > 0
        for column in ("image", "second"):
            side, _ = data.data.side(int(data.source(column, rows[:1])[1][0]))
            assert all(data.data.side(int(row))[0] == side for row in data.source(column, rows)[1])


@pytest.mark.parametrize("kind", ["more objects", "both objects"])
def test_statements_agree_with_scenes(kind: str) -> None:
    data = parse(f"{TWO},ask=compared").open(48)
    for row in np.flatnonzero(data.subsets == kind):
        text = data.read("text", np.array([row]))[0]
        one, two = (data.data.scene(int(of)) for of in data._of[row])
        names = {**one.counts(), **two.counts()}
        if kind == "both objects":
            plain = [name for name in names if text == f"There is a {name} in both pictures."]
            right = [name in one.counts() and name in two.counts() for name in plain]
        else:
            plain = [name for name in names if f"more {name}s in the" in text]
            first = "in the first picture than" in text
            right = [(one.counts().get(it, 0) > two.counts().get(it, 0)) == first for it in plain]
        if len(plain) == 1:
            assert data.labels["answer"].texts(np.array([row])) == [("false", "true")[right[0]]]


def test_file_of_questions_is_divided_by_picture(tmp_path: Path) -> None:
    from PIL import Image

    lines = ["image,question,answer"]
    for number in range(60):
        Image.new("RGB", (8, 8), (4 * number, 0, 0)).save(tmp_path / f"{number}.png")
        lines += [f"{number}.png,is it red?,{answer}" for answer in ("yes", "no")]
    (tmp_path / "questions.csv").write_text("\n".join(lines))
    data = parse(f"questions:{tmp_path},ask=questions").open(48)
    assert data.split_here
    assert len(data) == 120
    parts = [set(data.source("image", rows)[1].tolist()) for rows in data.splits.sides.values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60
    assert all(parts)


def test_tag_names_the_box() -> None:
    data = parse(
        "scenes:basic,objects=2-2,repeats=1,recoloured=1,relations=0,tinted=1,ask=tagged,boxes=true,"
        "train=8,validation=4,test=40"
    ).open(48)
    rows = data.splits.test["as trained"]
    for row, text, of in zip(rows, data.read("text", rows), data.source("image", rows)[1], strict=True):
        tag = int(text[text.index("[") + 1])
        things = data.data.scene(int(of)).things
        colour = things[tag - 1].colour
        assert things[0].colour != things[1].colour
        assert data.labels["answer"].texts(np.array([row]))[0] in (None, colour)
    assert data.present("boxes", rows).all()


def test_unusable_questions_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="questions"):
        parse("scenes:tiny,ask=question").open(48)
    with pytest.raises(ValueError, match="no questions"):
        QuestionData(TinyData(), "questions")


def test_questions_are_part_of_the_identity() -> None:
    one, other = (parse(f"{TWO},ask={asked}").open(48) for asked in ("questions", "compared"))
    assert one.fingerprint.parts["questions"] != other.fingerprint.parts["questions"]
    assert one.identity(["text"]) != other.identity(["text"])
