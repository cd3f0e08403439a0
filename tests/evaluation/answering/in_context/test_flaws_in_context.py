"""The five axes on scenes, with assistants whose flaws are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation.in_context import AXES, examine, sections
from counterpoint.evaluation.in_context_shots import NOTHING, ZERO_SHOT, Shots, pool_rows
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.abstention import RELEVANT, Abstention
from counterpoint.evaluation.tasks.captioning import Captioning
from counterpoint.evaluation.tasks.explanation import Explanation
from counterpoint.evaluation.tasks.following import InstructionFollowing
from counterpoint.evaluation.tasks.matching import Matching
from counterpoint.evaluation.tasks.selection import Selection
from counterpoint.registry import UnknownNameError
from counterpoint.study.report.flaws import write_flaws
from counterpoint.types import Prompt, Scores
from fixtures.hand_made import HandChoices, ItemData
from fixtures.tiny import TinyData


@cache
def world() -> Scenes:
    return Scenes.parse("scenes:tiny,train=60,validation=1,test=40")


def rows() -> np.ndarray:
    return world().splits.test["as trained"]


class Says:
    """An assistant that answers by a function of the request."""

    def __init__(self, answer: Callable[[Prompt], str]) -> None:
        self.answer = answer
        self.asked: list[Prompt] = []

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        self.asked += prompts
        return [self.answer(prompt) for prompt in prompts]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        raise AssertionError("these tasks read replies")


@cache
def known() -> dict[bytes, int]:
    """The row of each picture."""
    every = np.concatenate([world().splits.train, rows()])
    return {
        picture.numpy().tobytes(): int(row)
        for row, picture in zip(every, world().draw(every).pictures, strict=True)
    }


def sees(prompt: Prompt) -> tuple[set[str], dict[str, str | None], dict[str, str]]:
    """Return what is in the picture of a request, the colours of things, their sizes."""
    assert prompt.picture is not None
    scene = world().scene(known()[prompt.picture.numpy().tobytes()])
    return (
        set(scene.counts()),
        {thing.concept: thing.colour for thing in scene},
        {thing.concept: thing.size for thing in scene},
    )


def answers(prompt: Prompt) -> str:
    """Colours and sizes of what is there, and of what is not there whatever comes to mind."""
    there, colours, sizes = sees(prompt)
    asked = re.search(r"(?:colour|large) is the (\w+)\?", prompt.text)
    assert asked
    if RELEVANT in prompt.text:
        return "Yes." if asked[1] in there else "No, it does not."
    if "colour" in prompt.text:
        return f"{colours.get(asked[1]) or 'red'}."
    return {"small": "Small.", "medium": "Medium-sized.", "large": "Large."}[sizes.get(asked[1], "large")]


def values(scores: Scores) -> dict[str, float]:
    return {name: scores.value(name) for name in scores.metrics}


def test_whoever_never_abstains_has_no_f1_and_answers_the_rest() -> None:
    found = values(Abstention()(Says(answers), world(), rows()))
    assert found["f1"] == 0.0
    assert found["abstained"] == 0.0
    assert found["answered"] == 1.0
    assert found["accuracy"] == pytest.approx(1 - found["absurd"])
    assert 0.1 < found["absurd"] < 0.6


def test_whoever_always_abstains_has_the_f1_of_chance() -> None:
    scores = Abstention()(Says(lambda prompt: "Does not apply."), world(), rows())
    found, rate = values(scores), scores.value("absurd")
    assert found["f1"] == pytest.approx(2 * rate / (1 + rate)) == pytest.approx(scores.metrics["f1"].chance)
    assert found["accuracy"] == pytest.approx(rate)
    assert found["answered"] == 0.0
    assert (scores.metrics["accuracy"].chance or 0) >= rate


def test_correction_mends_absurd_answers_spoils_none_where_judge() -> None:
    found = values(Abstention(variant="self-correcting")(Says(answers), world(), rows()))
    assert found["f1"] == found["answered"] == found["accuracy"] == found["mended"] == 1.0
    assert found["spoilt"] == 0.0


def test_a_judge_that_always_says_no_spoils_every_right_answer() -> None:
    both = Says(lambda prompt: "No." if RELEVANT in prompt.text else answers(prompt))
    found = values(Abstention(variant="self-correcting")(both, world(), rows()))
    assert found["spoilt"] == found["mended"] == 1.0
    assert found["answered"] == 0.0


def test_correction_is_asked_after_other_examples_say_yes_and_no() -> None:
    assistant = Says(answers)
    Abstention(Shots(3), "self-correcting", judging=Shots(6))(assistant, world(), rows())
    first, second = (assistant.asked[half::1] for half in (0, len(assistant.asked) // 2))
    assert len(first[0].turns) == 3
    assert len(second[0].turns) == 6
    replies = {turn.reply for prompt in second for turn in prompt.turns}
    assert replies == {"Yes.", "No."}
    before, after = ({turn.text for turn in prompt.turns} for prompt in (first[0], second[0]))
    assert {text.removesuffix(f" {RELEVANT}") for text in after} != before


def test_absurd_questions_are_among_examples_as_often_as_in_data() -> None:
    assistant = Says(answers)
    scores = Abstention(Shots(6))(assistant, world(), rows())
    shown = [turn.reply for prompt in assistant.asked for turn in prompt.turns]
    assert np.mean([reply == "Does not apply." for reply in shown]) == pytest.approx(
        scores.value("absurd"), abs=0.2
    )


def test_what_stands_behind_the_mark_is_no_part_of_the_answer() -> None:
    plain = Abstention(Shots(2))(Says(answers), world(), rows())
    listing = Says(lambda prompt: f"{answers(prompt)} {RELEVANT} No.")
    both = Abstention(Shots(2), "multi-task")(listing, world(), rows())
    assert values(plain) == values(both)


def test_matching_halves_and_the_model_that_always_says_yes() -> None:
    found = values(Matching()(Says(lambda prompt: "Yes."), world(), rows()))
    assert found == {"accuracy": 0.5, "caption": 1.0, "foil": 0.0, "yes": 1.0}
    neither = values(Matching()(Says(lambda prompt: "Perhaps."), world(), rows()))
    assert neither == {"accuracy": 0.0, "caption": 0.0, "foil": 0.0, "yes": 0.0}


def test_captions_are_true_and_foils_are_not() -> None:
    own = {picture: world().captions(row)[0] for picture, row in known().items()}

    def tells(prompt: Prompt) -> str:
        assert prompt.picture is not None
        said = prompt.text.partition("? ")[2].removesuffix(".").lower()
        plain = own[prompt.picture.numpy().tobytes()]
        # Beside an edited size a caption says every size, so it is longer than the plain one.
        short = said.replace("medium-sized ", "").replace("a apple", "an apple")
        return "Yes." if plain in (said, short) else "No."

    scores = Matching()(Says(tells), world(), rows())
    assert set(scores.examples["subset"]) == {"random", "atom", "compound"}
    assert scores.value("foil") == 1.0
    assert scores.value("caption") == 1.0


def test_examples_of_matching_say_yes_and_no_about_as_often() -> None:
    assistant = Says(lambda prompt: "Yes.")
    Matching(Shots(4))(assistant, world(), rows())
    shown = [turn.reply for prompt in assistant.asked for turn in prompt.turns]
    assert set(shown) == {"Yes.", "No."}
    assert 0.3 < np.mean([reply == "Yes." for reply in shown]) < 0.7


def test_matching_with_objects_lists_what_there_is() -> None:
    assistant = Says(lambda prompt: "No. Objects: Yes.")
    found = values(Matching(Shots(2), "multi-task")(assistant, world(), rows()))
    assert found["yes"] == 0.0
    for prompt in assistant.asked:
        for turn in prompt.turns:
            assert turn.picture is not None
            row = known()[turn.picture.numpy().tobytes()]
            listed = turn.reply.partition("Objects: ")[2].removesuffix(".").lower().split(", ")
            assert set(listed) == set(world().scene(row).counts())


@pytest.mark.parametrize("task", [Matching, Selection])
def test_a_caption_has_one_foil(task: type[Matching | Selection]) -> None:
    data = ItemData(HandChoices([["a", "b", "c"]] * 2, [2, 0], ["random"] * 2))
    with pytest.raises(ValueError, match="has two options, got 3"):
        task(NOTHING)(Says(lambda prompt: "Yes."), data, data.ids)


def test_selection_is_balanced_between_places() -> None:
    found = values(Selection()(Says(lambda prompt: "a)"), world(), rows()))
    assert found["first"] == 1.0
    assert 0.2 < found["accuracy"] < 0.8
    assert values(Selection()(Says(lambda prompt: "Both."), world(), rows())) == {
        "accuracy": 0.0,
        "first": 0.0,
    }


def reasons(prompt: Prompt) -> str:
    """The reason that stands in the question's own words, where the question is affirmed."""
    said = re.sub(r"^(Is|Are) ", "", prompt.text.partition("?")[0])
    return said.capitalize() + "."


