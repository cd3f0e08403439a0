"""Facts: which statements of a description hold."""

from __future__ import annotations

import math
from typing import final

import numpy as np

from ...data.base import Data, Rows
from ...data.items import StatedFacts
from ...types import Assistant, Metric, Scores
from ..item_scores import item_scores
from ..prompts import INSTRUCTIONS
from ..replies import replies_to
from ..statistic import mean, share
from ..task import AnsweringTask, items_of


@final
class Facts(AnsweringTask):
    """Descriptions of pictures, read back into statements, each of which is true or false of the picture.

    Statements say that a thing is there or is not, how many there are, its colour and size, how it stands to another
    one, and what the background is. ``held`` is the share of all statements that hold. It rises when a model says
    less, so beside it stand ``recall``, the mean share of a picture's facts that are told, ``statements``, how many a
    description makes, and ``undecided``, the share of statements that speak of "the cat" where there are several, which
    count in no other number.

    Args:
        prompt: asks for a description. How long it may be is up to the assistant.

    Raises:
        NotApplicableError: from a call, if the data does not say what descriptions of its pictures are true.
    """

    family = "answering"
    name = "facts"
    primary = "held"

    def __init__(self, prompt: str = INSTRUCTIONS[0]) -> None:
        self.prompt = prompt

    def __call__(self, assistant: Assistant, data: Data, rows: Rows, *, seed: int = 0) -> Scores:
        items = items_of(data, StatedFacts, rows, self.name)
        replies = replies_to(assistant, items, [self.prompt] * len(items), seed=seed)
        judged = [items.judge(position, reply) for position, reply in enumerate(replies)]
        outcomes = {
            "true": np.array([it.true for it in judged], float),
            "decided": np.array([it.true + it.false for it in judged], float),
            "undecided": np.array([it.undecided for it in judged], float),
            "said": np.array([it.true + it.false + it.undecided for it in judged], float),
            "recall": np.array([it.recalled / it.facts for it in judged], float),
        }
        metrics = {
            "held": Metric(("decided", "true"), share),
            "recall": Metric("recall", mean),
            "statements": Metric("said", mean, bounds=(0.0, math.inf)),
            "undecided": Metric(("said", "undecided"), share, higher_is_better=False),
        }
        return item_scores(self.name, items, outcomes, metrics)
