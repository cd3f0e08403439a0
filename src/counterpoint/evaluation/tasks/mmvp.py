"""MMVP: one question about two pictures that contrastive models take for the same, to be answered otherwise of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_lowercase
from typing import final

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from ...data.base import Rows
from ...data.items import MinimalPairs, Question, TwinQuestions
from ...data.pictured import PairedData
from ...types import Assistant, Embedder, Metric, Prompt, Scores
from ..item_scores import batches, classes, item_scores
from ..replies import HELD, normalised
from ..statistic import mean, mean_per_class
from ..task import AnsweringTask, NotApplicableError, items_of
from ._squares import BOTH, SINGLE, Answered, Answers, SquareTask, both, shares

WHICH = "Which caption describes the picture best?"
"""The question that is asked where a data set has pairs of captions and no questions."""


@final
class MMVP(SquareTask, AnsweringTask):
    """MMVP's score: a pair of pictures counts if both of its answers are right.

    ``pair_accuracy`` over all pairs; ``mean_over_patterns``, the paper's average, over the kinds of pairs; ``single``,
    the share of single answers. Who does not look has one of two right: ``single`` ½ and no pair, below chance.

    A model that embeds lets each of two statements pick its own picture (MMVP-VLM). A model that answers in words is
    asked one question about both pictures, of two options: what is right of one is wrong of the other; ``decided`` is
    the share of replies that choose an option. Of data with squares and no questions, the two captions are the options.
    Replies are read by rule (`chosen`), where the authors let a language model grade them; a reply that chooses none or
    several is wrong.

    Raises:
        NotApplicableError: from a call, if the data has no squares, nor, for a model that answers, such questions.

    Source: Tong et al., "Eyes Wide Shut? Exploring the Visual Shortcomings of Multimodal LLMs" (2024), arXiv
    2401.06209; ties, which the released script gives to the second picture, are wrong here.
    """

    family = "compositionality"
    name = "mmvp"
    asks = ("embedder", "assistant")
    primary = "pair_accuracy"
    papers = ("mmvp",)

    def __call__(self, model: Embedder | Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        if isinstance(model, Assistant):
            return self._assistant_scores(model, data, rows, seed)
        return super().__call__(model, data, rows)

    def answered(self, pictures: Answers, captions: Answers, items: MinimalPairs) -> Answered:
        pair = both(captions)
        outcomes = {"pair_accuracy": pair, "single": captions.mean(1)}
        outcomes["pattern"] = classes(items.kinds)
        metrics = shares(outcomes, {"pair_accuracy": BOTH, "single": SINGLE})
        metrics["mean_over_patterns"] = Metric(("pattern", "pair_accuracy"), mean_per_class, chance=BOTH)
        return outcomes, metrics

    def _assistant_scores(self, assistant: Assistant, data: PairedData, rows: Rows, seed: int) -> Scores:
        items = twins_of(data, rows, self.name)
        right, decided = np.zeros((len(items), 2)), np.zeros((len(items), 2))
        for positions in batches(len(items), HELD // 2):
            questions = [question for k in positions for question in items.questions[k]]
            pictures = items.pictures(positions).flatten(0, 1)
            prompts = [Prompt(lettered(q), picture) for q, picture in zip(questions, pictures, strict=True)]
            replies = assistant.reply(prompts, seed=seed)
            picked = [
                chosen(reply, question.options) for reply, question in zip(replies, questions, strict=True)
            ]
            hits = [
                s is not None and q.options[s] == q.answer for s, q in zip(picked, questions, strict=True)
            ]
            right[positions] = np.reshape(hits, (-1, 2))
            decided[positions] = np.reshape([s is not None for s in picked], (-1, 2))
        pair = right.min(1)
        outcomes = {"pair_accuracy": pair, "single": right.mean(1), "decided": decided.mean(1)}
        outcomes["pattern"] = classes(items.kinds)
        metrics = {
            "pair_accuracy": Metric("pair_accuracy", mean, chance=1 / 4),
            "mean_over_patterns": Metric(("pattern", "pair_accuracy"), mean_per_class, chance=1 / 4),
            "single": Metric("single", mean, chance=1 / 2),
            "decided": Metric("decided", mean),
        }
        return item_scores(self.name, items, outcomes, metrics)


def twins_of(data: PairedData, rows: Rows, task: str) -> TwinQuestions:
    """Return questions about pairs of pictures, or those that pairs of captions make.

    Raises:
        NotApplicableError: if the data has neither.
    """
    try:
        return items_of(data, TwinQuestions, rows, task)
    except NotApplicableError:
        return _WhichCaption(items_of(data, MinimalPairs, rows, task))


class _WhichCaption(TwinQuestions):
    def __init__(self, squares: MinimalPairs) -> None:
        self._squares = squares
        self.ids, self.kinds, self.attribution = squares.ids, squares.kinds, squares.attribution
        self.questions = [
            (Question(kind, WHICH, pair[0], pair), Question(kind, WHICH, pair[1], pair))
            for kind, pair in zip(squares.kinds, squares.captions, strict=True)
        ]

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        return self._squares.pictures(positions)


def lettered(question: Question) -> str:
    """Write a question with its options under letters.

    >>> lettered(Question("state", "Is the door open?", "open", ("open", "closed")))
    "Is the door open? (a) open (b) closed Answer with the option's letter."
    """
    options = " ".join(f"({a}) {text}" for a, text in zip(ascii_lowercase, question.options, strict=False))
    return f"{question.text} {options} Answer with the option's letter."


def chosen(reply: str, options: Sequence[str]) -> int | None:
    """Return the number of the option that a reply chooses, by letter or else in words; None for no option or several.

    A letter counts if it is all of the reply, stands in brackets, or begins it before a bracket, full stop or colon.

    >>> [chosen(r, ("a cat", "a dog")) for r in ("(b)", "A", "b) a dog", "It is a cat.", "A bird", "a cat or a dog")]
    [1, 0, 1, 0, None, None]
    """
    letters = ascii_lowercase[: len(options)]
    text = reply.strip().lower()
    marked = re.findall(rf"\(([{letters}])\)", text) or re.findall(rf"^([{letters}])(?:[).:]|$)", text)
    if marked:
        return letters.index(marked[0]) if len(set(marked)) == 1 else None
    words, forms = f" {normalised(text)} ", [f" {normalised(option)} " for option in options]
    named = [k for k, form in enumerate(forms) if form in words]
    # Of "a cat" and "a red cat" the longer one is meant where both are there.
    meant = [k for k in named if not any(forms[k] in forms[j] for j in named if j != k)]
    return meant[0] if len(meant) == 1 else None
