"""Tasks for models that answer in words: questions, captions, ratings, with the outcome of every example.

`evaluate_assistant` runs tasks on test sets; a task is any object with ``name``, ``primary`` and
``task(assistant, data, rows, seed=…) -> Scores``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...registry import Registry, lazy_exports

if TYPE_CHECKING:
    from .base import AnsweringTask, Assistant, Prompt, Turn
    from .running import evaluate_assistant

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
    task: AnsweringTask = ANSWERING.create(name, **options)
    return task


_EXPORTS = {
    "AnsweringTask": "base",
    "Assistant": "base",
    "Prompt": "base",
    "Turn": "base",
    "evaluate_assistant": "running",
}
__all__ = [
    "ANSWERING",
    "DEFAULT_ANSWERING",
    "AnsweringTask",
    "Assistant",
    "Prompt",
    "Turn",
    "create",
    "evaluate_assistant",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
