"""Tasks by name: the files below ``tasks``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Room

if TYPE_CHECKING:
    from .task import AnsweringTask, Task

TASKS = Room("task", "counterpoint.evaluation.tasks", base="Task", hyphens=False)

DEFAULT_TASKS = ("retrieval", "zero_shot", "probe", "shift")
"""Tasks for models that embed, unless others are named."""
DEFAULT_CLASSIFYING = ("classification",)
"""Tasks, before those for models that embed, for models that learned the classes of a label."""
DEFAULT_ANSWERING = ("answers", "pope", "chair", "mme")
"""Tasks for models that answer in words, unless others are named."""


def create(name: str, **options: Any) -> Task:
    """Return the task of this name.

    Raises:
        UnknownName: if there is none; the message names the nearest.

    >>> create("shift").primary, create("pope").asks
    ('corruption_100way', ('assistant',))
    """
    task: Task = TASKS.get(name)(**options)
    return task


def create_answering(name: str, **options: Any) -> AnsweringTask:
    """Return the task of this name for models that answer in words.

    Raises:
        UnknownName: if there is none; the message names the nearest.
        ValueError: for a task that cannot ask such models.
    """
    from .task import AnsweringTask, check_asks

    task = create(name, **options)
    check_asks(task, "assistant")
    assert isinstance(task, AnsweringTask)
    return task
