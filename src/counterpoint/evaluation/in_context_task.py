"""A task whose requests come after examples, in one of several forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..registry import unknown
from .in_context_shots import ZERO_SHOT, Shots
from .task import AnsweringTask


@dataclass(eq=False)
class InContextTask(AnsweringTask):
    """A task that asks after examples, whose form is a variant.

    Attributes:
        variants: the forms that the task has, ``plain`` first.
        shots: examples before each request.
        variant: one of these forms.

    Raises:
        UnknownNameError: for another variant.
    """

    variants: ClassVar[tuple[str, ...]] = ("plain",)

    shots: Shots = ZERO_SHOT
    variant: str = "plain"

    def __post_init__(self) -> None:
        if self.variant not in self.variants:
            raise unknown("variant", self.variant, self.variants)