def test_reasons_are_asked_for_after_question_and_answer() -> None:
    assistant = Says(reasons)
    scores = Explanation()(assistant, world(), rows())
    kept = scores.examples.drop_nulls("cider")
    assert 0 < len(kept) < len(scores.examples)
    assert all(re.fullmatch(r".+\? (Yes|No)\. Why\?", prompt.text) for prompt in assistant.asked)
    perfect = Explanation()(Says(lambda prompt: "The cat is red."), world(), rows())
    assert perfect.value("right") <= 0.2


def test_explaining_and_answering_does_not_give_the_answer_away() -> None:
    assistant = Says(reasons)
    Explanation(Shots(1), "multi-task")(assistant, world(), rows())
    assert all(re.fullmatch(r"[^?]+\? Why\?", prompt.text) for prompt in assistant.asked)
    assert re.fullmatch(r".+\. Answer: (Yes|No)\.", assistant.asked[0].turns[0].reply)


def test_hindsight_shows_model_itself_said_where_that_was_wrong() -> None:
    assistant = Says(lambda prompt: "Because I say so.")
    Explanation(Shots(2), "hindsight")(assistant, world(), rows())
    shown = [turn.reply for prompt in assistant.asked for turn in prompt.turns if "Good:" in turn.reply]
    assert shown
    for reply in shown:
        good, bad = re.fullmatch(r"Good: (.+\.) Bad: (.+)", reply).groups()  # type: ignore[union-attr]
        assert bad == "Because I say so."
        assert good != bad


