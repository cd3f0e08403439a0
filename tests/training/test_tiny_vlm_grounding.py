"""Tying words to what they mean: the values of the three losses on attention, states and patches made by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.networks.tiny_vlm import train_tokenizer
from counterpoint.training.tiny_vlm.grounding import FIRST, HEADS, NO_WORD, Grounding
from counterpoint.training.tiny_vlm.perception import PLACES, Targets

CONFIG = SceneConfig(concepts=("cat", "dog"), colours=("red", "blue"), objects=1)
WORDS = " cat", " cats", " dog", " dogs", " red", " blue", " left", " right", " top", " bottom"
TOKENIZER = train_tokenizer([word * 20 for word in WORDS], 400)
READS_ITSELF: Any = SimpleNamespace(
    lm_head=lambda states: states, model=SimpleNamespace(language_model=SimpleNamespace(norm=lambda s: s))
)
"""A model whose states are its logits."""


def token(word: str) -> int:
    (first, *_) = TOKENIZER(" " + word)["input_ids"]
    return int(first)


def there(concept: list[int], colour: list[int], column: list[int], row: list[int]) -> Targets:
    """Four patches of one picture."""
    of_patches = [torch.tensor([each]) for each in (concept, colour, [0] * 4, [0] * 4, column, row)]
    return Targets(*of_patches, corruption=torch.tensor([0]))


A_RED_CAT_AT_THE_TOP_LEFT = there([1, 1, 0, 0], [2, 2, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0])
SEES = torch.ones(1, 3, dtype=torch.bool)


@pytest.fixture(scope="module")
def grounding() -> Grounding:
    return Grounding(CONFIG, TOKENIZER)


def logits(*words: dict[str, float]) -> Tensor:
    """Logits (1, words, v) that give some words a probability of their own, and the rest to another one."""
    found = torch.full((1, len(words), len(TOKENIZER)), -math.inf)
    for place, of in enumerate(words):
        for word, probability in of.items():
            found[0, place, token(word)] = math.log(probability)
        found[0, place, 0] = math.log(max(1 - sum(of.values()), 1e-30))
    return found


def test_the_words_of_classes(grounding: Grounding) -> None:
    said = {
        what: [TOKENIZER.decode([t]) if t >= 0 else "" for t in words.tolist()]
        for what, words in grounding.names.items()
    }
    third = PLACES // 3
    assert said["concept"] == ["", " cat", " dog"]
    assert said["colour"] == ["", "", " red", " blue"]
    assert said["column"] == ["", *[" left"] * third, *[""] * third, *[" right"] * third]
    assert said["row"] == ["", *[" top"] * third, *[""] * third, *[" bottom"] * third]


def test_one_and_many_mean_the_same(grounding: Grounding) -> None:
    meant = {word: int(grounding.meanings[token(word)]) for word in ("cat", "cats", "dogs", "red")}
    assert meant == {"cat": 1, "cats": 1, "dogs": 2, "red": 0}


def test_naming_is_the_cross_entropy_of_what_has_a_word(grounding: Grounding) -> None:
    of = {"cat": 0.5, "red": 0.25, "left": 0.125, "top": 0.0625}
    value = grounding.naming(READS_ITSELF, logits(of, of, {}, {}), A_RED_CAT_AT_THE_TOP_LEFT)
    assert value.item() == pytest.approx(math.log(2) * (1 + 2 + 3 + 4) / 4, rel=1e-5)


class TestPointing:
    def test_present_things_looked_at_absent_ones_looked_for_nowhere(self, grounding: Grounding) -> None:
        attention = torch.zeros(1, HEADS + 1, 3, FIRST + 4)
        attention[0, :HEADS, 0, FIRST:] = torch.tensor([0.2, 0.3, 0.4, 0.0])  # the cat: 0.5 of it right
        attention[0, :HEADS, 1, FIRST:] = torch.tensor([0.1, 0.0, 0.0, 0.1])  # no dog there: 0.8 elsewhere
        attention[0, HEADS] = torch.nan  # heads that do not point
        tokens = torch.tensor([[token("cat"), token("dogs"), token("red")]])
        value = grounding.pointing(attention, tokens, SEES, A_RED_CAT_AT_THE_TOP_LEFT)
        assert value.item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2, rel=1e-5)

    def test_words_that_do_not_see_are_not_taught(self, grounding: Grounding) -> None:
        attention = torch.rand(1, HEADS, 1, FIRST + 4, requires_grad=True)
        tokens, blind = torch.tensor([[token("cat")]]), torch.zeros(1, 1, dtype=torch.bool)
        value = grounding.pointing(attention, tokens, blind, A_RED_CAT_AT_THE_TOP_LEFT)
        value.backward()
        assert value.item() == 0
        assert attention.grad is not None
        assert not attention.grad.any()


class TestKnowing:
    def test_a_word_names_the_colour_and_place_of_its_thing(self, grounding: Grounding) -> None:
        tokens = torch.tensor([[token("cat"), token("dog"), token("red")]])
        states = logits({"red": 0.5, "left": 0.25, "top": 0.125}, {}, {})  # only the cat is there and a thing
        value = grounding.knowing(READS_ITSELF, states, tokens, SEES, A_RED_CAT_AT_THE_TOP_LEFT)
        assert value.item() == pytest.approx(math.log(2) * (1 + 2 + 3) / 3, rel=1e-5)

    def test_what_differs_between_two_of_a_kind_is_not_taught(self, grounding: Grounding) -> None:
        two = there([1, 1, 0, 0], [2, 3, 0, 0], [1, 12, 0, 0], [1, 1, 0, 0])
        tokens = torch.tensor([[token("cats"), token("dog"), token("red")]])
        value = grounding.knowing(READS_ITSELF, logits({"top": 0.5}, {}, {}), tokens, SEES, two)
        assert value.item() == pytest.approx(math.log(2) / 3, rel=1e-5)

    def test_own_colours_and_the_middle_have_no_word(self, grounding: Grounding) -> None:
        plain = there([1, 0, 0, 0], [1, 0, 0, 0], [6, 0, 0, 0], [6, 0, 0, 0])
        tokens = torch.tensor([[token("cat"), token("dog"), token("red")]])
        assert grounding.knowing(READS_ITSELF, logits({}, {}, {}), tokens, SEES, plain).item() == 0


def test_concluding_is_cross_entropy_of_fact_where_there_is_one(grounding: Grounding) -> None:
    states = logits({"red": 0.9}, {"red": 0.25}, {"left": 0.5})
    facts = torch.tensor([[NO_WORD, token("red"), token("left")]])
    assert grounding.concluding(READS_ITSELF, states, facts).item() == pytest.approx(
        1.5 * math.log(2), rel=1e-5
    )
    assert grounding.concluding(READS_ITSELF, states, torch.full((1, 3), NO_WORD)).item() == 0
