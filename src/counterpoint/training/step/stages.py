"""The stages of a run: which parameters move in which of its steps, and what begins anew with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Self, final

import torch

from ...data.loading.order import Order
from ...methods.base import Method
from ...recipes.schema import Recipe
from ...types import Stage, StepInfo
from ..sharing.parallel import ParallelStrategy, shared
from .optim import RATE, learning_rate, optimizer_of


@dataclass(frozen=True)
class StageSpan:
    """A stage with the steps of a run that are its own: from ``first`` to ``end - 1``."""

    stage: Stage
    first: int
    end: int


def spans(stages: Sequence[Stage], steps: int) -> list[StageSpan]:
    """Return the stages that have steps of a run of so many; the whole run is one where a method has no stages.

    >>> [(span.stage.name, span.first, span.end) for span in spans([Stage("a", 1), Stage("b", 3)], 10)]
    [('a', 0, 2), ('b', 2, 10)]
    """
    named = stages or [Stage("", 1.0)]
    total = sum(stage.share for stage in named)
    ends = [0, *(round(steps * share / total) for share in accumulate(stage.share for stage in named))]
    every = [StageSpan(stage, *edges) for stage, edges in zip(named, pairwise(ends), strict=True)]
    return [span for span in every if span.end > span.first] or every[:1]


def last_stage(method: Method) -> str:
    """Return the name of the stage that a run ends in; empty for a method without stages."""
    return method.stages[-1].name if method.stages else ""


@final
class Course:
    """Course of a run through its stages: which one it is in, and what began with it.

    A block of it ends with everything moving again that moved before.

    Args:
        method: what is trained; under ``fsdp`` its parameters are replaced.
        recipe: how.
        device: where the method is.
        batch_size: examples of a step, of all ranks together.

    Attributes:
        span: the stage that the run is in.
        parallel: the way in which processes share what moves.
        optimizer: of what moves.

    Raises:
        ValueError: for a stage in which nothing of what is trained moves, rates of parameters that there are not, or
            ``fsdp`` where it cannot be.
    """

    span: StageSpan
    parallel: ParallelStrategy
    optimizer: torch.optim.Optimizer

    def __init__(self, method: Method, recipe: Recipe, device: torch.device, batch_size: int) -> None:
        self._method, self._recipe, self._device, self._batch_size = method, recipe, device, batch_size
        self._trained = {name for name, p in method.named_parameters() if p.requires_grad}
        self._spans = spans(method.stages, recipe.total_steps)
        for stage in method.stages if self._trained else ():
            if not any(name.startswith(stage.moves) for name in self._trained):
                raise ValueError(
                    f"nothing of {type(method).__name__} moves in its stage {stage.name!r}: no parameter that is "
                    f"trained has a name that begins with {' or '.join(map(repr, stage.moves))}"
                )
        self._begin(self._spans[0])

    @property
    def trains(self) -> bool:
        """True where there is anything to train at all."""
        return bool(self._trained)

    def reach(self, step: int) -> None:
        """Go to the stage of a step, if it is another one; a run that is over stays in its last stage."""
        span = next((span for span in self._spans if step < span.end), self._spans[-1])
        if span != self.span:
            self._begin(span)

    def rate(self, step: int) -> float:
        """Set the learning rates of a step, and return the one that factors are of."""
        steps = self.span.end - self.span.first
        rate = learning_rate(step - self.span.first, steps, self._recipe.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group[RATE]
        return rate

    def clock(self, clock: StepInfo) -> StepInfo:
        """Return a clock that says the stage, too."""
        return replace(clock, stage=self.span.stage.name)

    def starts_epoch(self, clock: StepInfo, order: Order) -> bool:
        """Return whether the method looks at all examples before a step: see `Method.on_epoch_start`."""
        every = self._method.epoch_start_every
        if not every or clock.step == self.span.first:
            return bool(every)
        before = order.clock(clock.step - 1, clock.steps)
        return (before.ends_task or clock.epoch != before.epoch) and clock.epoch % every == 0

    def _begin(self, span: StageSpan) -> None:
        self.span = span
        self._move(span.stage.moves)
        # Of what moves alone: gradients of the rest are neither computed nor exchanged.
        self.parallel = shared(self._method, self._recipe, self._device, self._batch_size)
        self.optimizer = optimizer_of(self._method, self._recipe.optimizer, self._method.rates)

    def _move(self, beginnings: tuple[str, ...]) -> None:
        for name, parameter in self._method.named_parameters():
            if name in self._trained:
                parameter.requires_grad_(name.startswith(beginnings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._move(("",))
