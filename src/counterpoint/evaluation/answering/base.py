"""The form of a task for a model that answers in words, and the abilities that such a model must have."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ...data.base import PairedData, Rows
from ...types import Assistant, Picture, Prompt, Scores, Turn

__all__ = ["AnsweringTask", "Assistant", "Picture", "Prompt", "Turn"]


@runtime_checkable
class AnsweringTask(Protocol):
    """A task that scores an assistant on some rows of a data set.

    Attributes:
        name: how users name it.
        primary: its main metric.
    """

    name: str
    primary: str

    def __call__(self, assistant: Assistant, data: PairedData, rows: Rows, *, seed: int = 0) -> Scores:
        """The outcomes of every example, and the metrics computed from them.

        Raises:
            NotApplicable: if the data lacks what the task asks about.
        """
        ...
