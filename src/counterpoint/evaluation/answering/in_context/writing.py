"""Texts about pictures: captions and the things that they invent, explanations, and replies to instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import final

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from ....data.base import PairedData, Rows
from ....data.items import Instructions, Items, Questions
from ....types import Assistant, Metric, Scores
from ...compositional.asking import item_scores
from ...statistic import mean
from ...task import NotApplicable, captions_of
from ..asking import normalised
from ..chair import Chair
from ..cider import cider
from .shots import (
    NOTHING,
    OBJECTS,
    PLAIN,
    ZERO_SHOT,
    Example,
    Form,
    Hindsight,
    InContext,
    MultiTask,
    Shots,
    check_variant,
    pool_rows,
    prompts,
    sentence,
    with_objects,
    with_pictures,
)

ANSWER = "Answer:"
_WITHIN = 1.5  # times as long, or as short, as the reference: else the form that was asked for is not kept
_HINDSIGHT = 64  # training rows that the model replies to before, at most


@final
@dataclass(frozen=True)
class Captioning:
    """Captions after examples, judged as `Chair` does: do they mention what is not there, and how much do they tell?

    Variants: ``plain``; ``multi-task`` asks for the caption and, behind it, for a list of what there is, which is not
    judged. Examples change how long captions are and what they mention, and CHAIR falls with both: read ``words`` and
    ``recall`` beside it. The examples' captions are the first one of each row.

    Args:
        shots: examples before each picture.
        variant: in which form.

    Raises:
        UnknownName: for another variant.
        NotApplicable: from a call, if the data does not say what its pictures show, or has fewer training rows than
            examples.

    Source: Shukor et al., "Beyond Task Performance" (2023), arXiv 2310.00647.
    """

    papers = ("evalign-icl",)
    name = "captioning"
    primary = "instances"

    shots: Shots = ZERO_SHOT
    variant: str = "plain"

    def __post_init__(self) -> None:
        check_variant(self.variant, ("plain", "multi-task"))

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        chair = Chair()
        shown = pool_rows(data, rows)
        pictures, captions = _images(data, shown.tobytes()), captions_of(data, shown)
        pool = [
            Example(picture, chair.prompt, own[0]) for picture, own in zip(pictures, captions, strict=True)
        ]
        form: Form = PLAIN
        if self.variant == "multi-task":
            form, pool = MultiTask(OBJECTS), with_objects(pool, data.ids[shown], data, shown, self.name)
        found = chair(InContext(assistant, pool, self.shots, form, seed), data, rows, seed=seed)
        return replace(found, task=self.name)


@lru_cache(maxsize=2)
def _images(data: PairedData, rows: bytes) -> Tensor:
    """Return the pictures of some rows, drawn once for all numbers of examples."""
    return data.images(np.frombuffer(rows, np.int64))


@final
@dataclass(frozen=True)
class Explanation:
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
        UnknownName: for another variant.
        NotApplicable: from a call, if the data knows no reasons, or there are fewer examples than are to be shown.

    Source: Shukor et al., "Beyond Task Performance" (2023), arXiv 2310.00647.
    """

    papers = ("evalign-icl",)
    name = "explanation"
    primary = "cider"

    shots: Shots = ZERO_SHOT
    variant: str = "plain"

    def __post_init__(self) -> None:
        check_variant(self.variant, ("plain", "multi-task", "hindsight"))

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        shown = pool_rows(data, rows)
        items, pictures = with_pictures(data, Questions, rows, self.name)
        kept, queries = self._examples(items, pictures)
        _, pool = self._examples(*with_pictures(data, Questions, shown, self.name))
        form: Form = PLAIN
        if self.variant == "multi-task":
            form = MultiTask(ANSWER)
        elif self.variant == "hindsight" and self.shots.count:
            form = Hindsight()
            pool = _in_hindsight(assistant, pool[:_HINDSIGHT], self.shots, seed)
        said = InContext(assistant, pool, self.shots, form, seed).reply(prompts(queries), seed=seed)
        return _written(self.name, items, kept, said, [query.reply for query in queries])

    def _examples(
        self, items: Questions, pictures: UInt8[Tensor, "k 3 H W"]
    ) -> tuple[list[int], list[Example]]:
        """The questions whose answer has a reason."""
        kept = [place for place, question in enumerate(items.questions) if question.reason]
        if not kept:
            raise NotApplicable(f"{self.name}: no question has a reason for its answer; leave the task out")
        found = []
        for place in kept:
            question = items.questions[place]
            told = "" if self.variant == "multi-task" else f" {sentence(question.answer)}"
            text = f"{question.text}{told} Why?"
            found.append(Example(pictures[place], text, question.reason, question.answer))
        return kept, found


def _in_hindsight(assistant: Assistant, pool: Sequence[Example], shots: Shots, seed: int) -> list[Example]:
    """Return the examples that the model replied to wrongly after other examples, each with the model's wrong reply."""
    asked = [
        InContext(assistant, [*pool[:place], *pool[place + 1 :]], shots, PLAIN, seed, "hindsight").shown(
            request
        )
        for place, request in enumerate(prompts(pool))
    ]
    said = assistant.reply(asked, seed=seed)
    return [
        replace(each, worse=reply.strip())
        for each, reply in zip(pool, said, strict=True)
        if reply.strip() and normalised(reply) != normalised(each.reply)
    ]


@final
@dataclass(frozen=True)
class Following:
    """Instructions that ask for different forms: EvALign-ICL's fifth axis. Examples ask for any of the forms.

    Outcomes per item, whose kind is the form: ``cider`` (0 to 10), ``kept`` (at most one and a half times as long as
    the reference, or as short: whether the form was understood), ``words``.

    The paper's zero-shot shows no example here, hence the default.

    Args:
        shots: examples before each instruction.

    Raises:
        NotApplicable: from a call, if the data has no instructions, or fewer training rows than examples.

    Source: Shukor et al., "Beyond Task Performance" (2023), arXiv 2310.00647.
    """

    papers = ("evalign-icl",)
    name = "following"
    primary = "cider"

    shots: Shots = NOTHING

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        items, pictures = with_pictures(data, Instructions, rows, self.name)
        queries = _instructed(items, pictures)
        pool = _instructed(*with_pictures(data, Instructions, pool_rows(data, rows), self.name))
        said = InContext(assistant, pool, self.shots, seed=seed).reply(prompts(queries), seed=seed)
        return _written(self.name, items, range(len(items)), said, [query.reply for query in queries])


def _instructed(items: Instructions, pictures: UInt8[Tensor, "k 3 H W"]) -> list[Example]:
    return [
        Example(picture, text, reply)
        for picture, text, reply in zip(pictures, items.texts, items.replies, strict=True)
    ]


def _written(
    task: str, items: Items, kept: Sequence[int], said: Sequence[str], right: Sequence[str]
) -> Scores:
    """The outcomes of texts about some items."""
    lengths, wanted = (np.array([len(text.split()) for text in texts], float) for texts in (said, right))
    known = {
        "cider": cider(said, [[each] for each in right]),
        "right": np.array([normalised(a) == normalised(b) for a, b in zip(said, right, strict=True)], float),
        "kept": ((lengths <= _WITHIN * wanted) & (wanted <= _WITHIN * lengths)).astype(float),
        "words": lengths,
    }
    outcomes = {}
    for name, values in known.items():
        outcomes[name] = np.full(len(items), np.nan)
        outcomes[name][list(kept)] = values
    return item_scores(task, items, outcomes, {name: Metric(name, mean) for name in known})
