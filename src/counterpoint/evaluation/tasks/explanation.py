"""Explanations why an answer is right, after examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from jaxtyping import UInt8
from torch import Tensor

from ...data.base import Data, Rows
from ...data.items import Questions
from ...types import Assistant, Scores
from ..in_context_shots import (
    PLAIN,
    Hindsight,
    InContext,
    InContextExample,
    MultiTask,
    ShotFormat,
    Shots,
    pool_rows,
    prompts,
    sentence,
    with_pictures,
)
from ..in_context_task import InContextTask
from ..replies import normalised
from ..task import NotApplicableError
from ._text_scores import text_scores

ANSWER = "Answer:"


_HINDSIGHT = 64  # training rows that the model replies to before, at most


@final
@dataclass(eq=False)
class Explanation(InContextTask):
    """Explanations in words why an answer is right: EvALign-ICL's fourth axis.

    Variants: ``plain`` gives question and answer and asks why; ``multi-task`` gives the question alone and asks for the
    reason and the answer; ``hindsight`` (CoH-ICL) shows with each example a good reason and a bad one, what the model
    itself replied to it before, plainly after as many examples; examples whose bad reason is the good one are left
    out.

    Outcomes: ``cider`` (0 to 10), ``right`` (the reason word for word), ``words``.

    Args:
        shots: examples before each question.
        variant: in which form.

    Raises:
        UnknownNameError: for another variant.
        NotApplicableError: from a call, if the data knows no reasons, or there are fewer examples than are to be shown.

    Source: Shukor et al., "Beyond Task Performance" (2023), arXiv 2310.00647.
    """

    family = "in-context learning"
    papers = ("evalign-icl",)
    name = "explanation"
    primary = "cider"
    variants = ("plain", "multi-task", "hindsight")

    def __call__(self, assistant: Assistant, data: Data, rows: Rows, *, seed: int = 0) -> Scores:
        shown = pool_rows(data, rows)
        items, pictures = with_pictures(data, Questions, rows, self.name)
        kept, queries = self._examples(items, pictures)
        _, pool = self._examples(*with_pictures(data, Questions, shown, self.name))
        form: ShotFormat = PLAIN
        if self.variant == "multi-task":
            form = MultiTask(ANSWER)
        elif self.variant == "hindsight" and self.shots.count:
            form = Hindsight()
            pool = _in_hindsight(assistant, pool[:_HINDSIGHT], self.shots, seed)
        replies = InContext(assistant, pool, self.shots, form, seed).reply(prompts(queries), seed=seed)
        return text_scores(self.name, items, kept, replies, [query.reply for query in queries])

    def _examples(
        self, items: Questions, pictures: UInt8[Tensor, "k 3 H W"]
    ) -> tuple[list[int], list[InContextExample]]:
        """Select the questions whose answer has a reason, and write an example from each."""
        kept = [index for index, question in enumerate(items.questions) if question.reason]
        if not kept:
            raise NotApplicableError(
                f"{self.name}: no question has a reason for its answer; leave the task out"
            )
        examples = []
        for index in kept:
            question = items.questions[index]
            answer = "" if self.variant == "multi-task" else f" {sentence(question.answer)}"
            text = f"{question.text}{answer} Why?"
            examples.append(InContextExample(pictures[index], text, question.reason, question.answer))
        return kept, examples


def _in_hindsight(
    assistant: Assistant, pool: Sequence[InContextExample], shots: Shots, seed: int
) -> list[InContextExample]:
    """Return the examples that the model replied to wrongly after other examples, each with the model's wrong reply."""
    requests = [
        InContext(assistant, [*pool[:index], *pool[index + 1 :]], shots, PLAIN, seed, "hindsight").shown(
            request
        )
        for index, request in enumerate(prompts(pool))
    ]
    replies = assistant.reply(requests, seed=seed)
    return [
        replace(each, worse=reply.strip())
        for each, reply in zip(pool, replies, strict=True)
        if reply.strip() and normalised(reply) != normalised(each.reply)
    ]
