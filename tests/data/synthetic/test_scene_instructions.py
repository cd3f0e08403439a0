"""Tasks for models that write: absurd questions, reasons for answers, foils of captions, instructions."""

from __future__ import annotations

import re

import numpy as np
import pytest

from counterpoint.data.items import Choices, Instructions, Questions
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.data.synthetic.scenes.items.foils import FOILS, foil
from counterpoint.data.synthetic.scenes.items.instructions import INSTRUCTIONS
from counterpoint.data.synthetic.scenes.items.questions import (
    ABSURD,
    DOES_NOT_APPLY,
    QUESTIONS,
    questions,
)
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.scene import Scene, Thing
from counterpoint.data.synthetic.scenes.words.captions import short
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.registry import UnknownNameError

CONFIG = SceneConfig(objects=(1, 3), tinted=0.7, sizes=("medium", "large"))
CAT = Thing("cat", "red", "medium", 300, 200, 500)
DOG = Thing("dog", "blue", "large", 400, 700, 500)
BOTH = Scene(0, (CAT, DOG))


def scenes(count: int = 80) -> list[Scene]:
    return [compose(CONFIG, 3, index) for index in range(count)]


def test_absurd_questions_about_is_not_there_in_words_of_others() -> None:
    forms = {"What colour is the": "choose colour", "How large is the": "choose size"}
    said = set()
    for scene in scenes():
        for question in questions(ABSURD, scene, Rng(3, scene.index), CONFIG):
            assert (question.kind, question.answer, question.options) == (ABSURD, DOES_NOT_APPLY, ())
            match = re.fullmatch(r"(.+ the) (.+)\?", question.text)
            assert match
            assert match[2] not in scene.counts()
            assert questions(forms[match[1]], scene, Rng(3, scene.index), CONFIG)
            said.add(match[1])
    assert said == set(forms)


def test_absurd_questions_are_asked_for_by_name_alone() -> None:
    world = Scenes.parse("scenes:tiny,train=1,validation=1,test=40")
    rows = world.splits.test["as trained"]
    assert ABSURD not in QUESTIONS
    assert ABSURD not in world.items(Questions, rows).kinds
    items = world.items(Questions, rows, ("choose colour", "choose size", ABSURD))
    assert set(items.kinds) == {"choose colour", "choose size", ABSURD}
    assert len(np.unique(items.ids)) == len(items)


def test_nothing_absurd_can_be_asked_where_nothing_can_be_asked() -> None:
    assert questions(ABSURD, Scene(0, ()), Rng(0, 0)) == ()
    assert questions(ABSURD, BOTH, Rng(0, 0), SceneConfig(concepts=("cat", "dog"), objects=(1, 2))) == ()


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("colour", {"the cat is red", "the dog is blue"}),
        ("size", {"the cat is medium-sized", "the dog is large"}),
        ("count", {"there is one cat", "there is one dog"}),
        ("relation", {"the cat is to the left of the dog", "the dog is to the right of the cat"}),
        ("comparison", {"the dog is large and the cat is medium-sized"}),
        ("existence", {""}),
    ],
)
def test_reasons_say_what_is_true_whatever_the_answer(kind: str, reasons: set[str]) -> None:
    found = [question for k in range(20) for question in questions(kind, BOTH, Rng(k, 0))]
    assert {question.reason for question in found} == reasons
    assert {question.answer for question in found} == {"yes", "no"}


def test_reasons_of_comparisons_of_numbers() -> None:
    (yes, no) = questions("comparison", Scene(0, (CAT, CAT, DOG)), Rng(0, 0))
    assert yes.reason == no.reason == "there are two cats and one dog"


def test_foils_are_of_the_kind_that_was_asked_for() -> None:
    """Check kinds alone: that foils are not true of the scene is tested with edits and with the truth of captions."""
    for scene in scenes(40):
        plain = short(scene).text
        found = {kind: foil(kind, scene, Rng(1, scene.index), CONFIG) for kind in FOILS}
        if found["random"]:
            own, other = found["random"]
            assert own == plain != other
        if found["atom"]:
            own, other = found["atom"]
            assert own != other
        if found["compound"]:
            own, other = found["compound"]
            assert own == plain
            assert " and " in other
            assert len(other) > len(own)
    assert all(found.values())


def test_a_scene_with_one_way_to_change_has_no_compound() -> None:
    cat = Scene(0, (CAT,))
    config = SceneConfig(concepts=("cat",), objects=1, sizes=("medium",), colours=("red", "blue"))
    assert foil("atom", cat, Rng(0, 0), config) == ("a red cat", "a blue cat")
    assert foil("compound", cat, Rng(0, 0), config) is None


def test_random_foils_are_none_where_every_scene_is_the_same() -> None:
    cat = Scene(0, (Thing("cat", None, "medium", 300, 500, 500),))
    assert (
        foil("random", cat, Rng(0, 0), SceneConfig(concepts=("cat",), objects=1, sizes=("medium",), tinted=0))
        is None
    )


def test_an_unknown_foil_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'atom'"):
        foil("atoms", BOTH, Rng(0, 0), CONFIG)


def test_choices_with_foils_hold_the_caption_at_either_place() -> None:
    world = Scenes.parse("scenes:tiny,train=1,validation=1,test=40")
    items = world.items(Choices, world.splits.test["as trained"], FOILS)
    assert set(items.kinds) == set(FOILS)
    assert set(items.answers) == {0, 1}
    assert all(len(options) == 2 for options in items.options)
    usual = world.items(Choices, world.splits.test["as trained"])
    assert not set(usual.kinds) & set(FOILS)


def test_instructions_ask_for_three_forms() -> None:
    world = Scenes.parse("scenes:tiny,train=1,validation=1,test=40")
    rows = world.splits.test["as trained"]
    items = world.items(Instructions, rows)
    assert set(items.kinds) == set(INSTRUCTIONS)
    assert items.pictures(np.array([0, 1])).shape == (2, 3, 96, 96)
    for kind, text, reply, row in zip(items.kinds, items.texts, items.replies, rows, strict=True):
        assert text == INSTRUCTIONS[kind]
        plain = world.captions(int(row))[0]
        assert (reply == plain) == (kind == "short")
        assert (reply.count(".") > 1) == (kind == "long")
