"""Selection of a picture's caption among two, after examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from ...data.base import Rows
from ...data.items import Choices
from ...data.pictured import PairedData
from ...types import Assistant, Metric, Scores
from ..in_context_shots import (
    InContext,
    InContextExample,
    pool_rows,
    prompts,
    sentence,
    with_pictures,
)
from ..in_context_task import InContextTask
from ..item_scores import item_scores
from ..replies import first_word
from .matching import FOILS, two_options

WHICH = "Which sentence describes the picture? a) {} b) {}"


@final
@dataclass(eq=False)
class Selection(InContextTask):
    """Image–text selection: which of the true caption and its foil, named a and b, describes the picture?

    Outcomes: ``correct``, ``first`` (a was said).

    Args:
        shots: examples before each choice.
        variant: ``plain``, the only form.
        kinds: of choices, of two options each.

    Raises:
        UnknownNameError: for another variant.
        NotApplicableError: from a call, if the data has no such choices, or fewer training rows than examples.
        ValueError: from a call, for a choice that has not two options.

    Source: Shukor et al., "Beyond Task Performance" (2023), arXiv 2310.00647.
    """

    family = "in-context learning"
    papers = ("evalign-icl",)
    name = "selection"
    primary = "accuracy"

    kinds: tuple[str, ...] = FOILS

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        items, pictures = with_pictures(data, Choices, rows, self.name, self.kinds)
        queries = _choices(items, pictures)
        pool = _choices(*with_pictures(data, Choices, pool_rows(data, rows), self.name, self.kinds))
        replies = InContext(assistant, pool, self.shots, seed=seed).reply(prompts(queries), seed=seed)
        words = [first_word(reply) for reply in replies]
        right = [word == _LETTERS[answer] for word, answer in zip(words, items.answers, strict=True)]
        outcomes = {
            "correct": np.array(right, float),
            "first": np.array([word == _LETTERS[0] for word in words], float),
        }
        metrics = {"accuracy": Metric("correct", chance=0.5), "first": Metric("first", chance=0.5)}
        return item_scores(self.name, items, outcomes, metrics)


_LETTERS = ("a", "b")


def _choices(items: Choices, pictures: UInt8[Tensor, "k 3 H W"]) -> list[InContextExample]:
    return [
        InContextExample(picture, WHICH.format(*map(sentence, options)), f"{_LETTERS[answer]})")
        for picture, options, answer in zip(pictures, two_options(items), items.answers, strict=True)
    ]
