"""Tasks: what a model is good for, with the outcome of every example.

`evaluate` runs tasks on test sets; a task is any object with ``name``, ``primary``, ``modalities`` and
``task(model, data, rows) -> Scores``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry, lazy_exports

if TYPE_CHECKING:
    from .curves import LearningCurve, learning_curve
    from .naive_bayes import PooledNaiveBayes
    from .results import Results, evaluate
    from .statistic import STATISTICS
    from .task import Task
    from .verification import equal_error_rate, min_dcf

TASKS = Registry(
    "task",
    {
        "retrieval": "counterpoint.evaluation.retrieval:Retrieval",
        "zero_shot": "counterpoint.evaluation.zero_shot:ZeroShot",
        "probe": "counterpoint.evaluation.probe:Probe",
        "shift": "counterpoint.evaluation.shift:Shift",
        "label_retrieval": "counterpoint.evaluation.label_retrieval:LabelRetrieval",
    },
)
DEFAULT_TASKS = ("retrieval", "zero_shot", "probe", "shift")


def create(name: str, **options: Any) -> Task:
    """The task of this name.

    Raises:
        UnknownName: if there is none; the message names the nearest.

    >>> create("retrieval").primary
    'i2t_R@1'
    """
    task: Task = TASKS.create(name, **options)
    return task


_EXPORTS = {
    "LearningCurve": "curves",
    "PooledNaiveBayes": "naive_bayes",
    "Results": "results",
    "STATISTICS": "statistic",
    "Task": "task",
    "corruptions": "",
    "equal_error_rate": "verification",
    "evaluate": "results",
    "grounding": "",
    "learning_curve": "curves",
    "min_dcf": "verification",
    "multilabel": "",
    "simulation": "",
}
__all__ = [
    "DEFAULT_TASKS",
    "STATISTICS",
    "TASKS",
    "LearningCurve",
    "PooledNaiveBayes",
    "Results",
    "Task",
    "corruptions",
    "create",
    "equal_error_rate",
    "evaluate",
    "grounding",
    "learning_curve",
    "min_dcf",
    "multilabel",
    "simulation",
]
__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS)
