"""Requests that state what a simulated detector says: its error rate, rows that state nothing, and no true boxes."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

from counterpoint.data.derived.detected import DetectedData, Tools
from counterpoint.data.items import Box, LocatedThings, Questions
from counterpoint.data.rng import Rng
from counterpoint.data.source import load_any
from counterpoint.evaluation.replies import is_right

WORLD = "scenes:tiny,objects=1-3,train=400,validation=8,test=200"
NAMES = ("cat", "dog", "hat", "key")
STATED = re.compile(r"Detected: (?P<things>.*?)\. (?P<request>[A-Z].*)")


def opened(options: str) -> DetectedData:
    data = load_any(f"{WORLD},{options}")
    assert isinstance(data, DetectedData)
    return data


def test_requests_begin_with_things_and_boxes() -> None:
    data, plain = opened("talk=captions,tools=0.2"), load_any(f"{WORLD},talk=captions")
    assert data.name == f"{WORLD},talk=captions,tools=0.2"
    for rows in (data.splits.train, next(iter(data.splits.test.values()))):
        for row, without in zip(data.read("talk", rows), plain.read("talk", rows), strict=True):
            match = STATED.fullmatch(row[0].request)
            assert match
            assert match["request"] == without[0].request
            assert row[0].reply == without[0].reply
            assert match["things"] == "nothing" or re.fullmatch(
                r"\w+ \[\d\.\d, \d\.\d, \d\.\d, \d\.\d\](, \w+ \[\d\.\d, \d\.\d, \d\.\d, \d\.\d\])*",
                match["things"],
            )
    rows = np.array([5, 3])
    assert data.read_training("talk", rows) == data.read("talk", rows) == data.read("talk", rows[::-1])[::-1]
    assert pickle.loads(pickle.dumps(data)).read("talk", rows) == data.read("talk", rows)


def test_the_error_rate_is_that_of_things() -> None:
    box, tools, counts = (0.2, 0.3, 0.5, 0.6), Tools(0.2), dict.fromkeys(("missed", "renamed", "moved"), 0)
    for number in range(3000):
        (said,) = tools.detected([("cat", box)], NAMES, Rng(0, number)) or (None,)
        if said is None:
            counts["missed"] += 1
        elif said[0] != "cat":
            counts["renamed"] += 1
            assert said[0] in NAMES
        elif max(abs(a - b) for a, b in zip(said[1], box, strict=True)) > 0.05:
            counts["moved"] += 1
    # Some of the moved ones stay within the jitter.
    for count in counts.values():
        assert 160 < count < 240
    assert abs(sum(counts.values()) - 600) < 80


def test_no_box_is_true() -> None:
    boxes: list[Box] = [(0.2, 0.3, 0.5, 0.6), (0.0, 0.0, 0.3, 0.4)]
    for number in range(50):
        for name, said in Tools(0.01).detected(list(zip(NAMES, boxes, strict=False)), NAMES, Rng(0, number)):
            assert said != boxes[NAMES.index(name)]
            assert all(0 <= side <= 1 for side in said)
    for rate in ("0", "1"):
        with pytest.raises(ValueError, match=f"tools={rate}: the error rate must be between 0 and 1"):
            opened(f"talk=captions,tools={rate}")


def test_some_training_rows_state_nothing_and_no_test_row() -> None:
    data = opened("talk=captions,tools=0.2,emptied=0.3")
    plain, stated = load_any(f"{WORLD},talk=captions"), opened("talk=captions,tools=0.2")
    train, test = data.splits.train, next(iter(data.splits.test.values()))
    same = [a == b for a, b in zip(data.read("talk", train), plain.read("talk", train), strict=True)]
    assert 0.2 < np.mean(same) < 0.4
    others = train[~np.array(same)]
    assert data.read("talk", others) == stated.read("talk", others)
    assert data.read("talk", test) == stated.read("talk", test)
    assert data.fingerprint.parts != stated.fingerprint.parts != plain.fingerprint.parts
    with pytest.raises(ValueError, match=r"emptied=2: the share of training rows must be in \[0, 1\]"):
        opened("tools=0.2,emptied=2")
    with pytest.raises(ValueError, match="tools=often,emptied=0: both are numbers"):
        opened("tools=often")


def test_questions_are_asked_as_they_are_taught() -> None:
    data = opened("talk=questions,tools=0.2")
    rows = next(iter(data.splits.test.values()))[:40]
    items, plain = data.items(Questions, rows), load_any(WORLD).items(Questions, rows)
    assert [STATED.fullmatch(it.text)["request"] for it in items.questions] == [  # type: ignore[index]
        it.text for it in plain.questions
    ]
    taught = {one.request for row in data.read("talk", rows) for one in row}
    assert {question.asked for question in items.questions} == taught
    assert all(is_right(it.answer, it) for it in items.questions)


def test_things_of_a_scene_have_its_boxes() -> None:
    world = load_any(WORLD)
    items = world.items(LocatedThings, np.array([7]))
    scene = world.scene(7)  # type: ignore[attr-defined]
    expected = [(it.concept, tuple(side / 1000 for side in it.box)) for it in scene]
    assert list(items.things[0]) == expected
    assert {name for name, _ in expected} <= set(items.names)
    with pytest.raises(LookupError, match="has no things with boxes"):
        load_any("digits,tools=0.2")
