"""The cost of a study of decoding, measured on a few rows before the study starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ...data.pictured import PairedData
from .arm import DecodingArm
from .design import DecodingDesign
from .model import Assistants
from .transcript import Transcript, TranscriptAssistant
from .units import DecodingUnit, Tests, applies, ask, by_arm

_FEW = 4
"""Rows of each test set that are timed."""


@dataclass(frozen=True)
class Estimate:
    """The work that one arm has left, and the expected cost.

    Attributes:
        units: of work that are left.
        seconds: for all of them.
        relative_passes: forward passes per pass of plain decoding; None where they are not counted.
    """

    units: int
    seconds: float
    relative_passes: float | None


def estimate(
    design: DecodingDesign,
    left: Sequence[DecodingUnit],
    assistants: Assistants,
    data: PairedData,
    rows: Tests,
) -> dict[str, Estimate]:
    """Ask every arm that has work left about a few rows, for each of its tasks.

    So an arm that cannot do what it must is found before the first unit, too.

    Raises:
        NotApplicableError: for a task that asks about what the data does not have.
        ValueError: for an arm that needs what a task does not give.
    """
    estimates: dict[str, Estimate] = {}
    few = {task: _few(task, data, rows) for task in design.tasks}
    for arm, of_arm in by_arm(left):
        whole, seconds = Transcript(), 0.0
        for task in dict.fromkeys(unit.task for unit in of_arm):
            share = sum(map(len, rows.values())) / sum(map(len, few[task].values()))
            remembering = TranscriptAssistant(
                assistants(DecodingArm.parse(arm).method()), Transcript(), lambda prompts: None
            )
            if not estimates:  # the first calls of a process are slow
                ask(task, remembering, data, few[task], design.seeds[0])
                remembering.transcript = Transcript()
            start = time.perf_counter()
            ask(task, remembering, data, few[task], design.seeds[0])
            taken = time.perf_counter() - start
            seconds += taken * share * sum(unit.task == task for unit in of_arm)
            whole.spend(remembering.transcript.cost)
        cost = whole.cost
        estimates[arm] = Estimate(len(of_arm), seconds, None if cost is None else cost.relative_passes)
    return estimates


def _few(task: str, data: PairedData, rows: Tests) -> Tests:
    """Return the first rows of each test set: as few as have something that the task asks about."""
    count = _FEW
    while count < max(map(len, rows.values())):
        some = {name: of_test[:count] for name, of_test in rows.items()}
        if applies(task, data, some):
            return some
        count *= 4
    return dict(rows)
