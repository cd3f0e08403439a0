"""What a study will cost, measured on this machine before it starts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ..data.source import load as load_data
from ..recipes import override
from ..training.loop import fit
from ..training.run import PeakMemory, Run, start
from ..types import NonFiniteLoss
from .design import Design

_WARM_UP, _TIMED = 2, 5


@dataclass(frozen=True)
class ArmCost:
    """The cost of one arm's step, and what follows for a run.

    Attributes:
        seconds_per_step: measured over a few steps.
        image_passes: passes of one example through an image tower per step (momentum copies counted).
        text_passes: the same for text towers.
        parameters: of the method, momentum copies included.
        peak_memory_bytes: of the process while it trained those steps.
    """

    seconds_per_step: float
    image_passes: int
    text_passes: int
    parameters: int
    peak_memory_bytes: int


def measure(design: Design) -> dict[str, ArmCost]:
    """Train every arm for a few steps and time them."""
    return {arm: _measure(design, arm) for arm in design.arms}


def _measure(design: Design, arm: str) -> ArmCost:
    recipe = override(design.recipe, {"steps": _WARM_UP + _TIMED, "workers": 0})
    data = load_data(design.data, design.recipe.towers.image_size)
    method, loader = start(Run(arm, design.data, recipe), data)
    memory, ends = PeakMemory(), [time.perf_counter()]
    with suppress(NonFiniteLoss):  # such an arm is an outcome of the study, not a reason to have none
        fit(method, loader, recipe, on_step=lambda progress: ends.append(time.perf_counter()))
    times = [b - a for a, b in zip(ends[_WARM_UP:], ends[_WARM_UP + 1 :], strict=False)]
    passes = method.passes()
    return ArmCost(
        seconds_per_step=sorted(times)[len(times) // 2] if times else 0.0,
        image_passes=passes.get("image", 0),
        text_passes=passes.get("text", 0),
        parameters=sum(p.numel() for p in method.parameters()),
        peak_memory_bytes=memory.read(),
    )


def steps_under(design: Design, costs: Mapping[str, ArmCost]) -> dict[str, int]:
    """Every arm's number of steps: the same, or as many as give it the image passes or the time of the cheapest arm."""
    steps = design.recipe.steps
    if design.budget == "steps":
        return dict.fromkeys(costs, steps)
    if design.budget == "images":
        least = min(max(cost.image_passes, 1) for cost in costs.values())
        return {arm: max(round(steps * least / max(c.image_passes, 1)), 1) for arm, c in costs.items()}
    fastest = min(cost.seconds_per_step for cost in costs.values())
    return {arm: max(round(steps * fastest / max(c.seconds_per_step, 1e-9)), 1) for arm, c in costs.items()}
