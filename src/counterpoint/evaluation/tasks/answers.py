"""Open questions: is the reply the answer?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float

from ...data.base import Data, Rows
from ...data.benchmarks.questions import OwnQuestions
from ...data.items import Question, Questions
from ...types import Assistant, Metric, Scores
from ..item_scores import classes, item_scores
from ..replies import is_right, replies_to
from ..statistic import mean, mean_per_class
from ..task import AnsweringTask, items_of

KINDS = ("existence", "choose count", "choose colour", "relation")
_TAKEN = ("example", "subset", "right", "kind_number", "accuracy", "mean_over_kinds")
"""Names of columns and metrics that are no kind's."""


@final
class Answers(AnsweringTask):
    """The share of questions that are answered exactly, overall and by kind.

    ``accuracy`` over all questions, ``mean_over_kinds``, and one for each kind, ``existence``, ``count``, ``colour`` …,
    where ``choose count`` is called ``count``. Case, punctuation and a leading article do not count. Chance is what the
    most frequent answer of each kind scores on the same questions.

    Args:
        kinds: of questions; unless given, all of one's own (``questions:PATH``), and else `KINDS`.
        options: whether questions that are not answered yes or no say what they can be answered.

    Raises:
        ValueError: without kinds.
        NotApplicableError: from a call, if the data has no such questions.
    """

    family = "answering"
    name = "answers"
    primary = "accuracy"

    def __init__(self, kinds: Sequence[str] | None = None, options: bool = False) -> None:
        if kinds is not None and not kinds:
            raise ValueError("kinds=(): name at least one kind of question")
        self.kinds, self.options = kinds, options

    def __call__(self, assistant: Assistant, data: Data, rows: Rows, *, seed: int = 0) -> Scores:
        kinds = self.kinds
        if kinds is None and not isinstance(data, OwnQuestions):
            kinds = KINDS
        items = items_of(data, Questions, rows, self.name, kinds)
        replies = replies_to(
            assistant, items, [self._text(question) for question in items.questions], seed=seed
        )
        right = np.array(
            [is_right(reply, q) for reply, q in zip(replies, items.questions, strict=True)], float
        )
        guess = most_frequent(items)
        numbers = classes(items.kinds)
        outcomes = {"right": right, "kind_number": numbers}
        metrics = {
            "accuracy": Metric("right", mean, chance=mean(guess)),
            "mean_over_kinds": Metric(
                ("kind_number", "right"), mean_per_class, chance=mean_per_class(np.stack([numbers, guess], 1))
            ),
        }
        for kind in dict.fromkeys(items.kinds):
            its = np.array([each == kind for each in items.kinds])
            name = kind.removeprefix("choose ")
            name = kind if name in items.kinds else name
            name = f"kind {name}" if name in _TAKEN else name
            outcomes[name] = np.where(its, right, np.nan)
            metrics[name] = Metric(name, mean, chance=mean(guess[its]))
        return item_scores(self.name, items, outcomes, metrics)

    def _text(self, question: Question) -> str:
        return question.closed if self.options else question.asked


def most_frequent(items: Questions) -> Float[np.ndarray, " n"]:
    """Return 1 for each question whose answer is the most frequent one of the question's kind, else 0."""
    by_kind: dict[str, Counter[str]] = {}
    for question in items.questions:
        by_kind.setdefault(question.kind, Counter())[question.answer] += 1
    usual = {kind: counts.most_common(1)[0][0] for kind, counts in by_kind.items()}
    return np.array([question.answer == usual[question.kind] for question in items.questions], float)
