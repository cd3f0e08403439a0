"""Examples in context: which ones are shown, in what form, and what is read of a reply."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from counterpoint.evaluation.in_context_shots import (
    NOTHING,
    PLAIN,
    ZERO_SHOT,
    Hindsight,
    InContext,
    InContextExample,
    MultiTask,
    Shots,
    sentence,
)
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.types import Prompt, Turn


def grey(level: int) -> Tensor:
    return torch.full((3, 2, 2), level, dtype=torch.uint8)


POOL = [
    InContextExample(grey(k), f"question {k}", f"answer {k}", f"aside {k}", f"worse {k}") for k in range(10)
]
ASKED = [Prompt("What?", grey(100)), Prompt("What?", grey(101)), Prompt("Why?", grey(100))]


class Asked:
    """An assistant that remembers what it is asked, and repeats the last reply that it is shown."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        self.prompts += prompts
        return [prompt.turns[-1].reply if prompt.turns else "nothing" for prompt in prompts]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        self.prompts += prompts
        return torch.zeros(len(prompts), len(words))


def shown(shots: Shots, seed: int = 0, form: object = PLAIN, purpose: str = "") -> list[Prompt]:
    assistant = Asked()
    InContext(assistant, POOL, shots, form, seed, purpose).reply(ASKED)  # type: ignore[arg-type]
    return assistant.prompts


def texts(prompt: Prompt) -> list[str]:
    return [turn.text for turn in prompt.turns]


def test_fewer_examples_are_the_first_of_more() -> None:
    for few, many in zip(shown(Shots(2)), shown(Shots(6)), strict=True):
        assert many.turns[:2] == few.turns
        assert len(set(texts(many))) == 6


def test_examples_differ_by_picture_and_seed_and_not_by_form() -> None:
    first, second, again = map(texts, shown(Shots(4)))
    assert first != second
    assert first == again  # another question about the same picture comes after the same examples
    assert [texts(p) for p in shown(Shots(4), form=MultiTask("Besides:"))] == [first, second, again]
    assert [texts(p) for p in shown(Shots(4), seed=1)] != [first, second, again]
    assert texts(shown(Shots(4), purpose="correction")[0]) != first


def test_the_request_is_left_as_it_is() -> None:
    for before, after in zip(ASKED, shown(Shots(3)), strict=True):
        assert (after.text, after.picture is before.picture) == (before.text, True)


def test_turns_of_a_conversation_come_after_the_examples() -> None:
    assistant = Asked()
    own = Turn("And before?", "Before.")
    InContext(assistant, POOL, Shots(2)).reply([Prompt("Now?", grey(100), (own,))])
    assert assistant.prompts[0].turns[-1] == own
    assert len(assistant.prompts[0].turns) == 3


def test_zero_shot_shows_two_examples_without_pictures_nothing() -> None:
    for prompt in shown(ZERO_SHOT):
        assert len(prompt.turns) == 2
        assert all(turn.picture is None for turn in prompt.turns)
        assert prompt.picture is not None
    assert all(prompt.turns == () for prompt in shown(NOTHING))
    assert all(turn.picture is not None for prompt in shown(Shots(2)) for turn in prompt.turns)


def test_names_of_numbers_of_examples() -> None:
    assert [s.name for s in (NOTHING, ZERO_SHOT, Shots(4), Shots(4, pictures=False))] == [
        "nothing",
        "0",
        "4",
        "4 texts",
    ]


def test_logits_are_read_after_the_examples_too() -> None:
    assistant = Asked()
    InContext(assistant, POOL, Shots(3)).word_logits(ASKED, ["yes", "no"])
    assert [len(prompt.turns) for prompt in assistant.prompts] == [3, 3, 3]


def test_what_each_form_shows_and_reads() -> None:
    one = POOL[3]
    assert PLAIN.reply(one) == "Answer 3."
    both = MultiTask("Besides:")
    assert both.reply(one) == "Answer 3. Besides: Aside 3."
    assert both.read(both.reply(one)) == "Answer 3."
    assert both.read("Only this") == "Only this"
    assert both.read("Besides: a list") == ""
    hindsight = Hindsight()
    assert hindsight.read(" Good: A cat. Bad: A dog.") == "A cat."
    assert hindsight.reply(one) == "Good: Answer 3. Bad: Worse 3."
    assert hindsight.read(hindsight.reply(one)) == "Answer 3."
    assert hindsight.read("Answer without names.") == "Answer without names."


def test_the_answer_is_read_and_not_the_rest() -> None:
    said = InContext(Asked(), POOL, Shots(1), MultiTask("Besides:")).reply(ASKED)
    assert all(reply.startswith("Answer") and "Besides" not in reply for reply in said)


def test_too_few_examples() -> None:
    with pytest.raises(NotApplicableError, match="12 examples are to be shown and there are 10"):
        InContext(Asked(), POOL, Shots(12))


def test_sentences() -> None:
    assert [sentence(text) for text in ("a cat", "A cat.", "")] == ["A cat.", "A cat.", "."]
