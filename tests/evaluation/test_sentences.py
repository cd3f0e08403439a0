"""Sentences that a model gives: shares by hand, in any order, of several texts, and models that give none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoint.evaluation import create
from counterpoint.evaluation.task import NotApplicableError
from fixtures.tiny import Pixels, TinyData

TEXTS = {0: "a cat. a dog.", 1: "a dog. a cat.", 2: "a hat.", 3: "a cat. a hat! a dog."}
GIVEN = [["a dog.", "a cat."], ["a dog."], [], ["a cat.", "a dog.", "a hat!", "a hat."]]


class Told(Pixels):
    """A model that gives the sentences that it is told to."""

    def name_sentences(self, pictures: Tensor, sentences: Sequence[str]) -> list[list[int]]:
        assert list(sentences) == ["a cat.", "a dog.", "a hat!", "a hat."]
        return [[list(sentences).index(text) for text in of_one] for of_one in GIVEN]


class Reports(TinyData):
    """Pictures with reports."""

    def evaluation_texts(self, column: str, row: int) -> Sequence[str]:
        return [TEXTS[row]]


def test_sentences_are_a_set() -> None:
    scores = create("sentences")(Told(), Reports(), np.arange(4))
    columns = {name: scores.examples[name].to_list() for name in ("f1", "recall", "precision")}
    assert columns["recall"] == [1.0, 0.5, 0.0, 1.0]
    assert columns["precision"] == [1.0, 1.0, 0.0, 0.75]
    assert columns["f1"] == [1.0, pytest.approx(2 / 3), 0.0, pytest.approx(6 / 7)]


def test_a_model_that_gives_none_is_refused() -> None:
    model: Any = Pixels()
    with pytest.raises(NotApplicableError, match="as prior does"):
        create("sentences")(model, Reports(), np.arange(4))
    assert torch.is_tensor(model.embed("image", torch.zeros(1, 3, 4, 4, dtype=torch.uint8)))
