"""Questions read back into what they ask, and their truth looked up."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from counterpoint.data.items import Question
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.concepts import CONCEPTS
from counterpoint.data.synthetic.scenes.items.questions import QUESTIONS, questions
from counterpoint.data.synthetic.scenes.scene import Relation, Scene, Thing
from counterpoint.data.synthetic.scenes.words.meaning import facts, holds, needs, right_answers, settles
from counterpoint.data.synthetic.scenes.words.reading import caption, meaning, read
from counterpoint.data.synthetic.scenes.words.wording import (
    STYLES,
    QuestionMeaning,
    Statement,
    Wording,
    noun,
    question,
    sentence,
)
from counterpoint.data.synthetic.scenes.world import Scenes

WORLDS = ("scenes:basic", "scenes:counts", "scenes:cooccurrence", "scenes:clutter", "scenes:relations")
CAT = Thing("cat", "red", "small", 160, 200, 500)
DOG = Thing("dog", None, "large", 400, 700, 500)


def every_question(source: str, rows: int = 40) -> list[tuple[Question, Scene]]:
    world = Scenes.parse(f"{source},train={rows}")
    return [
        (asked, world.scene(row))
        for row, kind in product(range(rows), QUESTIONS)
        for asked in questions(kind, world.scene(row), Rng(1, row, kind), world.config(row))
    ]


@pytest.mark.parametrize("source", WORLDS)
def test_the_answer_of_every_question_is_the_only_right_one(source: str) -> None:
    found = every_question(source)
    assert len(found) > 200
    for asked, scene in found:
        assert right_answers(asked, scene) == (asked.answer,), (asked, scene)


def test_every_kind_is_read_and_said_again_in_the_same_words() -> None:
    found = [asked for source in WORLDS for asked, _ in every_question(source, 12)]
    assert {asked.kind for asked in found} >= set(QUESTIONS) - {"popular existence", "adversarial existence"}
    for asked in found:
        means = read(asked.text)
        assert means is not None
        assert question(means) == asked.text


@pytest.mark.parametrize(("style", "synonyms"), list(product(range(STYLES), (False, True))))
def test_other_words_mean_the_same(style: int, synonyms: bool) -> None:
    context = (Statement("exists", ("teddy bear",)), Statement("relation", ("cat", "car"), "behind"))
    for asked, _ in every_question("scenes:basic", 25):
        means = read(asked.text)
        assert means is not None
        said = question(means, Wording(style, synonyms, context))
        assert read(said) == means
        assert said.endswith(asked.text) or style or synonyms
        assert said.count("?") == 1
        assert said.endswith("?")


def test_no_word_names_two_concepts() -> None:
    owners: dict[str, set[str]] = {}
    for concept, synonyms in product(CONCEPTS, (False, True)):
        for form in (noun(concept, synonyms).singular, noun(concept, synonyms).plural):
            owners.setdefault(form, set()).add(concept)
    assert {form: own for form, own in owners.items() if len(own) > 1} == {}


def test_what_is_no_known_question_is_not_read() -> None:
    for text in ("Is the cat happy?", "Is the wug red?", "", "The cat is red."):
        assert read(text) is None
    assert (
        right_answers(Question("colour", "Is the cat happy?", "yes", ("yes", "no")), Scene(0, (CAT,))) == ()
    )
    assert meaning(QuestionMeaning("exists", ("cat",)), "perhaps") is None
    assert meaning(QuestionMeaning("how many", ("cat",)), "many") is None


def test_the_needs_one() -> None:
    colour = Statement("colour", ("cat",), "red")
    other = Thing("cat", "blue", "small", 160, 500, 200)
    assert holds(colour, Scene(0, (CAT,))) is True
    assert holds(colour, Scene(0, (CAT, other))) is None
    assert holds(colour, Scene(0, (DOG,))) is None
    asked = Question("choose colour", "What colour is the cat?", "red", ("red", "blue"))
    assert right_answers(asked, Scene(0, (CAT, other))) == ()


def test_a_shrunk_thing_is_no_longer_as_large_as_it_is_called() -> None:
    said = Statement("size", ("dog",), "large")
    shrunk = Thing("dog", None, "large", 280, 700, 500)
    assert holds(said, Scene(0, (DOG,))) is True
    assert holds(said, Scene(0, (shrunk,))) is False
    assert holds(said._replace(value="medium"), Scene(0, (shrunk,))) is False


def test_statements_hold_where_they_facts_and_settle_they_say() -> None:
    scene = Scene(0, (CAT, DOG), (Relation("left of", 0, 1),), "meadow")
    found = facts(scene)
    assert all(holds(said, scene) for said in found)
    assert Statement("relation", ("dog", "cat"), "right of") in found
    assert Statement("background", (), "meadow") in found
    assert not any(said.form == "colour" and said.things == ("dog",) for said in found)
    asked = QuestionMeaning("colour", ("cat",), "blue")
    assert settles(Statement("colour", ("cat",), "red")) & needs(
        asked, ("yes", "no")
    )  # it says that blue is wrong
    assert not settles(Statement("size", ("cat",), "small")) & needs(asked, ("yes", "no"))
    count = QuestionMeaning("how many", ("cat",))
    assert settles(Statement("size", ("cat",), "small")) & needs(count, ("one", "two"))  # "the cat" is one
    assert not settles(Statement("exists", ("cat",))) & needs(count, ("one", "two"))
    larger = QuestionMeaning("larger", ("dog", "cat"))
    assert settles(Statement("size", ("dog",), "large")) & needs(larger, ("yes", "no"))


def test_sentences_and_captions_read_naturally() -> None:
    assert sentence(Statement("exactly", ("sheep",), "1")) == "There is exactly one sheep in the picture."
    assert sentence(Statement("exactly", ("mouse",), "2")) == "There are exactly two mice in the picture."
    assert sentence(Statement("background", (), "beach")) == "The background is a beach by the sea."
    where = QuestionMeaning("where", ("apple",))
    assert caption(where, "below the umbrella") == "an apple below an umbrella"
    assert caption(where, "below the umbrella", Wording(1, True)) == "a picture of an apple under a parasol"
    assert caption(QuestionMeaning("how many", ("cat",)), "three") == "three cats"
    assert caption(QuestionMeaning("how large", ("dog",)), "large") == "a large dog"
    assert caption(QuestionMeaning("which"), "an anchor") == "an anchor"


def test_distinct_options_give_distinct_captions() -> None:
    for asked, _ in every_question("scenes:basic", 30):
        means = read(asked.text)
        assert means is not None
        said = [caption(means, option) for option in asked.options]
        if asked.kind.startswith("choose"):
            assert None not in said
            assert len(set(said)) == len(np.unique(asked.options))
        else:
            assert set(said) == {None}
