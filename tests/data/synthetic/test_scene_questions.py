"""Questions whose answers are known, in balance; and conversations made of them."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from counterpoint.data.items import Question
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.data.synthetic.scenes.items.questions import OPTIONS, POPULAR, QUESTIONS, questions
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.scene import OPPOSITE, SIZES, Scene, Thing, relation_holds
from counterpoint.data.synthetic.scenes.words.captions import phrase
from counterpoint.data.synthetic.scenes.words.lexicon import lexicon
from counterpoint.evaluation.prompts import INSTRUCTIONS, answering, captioning, prompt
from counterpoint.registry import UnknownNameError

CAT = Thing("cat", "red", "small", 160, 200, 500)
DOG = Thing("dog", "blue", "large", 400, 700, 500)
RICH = SceneConfig(objects=(1, 4), repeats=0.3, clutter=(0, 1), tail=0.5)
PAIRED = SceneConfig(objects=(2, 3), pairs=(("cat", "dog"), ("car", "bus")), strength=0.5)
NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


@cache
def asked(config: SceneConfig = RICH, count: int = 60) -> list[tuple[Scene, Question]]:
    scenes = [compose(config, 5, index) for index in range(count)]
    return [
        (scene, question)
        for scene in scenes
        for kind in QUESTIONS
        for question in questions(kind, scene, Rng(5, scene.index, kind), config)
    ]


def of(kind: str, config: SceneConfig = RICH) -> list[tuple[Scene, Question]]:
    found = [(scene, question) for scene, question in asked(config) if question.kind == kind]
    assert found
    return found


def texts(kind: str, scene: Scene, seed: int = 0, config: SceneConfig | None = None) -> list[tuple[str, str]]:
    return [(q.text, q.answer) for q in questions(kind, scene, Rng(seed, 0), config)]


def thing_of(scene: Scene, noun: str) -> Thing:
    (found,) = [thing for thing in scene if thing.concept == noun]
    return found


def test_yes_and_no_are_in_exact_balance_for_every_kind() -> None:
    answers = Counter((q.kind, q.answer) for _, q in (*asked(), *asked(PAIRED)) if q.options == ("yes", "no"))
    kinds = {kind for kind, _ in answers}
    assert kinds == {kind for kind in QUESTIONS if not kind.startswith("choose")}
    assert all(answers[kind, "yes"] == answers[kind, "no"] > 0 for kind in kinds)


def test_choices_offer_the_answer_once_at_any_place() -> None:
    places: Counter[tuple[str, int]] = Counter()
    for _, question in asked():
        assert question.answer in question.options
        assert len(set(question.options)) == len(question.options)
        if question.kind.startswith("choose"):
            most = len(SIZES) if question.kind == "choose size" else OPTIONS
            assert len(question.options) == most
            places[question.kind, question.options.index(question.answer)] += 1
    assert all(places["choose colour", place] for place in range(OPTIONS))


@pytest.mark.parametrize("kind", ["existence", "popular existence"])
def test_existence_is_true_of_the_scene(kind: str) -> None:
    for scene, question in of(kind):
        match = re.fullmatch(r"Is there an? (.+) in the picture\?", question.text)
        assert match
        assert (match[1] in scene.counts()) == (question.answer == "yes")
        if kind == "popular existence" and question.answer == "no":
            assert match[1] in RICH.concepts[:POPULAR]


def test_adversarial_existence_asks_for_the_absent_partner() -> None:
    partners = {"cat": "dog", "dog": "cat", "car": "bus", "bus": "car"}
    found = of("adversarial existence", PAIRED)
    for (scene, yes), (_, no) in zip(found[::2], found[1::2], strict=True):
        present, absent = (re.findall(r"an? (\w+) in", q.text)[0] for q in (yes, no))
        assert present in scene.counts()
        assert absent not in scene.counts()
        assert partners[present] == absent
    assert texts("adversarial existence", Scene(0, (CAT,))) == []
    assert texts("adversarial existence", Scene(0, (CAT, DOG)), config=PAIRED) == []
    assert texts("popular existence", Scene(0, (CAT,))) == []


def test_counts_are_exact() -> None:
    assert texts("count", Scene(0, (CAT, CAT)))[0] == ("Are there exactly two cats in the picture?", "yes")
    for scene, question in of("count"):
        match = re.fullmatch(r"(?:Is|Are) there exactly (\w+) (.+) in the picture\?", question.text)
        assert match
        number = NUMBERS.index(match[1])
        (count,) = [
            n
            for c, n in scene.counts().items()
            if phrase(Thing(c, None, "medium", 2, 1, 1), "en", number, "") == match[2]
        ]
        assert (count == number) == (question.answer == "yes")
        assert 1 <= number <= count + 2
    for scene, question in of("choose count"):
        assert NUMBERS.index(question.answer) in scene.counts().values()
        numbers = sorted(map(NUMBERS.index, question.options))
        assert numbers == list(range(numbers[0], numbers[0] + OPTIONS))
        assert numbers[0] >= 1


@pytest.mark.parametrize("kind", ["count", "choose count"])
def test_as_many_things_as_fit_are_asked_about_in_words(kind: str) -> None:
    crowded = SceneConfig(objects=(23, 25), same=True, sizes=("small",))
    known = lexicon("en").numbers
    for scene, question in of(kind, crowded):
        (count,) = scene.counts().values()
        if kind == "count":
            (number,) = (known.index(word) for word in re.split("[ ?]", question.text) if word in known)
            assert (number == count) == (question.answer == "yes")
        else:
            assert question.answer == known[count]
            assert len(question.options) == OPTIONS


def test_colours_and_sizes_are_those_of_only_thing_of_its_name() -> None:
    for kind in ("colour", "size"):
        for scene, question in of(kind):
            match = re.fullmatch(r"Is the (.+) (\S+)\?", question.text)
            assert match
            thing = thing_of(scene, match[1])
            own = thing.colour if kind == "colour" else thing.size.replace("medium", "medium-sized")
            assert (own == match[2]) == (question.answer == "yes")
    for scene, question in of("choose colour"):
        match = re.fullmatch(r"What colour is the (.+)\?", question.text)
        assert match
        assert thing_of(scene, match[1]).colour == question.answer


def test_a_wrong_colour_is_another_things() -> None:
    said = texts("colour", Scene(0, (CAT, DOG)))
    assert said in (
        [("Is the cat red?", "yes"), ("Is the cat blue?", "no")],
        [("Is the dog blue?", "yes"), ("Is the dog red?", "no")],
    )
    (question,) = questions("choose colour", Scene(0, (CAT, DOG)), Rng(0, 0))
    assert {"red", "blue"} <= set(question.options)


def test_relations_are_asked_either_way_round() -> None:
    assert texts("relation", Scene(0, (CAT, DOG)), 1) in (
        [("Is the cat to the left of the dog?", "yes"), ("Is the dog to the left of the cat?", "no")],
        [("Is the dog to the right of the cat?", "yes"), ("Is the cat to the right of the dog?", "no")],
    )
    said = {"to the left of": "left of", "to the right of": "right of"}
    for scene, question in of("relation"):
        match = re.fullmatch(
            r"Is the (.+?) (to the \w+ of|above|below|inside|behind) the (.+)\?", question.text
        )
        assert match
        a, b = thing_of(scene, match[1]), thing_of(scene, match[3])
        hidden = scene.things.index(a) < scene.things.index(b)
        kind = said.get(match[2], match[2])
        assert relation_holds(kind, a, b, hidden) == (question.answer == "yes")  # type: ignore[arg-type]
    for _, question in of("choose relation"):
        assert len(question.options) == len(OPPOSITE)


def test_comparisons_are_of_numbers_or_else_of_sizes() -> None:
    assert texts("comparison", Scene(0, (CAT, CAT, DOG))) == [
        ("Are there more cats than dogs in the picture?", "yes"),
        ("Are there more dogs than cats in the picture?", "no"),
    ]
    assert texts("comparison", Scene(0, (CAT, DOG))) == [
        ("Is the dog larger than the cat?", "yes"),
        ("Is the cat larger than the dog?", "no"),
    ]
    assert texts("comparison", Scene(0, (CAT,))) == []


def test_clutter_is_there_when_asked_about() -> None:
    clutter = Thing("apple", None, "small", 160, 500, 200, clutter=True)
    assert texts("count", Scene(0, (clutter,)))[0] == ("Is there exactly one apple in the picture?", "yes")


def test_an_empty_scene_has_nothing_to_ask_about() -> None:
    assert not [kind for kind in QUESTIONS if questions(kind, Scene(0, ()), Rng(0, 0), PAIRED)]


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UnknownNameError, match="kind of question 'color': did you mean 'colour'"):
        questions("color", Scene(0, (CAT,)), Rng(0, 0))


def test_the_same_draws_ask_the_same() -> None:
    for kind in QUESTIONS:
        both = (questions(kind, Scene(0, (CAT, DOG)), Rng(1, 1), PAIRED) for _ in range(2))
        assert len(set(both)) == 1


def test_questions_are_pinned() -> None:
    said = [q.text for kind in QUESTIONS for q in questions(kind, Scene(0, (CAT, DOG)), Rng(0, 0))]
    assert said == PINNED


PINNED = [
    "Is there a cat in the picture?",
    "Is there a sheep in the picture?",
    "Is there exactly one cat in the picture?",
    "Are there exactly two cats in the picture?",
    "Is the cat red?",
    "Is the cat blue?",
    "Is the dog large?",
    "Is the dog medium-sized?",
    "Is the cat to the left of the dog?",
    "Is the dog to the left of the cat?",
    "Is the dog larger than the cat?",
    "Is the cat larger than the dog?",
    "Which of these is in the picture?",
    "How many cats are in the picture?",
    "What colour is the dog?",
    "How large is the cat?",
    "Where is the cat?",
]


def test_conversations_have_one_picture_and_alternate() -> None:
    both = questions("colour", Scene(0, (CAT, DOG)), Rng(0, 0))
    messages = answering(both)
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2
    parts = [part["type"] for m in messages for part in m["content"]]
    assert parts == ["image", "text", "text", "text", "text"]
    assert [m["content"][0]["text"] for m in messages[1::2]] == ["Yes.", "No."]
    assert answering([]) == []


def test_captions_answer_an_instruction() -> None:
    user, assistant = captioning("two cats.", Rng(0, 1))
    assert user["content"][0] == {"type": "image"}
    assert user["content"][1]["text"] in INSTRUCTIONS
    assert assistant["content"] == [{"type": "text", "text": "Two cats."}]
    assert len({captioning("", Rng(0, i))[0]["content"][1]["text"] for i in range(40)}) == len(INSTRUCTIONS)


def test_prompts_offer_the_options() -> None:
    assert (
        prompt(Question("count", "How many?", "two", ("one", "two", "three")))
        == "How many? Answer one, two or three."
    )
    assert prompt(Question("count", "How many?", "two")) == "How many?"
