"""Operators on questions about scenes, and the exact judge: what passes it has the same answer, and has to be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from counterpoint.data.items import Question, QuestionVariants
from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.data.synthetic.scenes.items.question_variants import (
    SceneSample,
    add,
    expand,
    irrelevant,
    pad,
    relevant,
    remove,
    rephrase,
    still_right,
    substitute,
)
from counterpoint.data.synthetic.scenes.scene import UNIT, Scene, Thing
from counterpoint.data.synthetic.scenes.words.meaning import mentioned, needs, right_answers, settles
from counterpoint.data.synthetic.scenes.words.wording import Statement, Wording
from counterpoint.data.synthetic.scenes.world import GREY, Scenes

CAT = Thing("cat", "red", "small", 160, 200, 500)
DOG = Thing("dog", "blue", "large", 400, 700, 500)
HOW_MANY = Question("choose count", "How many cats are in the picture?", "one", ("one", "two", "three"))
COLOUR = Question("choose colour", "What colour is the cat?", "red", ("red", "blue", "green"))


def sample(asked: Question = HOW_MANY, *things: Thing) -> SceneSample:
    return SceneSample(Scene(0, things or (CAT, DOG)), asked, SceneConfig(), 48)


def items(source: str, count: int = 16) -> QuestionVariants:
    world = Scenes.parse(f"{source},pixels=32,test={count}")
    return world.items(QuestionVariants, next(iter(world.splits.test.values())))


@pytest.mark.parametrize("source", ["scenes:basic", "scenes:tiny", "scenes:clutter", "scenes:counts"])
def test_what_passes_the_judge_has_one_right_answer(source: str) -> None:
    found = items(source)
    passed = dict.fromkeys(found.operators, 0)
    for position in range(len(found)):
        before = found.sample(position)
        assert isinstance(before, SceneSample)
        for name, operator in found.operators.items():
            for seed in range(2):
                proposed = operator(before, seed)
                if proposed is None or not found.judge(before, *proposed):
                    continue
                after = proposed[0]
                assert isinstance(after, SceneSample)
                passed[name] += 1
                assert right_answers(after.question, after.scene) == (before.question.answer,)
                assert (after.question.answer, after.question.options) == (
                    before.question.answer,
                    before.question.options,
                )
                assert after.question.text.endswith("?")
    assert sum(count > 0 for count in passed.values()) >= len(passed) - 1, (
        passed
    )  # of some worlds nothing is removed


def test_an_added_thing_hides_nothing_and_is_new() -> None:
    for seed in range(20):
        proposed = add(sample(), seed)
        assert proposed is not None
        *old, new = proposed[0].scene.things
        assert tuple(old) == (CAT, DOG)
        assert new.concept not in ("cat", "dog")
        assert new.clutter
        assert min(new.box) >= 0
        assert max(new.box) <= UNIT
    full = [Thing("cat", None, "large", 460, x, y) for x in (250, 750) for y in (250, 750)]
    wall = [Thing("dog", None, "large", 460, x, y) for x in (250, 500, 750) for y in (250, 500, 750)]
    assert add(sample(HOW_MANY, *full, *wall), 0) is None


def test_the_judge_refuses_what_touches_the_answer() -> None:
    before = sample()
    more = replace(before, scene=Scene(0, (CAT, DOG, Thing("cat", None, "small", 160, 500, 100))))
    fewer = replace(before, scene=Scene(0, (DOG,)))
    fine = replace(before, scene=Scene(0, (CAT,)))
    outside = replace(before, scene=Scene(0, (CAT, replace(DOG, x=900))))
    assert [still_right(before, after) for after in (more, fewer, fine, outside, before)] == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_judge_refuses_context_is_false_or_gives_answer_away() -> None:
    before = sample(COLOUR)

    def told(said: Statement) -> bool:
        return still_right(before, replace(before, wording=Wording(context=(said,))))

    assert not told(Statement("colour", ("cat",), "red"))
    assert not told(Statement("colour", ("dog",), "red"))  # false
    assert told(Statement("colour", ("dog",), "blue"))
    assert told(Statement("size", ("cat",), "small"))


def test_removing_takes_what_is_not_asked_about() -> None:
    kept = set()
    for seed in range(20):
        proposed = remove(sample(COLOUR), seed)
        assert proposed is not None
        if still_right(sample(COLOUR), *proposed):
            kept.add(tuple(thing.concept for thing in proposed[0].scene))
    assert kept == {("cat",)}
    assert remove(SceneSample(Scene(0, ()), HOW_MANY, SceneConfig(), 48), 0) is None


def test_expanding_keeps_everything_but_scale() -> None:
    proposed = expand(sample(), 1)
    assert proposed is not None
    cat, dog = proposed[0].scene.things
    assert (cat.side, dog.side) == (106, 266)  # two thirds, to even numbers
    assert abs((dog.x - cat.x) * 3 - 1000) <= 3
    assert {cat.size, dog.size} == {"small", "large"}
    large = Question("choose size", "How large is the dog?", "large", ("small", "medium-sized", "large"))
    again = expand(sample(large), 1)
    assert again is not None
    assert not still_right(sample(large), *again)


def test_the_control_only_shrinks_and_frames() -> None:
    proposed = pad(sample(), 0)
    assert proposed is not None
    whole, framed = sample().picture, proposed[0].picture
    assert framed.shape == whole.shape
    assert (framed[:, :8] == GREY).all()
    assert (framed[:, :, -8:] == GREY).all()
    inner = torch.nn.functional.interpolate(whole[None].float(), size=32, mode="area").round()[0]
    torch.testing.assert_close(framed[:, 8:40, 8:40].float(), inner)


def test_words_change_and_mean_the_same() -> None:
    changed = substitute(sample(), 0)
    assert changed is not None
    assert changed[0].question.text == "How many felines are in the image?"
    drum = Question(
        "choose relation", "Where is the drum?", "above the key", ("above the key", "below the key")
    )
    assert substitute(sample(drum), 0) is None
    said = {rephrase(sample(), seed)[0].question.text for seed in range(20)}  # type: ignore[index]
    assert said == {
        "What is the number of cats in the picture?",
        "If you count the cats in the picture, what do you get?",
    }
    both = substitute(rephrase(sample(), 0)[0], 0)  # type: ignore[index]
    assert both is not None
    assert "felines" in both[0].question.text
    assert "How many" not in both[0].question.text


def test_contexts_are_true_come_first_and_do_not_answer() -> None:
    for source in ("scenes:basic", "scenes:tiny"):
        found = items(source)
        for position in range(len(found)):
            before = found.sample(position)
            assert isinstance(before, SceneSample)
            things = mentioned(before.means, before.asked.options)
            told = needs(before.means, before.asked.options)
            for operator in (relevant, irrelevant):
                proposed = operator(before, position)
                if proposed is None:
                    continue
                after = proposed[0]
                assert still_right(before, after)
                assert after.question.text.endswith(before.question.text)
                for said in after.wording.context:
                    assert not settles(said) & told
                    if operator is irrelevant:
                        assert not things.intersection(said.things)


def test_relevant_context_speaks_of_is_asked_about_where_it_can() -> None:
    proposed = relevant(sample(COLOUR), 0)
    assert proposed is not None
    assert all("cat" in said.things for said in proposed[0].wording.context)


def test_the_same_seed_is_the_same_variant() -> None:
    for operator in (add, remove, expand, rephrase, relevant, irrelevant):
        assert operator(sample(COLOUR), 7) == operator(sample(COLOUR), 7)
    assert len({operator(sample(COLOUR), seed)[0].scene for seed in range(8) for operator in (add,)}) == 8  # type: ignore[index]


def test_items_are_questions_and_their_captions_say_the_options() -> None:
    found = items("scenes:basic", 30)
    assert len(found) == len(found.ids) == len(found.kinds) == len(found.questions)
    for position in range(len(found)):
        one = found.sample(position)
        assert one.question == found.questions[position]
        assert len(one.captions) == (
            len(one.question.options) if one.question.kind.startswith("choose") else 0
        )
    torch.testing.assert_close(found.pictures(np.array([3]))[0], found.sample(3).picture)


def test_another_question_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"in other words: 'Is it nice"):
        sample(Question("taste", "Is it nice?", "yes", ("yes", "no"))).means  # noqa: B018
