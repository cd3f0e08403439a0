"""Tasks by name: the files of ``tasks``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..registry import Registry
from ..spec import Spec

if TYPE_CHECKING:
    from .task import AnsweringTask, Task

TASKS = Registry("task", "counterpoint.evaluation.tasks", from_stub=True, hyphens=False)

DEFAULT_TASKS = ("retrieval", "zero_shot", "probe", "shift")
"""Tasks for models that embed, unless others are named."""
DEFAULT_LABELLED: dict[str, tuple[str, ...]] = {"tags": ("multi_label",), "numbers": ("regression",)}
"""Tasks, before the probe of classes, where training learns a label of another kind."""
DEFAULT_CLASSIFYING = ("classification",)
"""Tasks, before those for models that embed, for models that learned the classes of a label."""
DEFAULT_SPEAKING = ("likelihood", "answers")
"""Tasks for models of runs that answer in words, unless others are named."""
DEFAULT_ANSWERING = ("answers", "pope", "chair", "mme")
"""Tasks for models that answer in words, unless others are named."""

DEFAULT_PAINTING = ("drawn",)
"""Tasks for models that draw new words, unless others are named."""


def check_name(name: str) -> None:
    """Refuse a task that there is none of, its options apart, without loading torch.

    Raises:
        UnknownNameError: the message names the nearest.
        ValueError: for an option without a value, or given twice.
    """
    TASKS.reference(Spec.parse(name).name)


def create(name: str, **options: Any) -> Task:
    """Return the task of this name, with options behind commas where it has some.

    Args:
        name: with its options also the name under which its scores are kept; several values of an option stand between
            slashes.
        options: of its constructor, which need not be text.

    Raises:
        UnknownNameError: for a task or an option that there is none of; the message names the nearest.
        ValueError: for a value that an option cannot take.

    >>> create("shift").primary, create("pope").asks
    ('corruption_100way', ('assistant',))
    >>> create("few_shot,ways=10,shots=1/5").shots
    (1, 5)
    """
    spec = Spec.parse(name)
    constructor = TASKS.get(spec.name)
    if not spec.options:
        return constructor(**options)
    from ..methods.options import options_of, values

    task: Task = constructor(**values(spec.name, options_of(constructor), spec.options), **options)
    task.name = str(replace(spec, name=task.name))
    return task


def create_answering(name: str, **options: Any) -> AnsweringTask:
    """Return the task of this name for models that answer in words.

    Raises:
        UnknownNameError: if there is none; the message names the nearest.
        ValueError: for a task that cannot ask such models.
    """
    from .task import AnsweringTask, check_asks

    task = create(name, **options)
    check_asks(task, "assistant")
    assert isinstance(task, AnsweringTask)
    return task
