"""Scenes with questions of some kinds: what training rows and test rows are asked, and what is true."""

from __future__ import annotations

import numpy as np

from counterpoint.data.items import Questions
from counterpoint_reproductions.lab.data_asked import FEW, HALF, OTHERS, TAUGHT


def test_test_rows_are_asked_other_kinds_than_the_taught_ones() -> None:
    test, train = next(iter(HALF.splits.test.values())), HALF.splits.train[:200]
    assert {HALF.kind(int(row)) for row in train} == {*TAUGHT}
    assert {HALF.kind(int(row)) for row in test} == {*OTHERS}
    assert {FEW.kind(int(row)) for row in FEW.splits.train} == {*TAUGHT, *OTHERS}
    items = HALF.items(Questions, test, ("size",))
    assert {*items.kinds} == {"size"}
    assert {question.answer for question in items.questions} == {"medium", "large"}


def test_replies_are_true_of_the_scene() -> None:
    for row in FEW.splits.train[:20].tolist():
        ((request, said),) = FEW.talk(row)
        (thing,) = FEW.scenes.scene(row).things
        true = {
            "What colour is it?": thing.colour,
            "What is behind it?": FEW.scenes.scene(row).background,
            "What is it?": thing.concept,
            "How large is it?": thing.size,
        }
        assert said == true[request]
    assert len(FEW.read("talk", np.arange(3))) == 3
