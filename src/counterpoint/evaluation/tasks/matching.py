"""Matching of captions with pictures, one caption alone or one of two: EvALign-ICL's third axis, compositionality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from ...data.base import Rows
from ...data.items import Choices
from ...data.pictured import PairedData
from ...data.views import key
from ...types import Assistant, Metric, Scores
from ..in_context_shots import (
    OBJECTS,
    PLAIN,
    InContext,
    InContextExample,
    MultiTask,
    ShotFormat,
    pool_rows,
    prompts,
    sentence,
    with_objects,
    with_pictures,
)
from ..in_context_task import InContextTask
from ..item_scores import item_scores
from ..replies import first_word

FOILS = ("random", "atom", "compound")
"""Kinds of foils: another picture's caption, one with an atom replaced, one joined of two such."""

WHETHER = "Does the following sentence describe the picture? {}"


@final
@dataclass(eq=False)
class Matching(InContextTask):
    """Image–text matching: of the true caption and of its foil, is it said whether it describes the picture?

    A model that always says yes scores ½, so both halves are reported. An example shows a caption or a foil, each as
    often. A reply that is neither yes nor no is wrong.

    Outcomes per item, whose kind is how the foil was made: ``caption`` (yes to the true one), ``foil`` (no to the
    other), ``correct`` (their mean), ``yes`` (share of replies).

    Variants: ``plain``; ``multi-task`` asks for the answer and for what there is in the picture.

    Args:
        shots: examples before each caption.
        variant: in which form.
        kinds: of choices, of two options each.

    Raises:
        UnknownNameError: for another variant.
        NotApplicableError: from a call, if the data has no such choices, or fewer training rows than examples.
        ValueError: from a call, for a choice that has not two options.

    Source: Shukor et al., "Beyond Task Performance" (2023), arXiv 2310.00647.
    """

    family = "in-context learning"
    papers = ("evalign-icl",)
    name = "matching"
    primary = "accuracy"
    variants = ("plain", "multi-task")

    kinds: tuple[str, ...] = FOILS

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        shown = pool_rows(data, rows)
        items, pictures = with_pictures(data, Choices, rows, self.name, self.kinds)
        train, others = with_pictures(data, Choices, shown, self.name, self.kinds)
        both = np.repeat(np.arange(len(items)), 2)
        queries = _captions(items, pictures, both, np.tile([True, False], len(items)))
        half = key(0, 0, train.ids, "evaluation.matching") % 2 == 0
        pool = _captions(train, others, np.arange(len(train)), half)
        form: ShotFormat = PLAIN
        if self.variant == "multi-task":
            form, pool = MultiTask(OBJECTS), with_objects(pool, train.ids, data, shown, self.name)
        replies = InContext(assistant, pool, self.shots, form, seed).reply(prompts(queries), seed=seed)
        words = [first_word(reply) for reply in replies]
        yes_no = np.array([(word == "yes", word == "no") for word in words]).reshape(-1, 2, 2)
        caption, foil = yes_no[:, 0, 0].astype(float), yes_no[:, 1, 1].astype(float)
        outcomes = {
            "caption": caption,
            "foil": foil,
            "correct": (caption + foil) / 2,
            "yes": yes_no[:, :, 0].mean(1),
        }
        metrics = {
            "accuracy": Metric("correct", chance=0.5),
            "caption": Metric("caption"),
            "foil": Metric("foil"),
            "yes": Metric("yes", chance=0.5),
        }
        return item_scores(self.name, items, outcomes, metrics)


def _captions(
    items: Choices, pictures: UInt8[Tensor, "n 3 H W"], positions: Int[np.ndarray, " k"], true: np.ndarray
) -> list[InContextExample]:
    """Write a request about the true caption or the foil of each of some items."""
    examples, options = [], two_options(items)
    for position, is_true in zip(positions, true, strict=True):
        answer = int(items.answers[position])
        text = options[position][answer if is_true else 1 - answer]
        reply = "yes" if is_true else "no"
        examples.append(InContextExample(pictures[position], WHETHER.format(sentence(text)), reply))
    return examples


def two_options(items: Choices) -> Sequence[Sequence[str]]:
    """Return the options of each item, a caption and its foil.

    Raises:
        ValueError: for an item that has not two.
    """
    for each in items.options:
        if len(each) != 2:
            raise ValueError(
                f"a choice between a caption and its foil has two options, got {len(each)}: {each}"
            )
    return items.options
