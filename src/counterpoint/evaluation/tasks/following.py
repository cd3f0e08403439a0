"""Replies to instructions, after examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import UInt8
from torch import Tensor

from ...data.base import Rows
from ...data.items import Instructions
from ...data.pictured import PairedData
from ...types import Assistant, Scores
from ..in_context_shots import (
    NOTHING,
    InContext,
    InContextExample,
    Shots,
    pool_rows,
    prompts,
    with_pictures,
)
from ..in_context_task import InContextTask
from ._text_scores import text_scores


@final
@dataclass(eq=False)
class InstructionFollowing(InContextTask):
    """Instructions that ask for different forms: EvALign-ICL's fifth axis. Examples ask for any of the forms.

    Outcomes per item, whose kind is the form: ``cider`` (0 to 10), ``kept`` (at most one and a half times as long as
    the reference, or as short: whether the form was understood), ``words``.

    The paper's zero-shot shows no example here, hence the default.

    Args:
        shots: examples before each instruction.
        variant: ``plain``, the only form.

    Raises:
        UnknownNameError: for another variant.
        NotApplicableError: from a call, if the data has no instructions, or fewer training rows than examples.

    Source: Shukor et al., "Beyond Task Performance" (2023), arXiv 2310.00647.
    """

    family = "in-context learning"
    papers = ("evalign-icl",)
    name = "following"
    primary = "cider"

    shots: Shots = NOTHING

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        items, pictures = with_pictures(data, Instructions, rows, self.name)
        queries = _instructed(items, pictures)
        pool = _instructed(*with_pictures(data, Instructions, pool_rows(data, rows), self.name))
        replies = InContext(assistant, pool, self.shots, seed=seed).reply(prompts(queries), seed=seed)
        return text_scores(self.name, items, range(len(items)), replies, [query.reply for query in queries])


def _instructed(items: Instructions, pictures: UInt8[Tensor, "k 3 H W"]) -> list[InContextExample]:
    return [
        InContextExample(picture, text, reply)
        for picture, text, reply in zip(pictures, items.texts, items.replies, strict=True)
    ]