def test_hindsight_has_nothing_to_show_of_model_is_always_right() -> None:
    right: dict[str, str] = {}

    def learns(prompt: Prompt) -> str:
        """Answer with the reasons of all examples that have been shown anywhere."""
        right.update({turn.text: turn.reply for turn in prompt.turns})
        return right.get(prompt.text, "nothing")

    Explanation(Shots(20))(Says(learns), world(), rows())  # learns what the pool holds
    with pytest.raises(NotApplicableError, match="are to be shown"):
        Explanation(Shots(20), "hindsight")(Says(lambda prompt: right.get(prompt.text, "")), world(), rows())


def test_captions_judged_by_mentioned_examples_rows_of_training() -> None:
    def describes(prompt: Prompt) -> str:
        there, _, _ = sees(prompt)
        return f"There is a {sorted(there)[0]} and a guitar."

    assistant = Says(describes)
    found = Captioning(Shots(2))(assistant, world(), rows())
    absent = ["guitar" not in world().scene(int(row)).counts() for row in rows()]
    assert found.value("sentences") == pytest.approx(np.mean(absent))
    assert found.value("words") == 7.0
    plain = world().captions(int(pool_rows(world(), rows())[0]))[0]
    shown = {turn.reply for prompt in assistant.asked for turn in prompt.turns}
    assert f"{plain[0].upper()}{plain[1:]}." in shown


def test_a_list_behind_the_caption_is_not_judged() -> None:
    scores = Captioning(Shots(1), "multi-task")(
        Says(lambda prompt: f"A {sorted(sees(prompt)[0])[0]}. Objects: guitar, pig, bus."), world(), rows()
    )
    assert scores.value("instances") == 0.0
    assert scores.value("mentions") == 1.0


def test_instructions_ask_for_three_forms_whose_length_checked() -> None:
    assistant = Says(lambda prompt: "a cat")
    scores = InstructionFollowing(Shots(3))(assistant, world(), rows())
    assert set(scores.examples["subset"]) == {"short", "long", "list"}
    assert scores.value("kept", "long") == 0.0
    assert len({prompt.text for prompt in assistant.asked}) == 3


def test_the_examination_is_a_table_and_a_page(tmp_path: Path) -> None:
    found = examine(
        Says(lambda prompt: "Yes."), world(), rows()[:8], shots=(NOTHING, ZERO_SHOT), seeds=(0, 1)
    )
    assert set(found["axis"]) == set(AXES)
    assert set(found["shots"]) == {"nothing", "0"}
    accuracy = found.filter(axis="matching", metric="accuracy", subset="all", variant="plain")
    assert accuracy["value"].to_list() == [0.5] * 4
    made = {section.name: section for section in sections(found)}
    assert list(made) == list(AXES)
    assert made["matching"].numbers["accuracy, plain, 0 examples"] == 0.5
    assert "after nothing, " in made["matching"].sentence
    values = write_flaws(
        tmp_path,
        found,
        model="says-yes",
        data=world().name,
        rows=8,
        command=["again"],
        attribution="By artists.",
    )
    assert set(values["axes"]) == set(AXES)
    page = (tmp_path / "flaws.html").read_text(encoding="utf-8")
    assert page.count("<svg") == len(AXES)
    assert "By artists." in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)


def test_axes_that_do_not_apply() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'matching'"):
        examine(Says(lambda prompt: ""), world(), rows(), axes=["matchin"])
    data = TinyData()
    with pytest.raises(NotApplicableError, match="has no"):
        examine(Says(lambda prompt: ""), data, data.splits.test["compositions"], axes=["abstention"])
    with pytest.raises(UnknownNameError, match="unknown variant 'multi'"):
        Abstention(variant="multi")


def test_examples_are_never_what_is_asked_about() -> None:
    train = world().splits.train
    assert not set(pool_rows(world(), train[:20])) & set(train[:20])
    assert len(pool_rows(world(), train[:20])) == 40
