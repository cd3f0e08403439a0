"""Counting by captions: numbers in words, accuracy, deviation, confusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.evaluation import create
from counterpoint.evaluation.counting import WORDS, confusion, numbers_said
from counterpoint.evaluation.task import NotApplicableError, check_data
from counterpoint.types import Scores
from fixtures.hand_made import Blind, HandChoices, ItemData, SimilarityTable

NINE = WORDS[2:11]


def countbench(count: int = 9) -> ItemData:
    """Item k is a picture of ``2 + k % 9`` dogs, with nine captions."""
    options = [[f"{word.capitalize()} dogs in a row, item {'x' * k}" for word in NINE] for k in range(count)]
    return ItemData(HandChoices(options, [k % 9 for k in range(count)]))


def score(data: ItemData, said: list[int]) -> Scores:
    """The scores of a model that says these numbers."""
    items = data._items[0]
    assert isinstance(items, HandChoices)
    table = {text: torch.zeros(len(said)) for options in items.options for text in options}
    for k, number in enumerate(said):
        table[items.options[k][number - 2]][k] = 1.0
    return create("count_to_ten")(SimilarityTable(table), data, np.arange(2))


def test_a_perfect_model_counts() -> None:
    found = score(countbench(), list(range(2, 11)))
    assert (found.value("accuracy"), found.value("deviation")) == (1, 0)
    assert found.metrics["accuracy"].chance == pytest.approx(1 / 9)


def test_deviation_is_how_far_off() -> None:
    found = score(countbench(3), [3, 3, 10])  # truth is 2, 3, 4
    assert found.value("accuracy") == pytest.approx(1 / 3)
    assert found.value("deviation") == pytest.approx((1 + 0 + 6) / 3)
    assert found.examples["said"].to_list() == [3, 3, 10]
    assert set(found.subsets()) == {"all", "two", "three", "four"}
    assert found.value("deviation", "four") == 6
    assert not found.metrics["deviation"].higher_is_better


def test_a_blind_model_is_as_far_off_as_chance_and_never_right() -> None:
    found = create("count_to_ten")(Blind(), countbench(), np.arange(2))
    assert found.value("accuracy") == 0
    assert found.value("deviation") == pytest.approx(found.metrics["deviation"].chance)
    # Over nine numbers, each true once: mean |i − j| = (n² − 1) / 3n.
    assert found.metrics["deviation"].chance == pytest.approx((81 - 1) / 27)


def test_confusion_is_who_was_taken_for_whom() -> None:
    numbers, matrix = confusion(score(countbench(18), [2] * 9 + list(range(2, 11))))
    assert numbers.tolist() == list(range(2, 11))
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert matrix[0, 0] == 1
    assert matrix[5, 0] == matrix[5, 5] == 0.5


@pytest.mark.parametrize(
    ("captions", "numbers"),
    [
        (["Two of 3 cats", "five of 3 cats"], [2, 5]),
        (["there is a cat", "there are no cats", "there are 11 cats"], [1, 0, 11]),
        (["a photo of one cat", "a photo of ten cats"], [1, 10]),
    ],
)
def test_numbers_are_read_where_captions_differ(captions: list[str], numbers: list[int]) -> None:
    assert numbers_said(captions).tolist() == numbers


@pytest.mark.parametrize(
    "captions",
    [
        ["two cats", "two dogs"],  # in no number
        ["two cats and three dogs", "three cats and two dogs"],  # in two
        ["two cats", "2 cats"],  # the same one
        ["two cats", "cats"],
    ],
)
def test_other_differences_are_refused(captions: list[str]) -> None:
    data = ItemData(HandChoices([captions], [0]))
    task = create("count_to_ten")
    with pytest.raises(
        NotApplicableError, match="item 10: counting needs captions that differ in one number"
    ):
        task(Blind(), data, np.arange(2))
    with pytest.raises(NotApplicableError, match="item 10"):  # and so before anything is trained
        check_data(task, data)
