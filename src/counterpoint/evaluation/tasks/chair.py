"""CHAIR: what descriptions mention that is not there."""

from __future__ import annotations

import math
from typing import final

import numpy as np

from ...data.base import Data, Rows
from ...data.items import ObjectAnnotations
from ...types import Assistant, Metric, Scores
from ..item_scores import item_scores
from ..mentions import Mentions
from ..prompts import INSTRUCTIONS
from ..replies import replies_to
from ..statistic import mean, share
from ..task import AnsweringTask, items_of


@final
class Chair(AnsweringTask):
    """Descriptions of pictures, and which of the concepts that they mention are there.

    ``instances`` (CHAIRi) is the share of mentions, repeated ones too, of what is not there; ``sentences`` (CHAIRs)
    that of descriptions with any such mention. Both fall when a model says less, so beside them stand ``recall``, the
    mean share of what is there that is mentioned, ``mentions`` and ``words``, how many of these a description has.

    ``partners`` is the share of the descriptions that mentions something which usually goes with what is there, among
    those pictures that lack such a thing, and ``others`` the share that mentions anything else that is not there: what
    comes from habit, and what from confusion. The plural counts as one mention, and numbers are not checked.

    Args:
        prompt: asks for a description. How long it may be is up to the assistant.

    Raises:
        NotApplicableError: from a call, if the data does not say what its pictures show.

    Source: Rohrbach et al., "Object Hallucination in Image Captioning" (2018), arXiv 1809.02156.
    """

    family = "answering"
    name = "chair"
    primary = "instances"

    def __init__(self, prompt: str = INSTRUCTIONS[0]) -> None:
        self.prompt = prompt

    def __call__(self, assistant: Assistant, data: Data, rows: Rows, *, seed: int = 0) -> Scores:
        return self.judged(assistant, data, rows, seed, self.name)

    def judged(self, assistant: Assistant, data: Data, rows: Rows, seed: int, task: str) -> Scores:
        """Return the scores under the name of a task."""
        items = items_of(data, ObjectAnnotations, rows, task)
        find = Mentions(items.forms)
        replies = replies_to(assistant, items, [self.prompt] * len(items), seed=seed)
        mentioned = [find(reply) for reply in replies]
        wrong = [
            [mention for mention in mentions if mention not in present]
            for mentions, present in zip(mentioned, items.present, strict=True)
        ]
        outcomes = {
            "absent": np.array([len(absent) for absent in wrong], float),
            "sentence": np.array([bool(absent) for absent in wrong], float),
            "recall": np.array(
                [
                    len(present & {*mentions}) / len(present) if present else np.nan
                    for mentions, present in zip(mentioned, items.present, strict=True)
                ]
            ),
            "mentions": np.array([len(mentions) for mentions in mentioned], float),
            "words": np.array([len(reply.split()) for reply in replies], float),
            "partner": np.array(
                [
                    float(bool(partners & {*absent})) if partners else np.nan
                    for absent, partners in zip(wrong, items.partners, strict=True)
                ]
            ),
            "other": np.array(
                [
                    float(bool({*absent} - partners))
                    for absent, partners in zip(wrong, items.partners, strict=True)
                ]
            ),
        }
        metrics = {
            "instances": Metric(("mentions", "absent"), share, higher_is_better=False),
            "sentences": Metric("sentence", mean, higher_is_better=False),
            "recall": Metric("recall", mean),
            "mentions": Metric("mentions", mean, bounds=(0.0, math.inf)),
            "words": Metric("words", mean, bounds=(0.0, math.inf)),
            "partners": Metric("partner", mean, higher_is_better=False),
            "others": Metric("other", mean, higher_is_better=False),
        }
        return item_scores(task, items, outcomes, metrics)
