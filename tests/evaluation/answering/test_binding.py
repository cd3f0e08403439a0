"""Binding: what an episode shows, and which replies are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from counterpoint.data.source import load_any
from counterpoint.evaluation import create_answering
from counterpoint.evaluation.task import NotApplicableError
from counterpoint.evaluation.tasks.binding import REQUEST, WORDS
from counterpoint.types import Prompt

DATA: Any = load_any("scenes:basic,objects=1-1,concepts=cat+fish+car,pixels=24,train=4,validation=2,test=40")
(ROWS,) = DATA.splits.test.values()
PICTURES = DATA.read("image", ROWS)
CLASSES = DATA.classes["concept"].values[ROWS]


def row_of(picture: Any) -> int:
    return next(n for n, one in enumerate(PICTURES) if one.equal(picture))


class Binder:
    """Replies with the name that the pictures of the same class were shown with, and keeps the prompts."""

    def __init__(self, lead: str = "", otherwise: str = "") -> None:
        self.prompts: list[Prompt] = []
        self.lead, self.otherwise = lead, otherwise

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        self.prompts += prompts
        known = [{CLASSES[row_of(turn.picture)]: turn.reply for turn in p.turns} for p in prompts]
        names = [of[CLASSES[row_of(p.picture)]] for of, p in zip(known, prompts, strict=True)]
        return [self.otherwise or f"{self.lead}{name}" for name in names]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Tensor:
        raise NotImplementedError


def asked(assistant: Binder, seed: int = 0, **options: Any) -> Any:
    return create_answering("binding", label="concept", **options)(assistant, DATA, ROWS, seed=seed)


def test_episode_shows_as_many_other_pictures_of_as_many_classes() -> None:
    binder = Binder("A ")
    scores = asked(binder, ways=3, shots=2, repeats=1, episodes=10)
    assert scores.value("accuracy") == 1
    assert scores.metrics["accuracy"].chance == pytest.approx(1 / 3)
    assert len(binder.prompts) == np.isfinite(scores.outcomes("accuracy")).sum() == 10
    orders = set()
    for prompt in binder.prompts:
        shown, again = prompt.turns[:6], prompt.turns[6:]
        assert [turn.reply for turn in shown] == [turn.reply for turn in again]
        rows = [row_of(turn.picture) for turn in shown]
        assert len({*rows, row_of(prompt.picture)}) == 7, "no picture is shown twice in a round"
        named = {(CLASSES[row], turn.reply) for row, turn in zip(rows, shown, strict=True)}
        assert len(named) == len({word for _, word in named}) == 3
        assert {word for _, word in named} <= {*WORDS}
        first, *others = [*(turn.text for turn in prompt.turns), prompt.text]
        assert first.startswith("Answer with ")
        assert {*others} == {REQUEST}
        orders.add(tuple(CLASSES[row] == CLASSES[row_of(prompt.picture)] for row in rows))
    assert len(orders) > 1


def test_replies_are_open() -> None:
    assert asked(Binder(otherwise="a cat"), episodes=5).value("named") == 0
    every = asked(Binder(otherwise=WORDS[0]))
    assert every.value("accuracy") <= every.value("named") < 1
    assert asked(Binder("It is a "), episodes=5).value("accuracy") == 0


def test_draws_follow_from_the_seed() -> None:
    one, same, other = Binder(), Binder(), Binder()
    for binder, seed in ((one, 0), (same, 0), (other, 1)):
        asked(binder, seed, episodes=4, induction=False)
    texts = [[[turn.reply for turn in p.turns] for p in binder.prompts] for binder in (one, same, other)]
    assert texts[0] == texts[1] != texts[2]
    assert {turn.text for prompt in one.prompts for turn in prompt.turns} == {REQUEST}


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(NotApplicableError, match="4 classes of concept with 2 test pictures each"):
        asked(Binder(), ways=4)
    with pytest.raises(ValueError, match="ways=1"):
        asked(Binder(), ways=1)
