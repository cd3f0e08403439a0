"""POPE: is something in the picture that is not there?"""

from __future__ import annotations

from contextlib import suppress
from typing import final

import numpy as np

from ...data.base import Rows
from ...data.items import YES_OR_NO, Questions
from ...data.pictured import PairedData
from ...types import Assistant, Metric, Scores
from ..prompts import prompt
from ..replies import first_word, replies_to, says_yes
from ..statistic import f1, mean, precision, recall
from ..task import AnsweringTask, NotApplicableError, items_of, table

SPLITS = {
    "random": "existence",
    "popular": "popular existence",
    "adversarial": "adversarial existence",
}
"""The kind of question that each split asks."""


@final
class Pope(AnsweringTask):
    """Questions after things, half of them there; yes is the positive class.

    The thing that is not there is drawn from all concepts (``random``), from frequent ones (``popular``), or is the
    usual partner of what is there (``adversarial``); these are the subsets, and a data set has those that it can ask.
    Beside ``accuracy``, ``precision``, ``recall`` and ``f1`` stand ``yes``, the share of replies that affirm (½ is
    right), ``false_positives``, the share of what is not there that is affirmed, and ``decided``, the share of replies
    that begin with yes or no.

    A reply affirms unless it denies, as in the released script; whoever always says yes has an F1 of 2/3.

    Raises:
        NotApplicableError: from a call, if the data has none of the three kinds of question.

    Source: Li et al., "Evaluating Object Hallucination in Large Vision-Language Models" (2023), arXiv 2305.10355.
    """

    family = "answering"
    name = "pope"
    primary = "f1"

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        ids, subsets, truth, answered, decided = [], [], [], [], []
        for number, (split, kind) in enumerate(SPLITS.items()):
            with suppress(NotApplicableError):
                items = items_of(data, Questions, rows, self.name, (kind,))
                replies = replies_to(assistant, items, [prompt(q) for q in items.questions], seed=seed)
                ids += (items.ids * len(SPLITS) + number).tolist()
                subsets += [split] * len(items)
                truth += [question.answer == "yes" for question in items.questions]
                answered += [says_yes(reply) for reply in replies]
                decided += [first_word(reply) in YES_OR_NO for reply in replies]
        if not ids:
            raise NotApplicableError(
                f"pope asks whether things are there, and {data.name!r} has questions of none of the kinds "
                f"{', '.join(SPLITS.values())}"
            )
        there, yes = np.array(truth), np.array(answered)
        outcomes = {
            "right": (there == yes).astype(float),
            "there": there.astype(float),
            "yes": yes.astype(float),
            "false_positive": np.where(there, np.nan, yes),
            "decided": np.array(decided, float),
        }
        metrics = {
            "accuracy": Metric("right", mean, chance=0.5),
            "precision": Metric(("there", "yes"), precision, chance=0.5),
            "recall": Metric(("there", "yes"), recall, chance=0.5),
            "f1": Metric(("there", "yes"), f1, chance=0.5),
            "yes": Metric("yes", mean, higher_is_better=False, chance=0.5),
            "false_positives": Metric("false_positive", mean, higher_is_better=False, chance=0.5),
            "decided": Metric("decided", mean),
        }
        return table(self.name, np.array(ids), subsets, outcomes, metrics)
