"""Multiple choice: what a model answers with the picture, without it, and with the second taken out of the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...data.base import Rows
from ...data.items import Questions
from ...data.pictured import PairedData
from ...decoding import debiased
from ...types import Assistant, Metric, Scores
from ..item_scores import item_scores, right_and_margin
from ..prompts import prompt
from ..replies import prompts_of
from ..statistic import mean
from ..task import AnsweringTask, items_of

KINDS = ("choose count", "choose colour", "choose size")


@final
class MultipleChoice(AnsweringTask):
    """The choice of the option that a reply would begin with, with the picture and without it.

    ``accuracy`` is that of the likeliest option; ``blind`` that without the picture, what a question gives away by
    itself; ``debiased`` that after each option's probability is divided by the one without the picture. The uniform
    prior of the last is a choice: where some answers are truly more frequent it costs accuracy. Equal probabilities are
    wrong. ``margin``, an outcome, is by how much log p of the answer leads.

    Args:
        kinds: of questions with options that begin with different tokens; the subsets.

    Raises:
        NotApplicableError: from a call, if the data has no such questions.
        ValueError: from a call, for a question without options, or options that begin with the same token.

    Source: the image-free prior and its Post-Hoc Debias are those of VDD (arXiv 2403.05262).
    """

    family = "answering"
    name = "multiple_choice"
    primary = "accuracy"

    def __init__(self, kinds: Sequence[str] = KINDS) -> None:
        self.kinds = tuple(kinds)

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        items = items_of(data, Questions, rows, self.name, self.kinds)
        for question in items.questions:
            if len(question.options) < 2:
                raise ValueError(
                    f"{question.text!r} has no options to choose among; ask for kinds that are choices"
                )
        answers = np.array([question.options.index(question.answer) for question in items.questions])
        seen, blind = (option_logits(assistant, items, shown=shown) for shown in (True, False))
        corrected = [
            debiased(logits.softmax(-1)[None], prior.softmax(-1)[None])[0]
            for logits, prior in zip(seen, blind, strict=True)
        ]
        right, margin = right_and_margin([logits.log_softmax(-1) for logits in seen], answers)
        guess = float(np.mean([1 / len(question.options) for question in items.questions]))
        outcomes = {
            "right": right,
            "margin": margin,
            "blind": right_and_margin([prior.log_softmax(-1) for prior in blind], answers)[0],
            "debiased": right_and_margin(corrected, answers)[0],
        }
        metrics = {
            "accuracy": Metric("right", mean, chance=guess),
            "blind": Metric("blind", mean, chance=guess),
            "debiased": Metric("debiased", mean, chance=guess),
        }
        return item_scores(self.name, items, outcomes, metrics)


def option_logits(assistant: Assistant, items: Questions, shown: bool) -> list[Float[Tensor, " _"]]:
    """Compute how strongly a reply to each item would begin with each of the item's options.

    Args:
        assistant: is asked.
        items: questions with options.
        shown: whether the pictures are.
    """
    # Questions of a kind share their options, mostly, and are asked with all of these.
    words = {
        kind: sorted({option for q in items.questions if q.kind == kind for option in q.options})
        for kind in dict.fromkeys(items.kinds)
    }
    by_question: list[Float[Tensor, " _"]] = []
    texts = [prompt(question) for question in items.questions]
    for prompts in prompts_of(items, texts, shown=shown):
        questions = items.questions[len(by_question) : len(by_question) + len(prompts)]
        tables: dict[str, dict[int, Tensor]] = {}
        for kind in dict.fromkeys(question.kind for question in questions):
            indices = [index for index, question in enumerate(questions) if question.kind == kind]
            logits = assistant.word_logits([prompts[index] for index in indices], words[kind])
            tables[kind] = dict(zip(indices, logits, strict=True))
        by_question += [
            tables[question.kind][index][[words[question.kind].index(option) for option in question.options]]
            for index, question in enumerate(questions)
        ]
    return by_question
