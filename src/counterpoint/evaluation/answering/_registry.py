"""Names of what this room offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...registry import Registry

if TYPE_CHECKING:
    from .base import AnsweringTask

ANSWERING = Registry(
    "task for models that answer",
    {
        "abstention": "counterpoint.evaluation.answering.in_context.abstention:Abstention",
        "answers": "counterpoint.evaluation.answering.answers:Answers",
        "captioning": "counterpoint.evaluation.answering.in_context.writing:Captioning",
        "chair": "counterpoint.evaluation.answering.chair:Chair",
        "explanation": "counterpoint.evaluation.answering.in_context.writing:Explanation",
        "fidelity": "counterpoint.evaluation.answering.fidelity:Fidelity",
        "following": "counterpoint.evaluation.answering.in_context.writing:Following",
        "image_quality": "counterpoint.evaluation.answering.image_quality:ImageQuality",
        "matching": "counterpoint.evaluation.answering.in_context.matching:Matching",
        "mme": "counterpoint.evaluation.answering.mme:Mme",
        "mmvp": "counterpoint.evaluation.answering.mmvp:MMVPQuestions",
        "multiple_choice": "counterpoint.evaluation.answering.multiple_choice:MultipleChoice",
        "pope": "counterpoint.evaluation.answering.pope:Pope",
        "selection": "counterpoint.evaluation.answering.in_context.matching:Selection",
        "sycophancy": "counterpoint.evaluation.answering.sycophancy:Sycophancy",
        "vlb": "counterpoint.evaluation.answering.bootstrapped:VLB",
    },
)

DEFAULT_ANSWERING = ("answers", "pope", "chair", "mme")


def create(name: str, **options: Any) -> AnsweringTask:
    """The task of this name.

    Raises:
        UnknownName: if there is none; the message names the nearest.

    >>> create("pope").primary
    'f1'
    """
    return ANSWERING.create(name, **options)
