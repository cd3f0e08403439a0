"""Captions after examples, and the things that they invent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from torch import Tensor

from ...data.base import Rows
from ...data.pictured import PairedData
from ...types import Assistant, Scores
from ..in_context_shots import (
    OBJECTS,
    PLAIN,
    InContext,
    InContextExample,
    MultiTask,
    ShotFormat,
    pool_rows,
    with_objects,
)
from ..in_context_task import InContextTask
from ..task import captions_of
from .chair import Chair


@final
@dataclass(eq=False)
class Captioning(InContextTask):
    """Captions after examples, judged as `Chair` does: do they mention what is not there, and how much do they tell?

    Variants: ``plain``; ``multi-task`` asks for the caption and, behind it, for a list of what there is, which is not
    judged. Examples change how long captions are and what they mention, and CHAIR falls with both: read ``words`` and
    ``recall`` beside it. The examples' captions are the first one of each row.

    Args:
        shots: examples before each picture.
        variant: in which form.

    Raises:
        UnknownNameError: for another variant.
        NotApplicableError: from a call, if the data does not say what its pictures show, or has fewer training rows
            than examples.

    Source: Shukor et al., "Beyond Task Performance" (2023), arXiv 2310.00647.
    """

    family = "in-context learning"
    papers = ("evalign-icl",)
    name = "captioning"
    primary = "instances"
    variants = ("plain", "multi-task")

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        chair = Chair()
        shown = pool_rows(data, rows)
        pictures, captions = _images(data, shown.tobytes()), captions_of(data, shown)
        pool = [
            InContextExample(picture, chair.prompt, of_picture[0])
            for picture, of_picture in zip(pictures, captions, strict=True)
        ]
        form: ShotFormat = PLAIN
        if self.variant == "multi-task":
            form, pool = MultiTask(OBJECTS), with_objects(pool, data.ids[shown], data, shown, self.name)
        return chair.judged(InContext(assistant, pool, self.shots, form, seed), data, rows, seed, self.name)


@lru_cache(maxsize=2)
def _images(data: PairedData, rows: bytes) -> Tensor:
    """Return the pictures of some rows, drawn once for all numbers of examples."""
    return data.images(np.frombuffer(rows, np.int64).copy())
