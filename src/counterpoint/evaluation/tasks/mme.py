"""MME's form: two questions about each picture, one of them answered yes, and a score for both being right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Int

from ...data.base import Rows
from ...data.items import Questions
from ...data.pictured import PairedData
from ...reasons import counted
from ...types import Assistant, Metric, Scores
from ..item_scores import classes
from ..prompts import prompt
from ..replies import is_right, replies_to
from ..statistic import mean, mean_per_class
from ..task import AnsweringTask, items_of, table

KINDS = ("existence", "count", "colour", "relation")
"""MME's existence, count, colour and position."""


@final
class Mme(AnsweringTask):
    """Pairs of questions about a picture, one answered yes and one no.

    An example is a pair: ``accuracy`` is the share of its questions that are answered rightly, ``accuracy_plus`` that
    of pairs of which both are. ``score`` is the mean over kinds of (accuracy + accuracy+) / 2; MME's own sum over k
    kinds is 200·k times it. A reply must begin with yes or no. Whoever always says the same has an accuracy of ½ and
    an accuracy+ of 0.

    Args:
        kinds: of questions that are answered yes or no; the subsets.

    Raises:
        NotApplicableError: from a call, if the data has no such questions.
        ValueError: from a call, where a picture has not one question of either answer of a kind.

    Source: Fu et al., "MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models" (2023), arXiv
    2306.13394.
    """

    family = "answering"
    name = "mme"
    primary = "accuracy_plus"

    def __init__(self, kinds: Sequence[str] = KINDS) -> None:
        self.kinds = tuple(kinds)

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        items = items_of(data, Questions, rows, self.name, self.kinds)
        pairs = pairs_of(items)
        replies = replies_to(assistant, items, [prompt(question) for question in items.questions], seed=seed)
        right = np.array(
            [is_right(reply, q) for reply, q in zip(replies, items.questions, strict=True)], float
        )
        both = right[pairs]
        kinds = [items.kinds[first] for first in pairs[:, 0]]
        outcomes = {"accuracy": both.mean(1), "accuracy_plus": both.min(1)}
        outcomes |= {"kind": classes(kinds), "score": (both.mean(1) + both.min(1)) / 2}
        metrics = {
            "accuracy": Metric("accuracy", mean, chance=0.5),
            "accuracy_plus": Metric("accuracy_plus", mean, chance=0.25),
            "score": Metric(("kind", "score"), mean_per_class, chance=0.375),
        }
        return table(self.name, items.ids[pairs[:, 0]], kinds, outcomes, metrics)


def pairs_of(items: Questions) -> Int[np.ndarray, "p 2"]:
    """Return the positions of the two questions of a kind about each picture.

    Raises:
        ValueError: where these are not two, one answered yes and one no.
    """
    pairs: dict[tuple[int, str], list[int]] = {}
    for position, (row, kind) in enumerate(zip(items.rows.tolist(), items.kinds, strict=True)):
        pairs.setdefault((row, kind), []).append(position)
    for (row, kind), positions in pairs.items():
        answers = sorted(items.questions[position].answer for position in positions)
        if answers != ["no", "yes"]:
            raise ValueError(
                f"row {row} has {counted(len(positions), 'question')} of kind {kind!r}, answered {', '.join(answers)}: "
                "mme needs two of each kind, one answered yes and one no"
            )
    return np.array(list(pairs.values()))
