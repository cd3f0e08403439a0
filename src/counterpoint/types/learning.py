"""The course of a run, and what it learns: its clock, its stages, its label, and the error that ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final


@dataclass(frozen=True)
class StepInfo:
    """The position of a run in its training.

    Attributes:
        step: from 0.
        steps: of the run.
        epoch: from 0.
        ends_task: whether another task begins after this step (`counterpoint.data.loading.order.SequentialOrder`).
        stage: the name of the stage that the step belongs to; empty for methods that have none.
    """

    step: int
    steps: int
    epoch: int = 0
    ends_task: bool = False
    stage: str = ""

    @property
    def progress(self) -> float:
        return self.step / max(self.steps, 1)


@dataclass(frozen=True)
class Stage:
    """A share of a run's steps in which some of a method's parameters move.

    The learning rate's schedule and the optimiser's state begin anew with every stage.

    Attributes:
        name: which ``StepInfo.stage`` says.
        share: of the steps, beside the shares of the other stages: 1 and 3 are a quarter and three quarters.
        moves: how the names of the parameters begin that move; all unless given. What the method does not train at all
            moves in no stage.

    Raises:
        ValueError: for a share that is not positive.
    """

    name: str
    share: float
    moves: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ValueError(
                f"stage {self.name!r} has a share of {self.share} of the steps; give one above 0"
            )


Kind = Literal["classes", "tags", "numbers", "points", "timelines"]
"""Kinds of labels, which are one class of several, tags of which several may apply, a number, a point, or a number for
each of some places in time."""


@final
@dataclass(frozen=True)
class Target:
    """The label that a method learns from.

    Attributes:
        label: its name among those of the data.
        classes: the names of its classes or tags, in the order of their numbers; none of other kinds.
        kind: of the label; `Batch.labels` says how a batch holds it.
    """

    label: str
    classes: tuple[str, ...]
    kind: Kind = "classes"


class NonFiniteLossError(FloatingPointError):
    """The error for a loss that is NaN or infinite; the message names the step, the term and the batch's ids."""
