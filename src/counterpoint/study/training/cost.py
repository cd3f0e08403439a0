"""The cost of a study, measured on this machine before it starts, and the steps that follow for each arm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import torch

from ...data.base import Data
from ...methods.arm import is_fixed
from ...methods.tower_method import TowerMethod
from ...modalities import PAIR_PASSES, leading
from ...networks.base import CuttingInput
from ...networks.towers.parts.pixels import Square
from ...recipes import override
from ...spec import of_seed
from ...training.loop import fit
from ...training.record.negatives import negatives_per_anchor
from ...training.record.peak_memory import PeakMemory
from ...training.run import Run
from ...training.start import prepare
from ...training.trained import trained_rows
from ...types import NonFiniteLossError
from ..design import ArmCost, ArmPlan, Budget, Design
from ..gate import PreparedStudy, askable, check_model

_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
"""Program that keeps a core busy until its parent ends."""
_CAPTIONS = 10_000
"""Captions that are looked at for their length."""

Turn = Callable[[], Sequence[float]]
"""Take a few steps and return the seconds of each."""
Clock = Callable[[], float]


@dataclass(frozen=True)
class Turns:
    """The number of turns in which arms are timed, and of the steps of a turn.

    Attributes:
        least: turns that are taken in any case.
        most: turns that are taken as long as `seconds` have not passed.
        seconds: time after which no turn beyond the least one begins.
        warm_up: steps at the beginning of a turn that do not count.
        timed: steps that follow them.
    """

    least: int
    most: int
    seconds: float
    warm_up: int
    timed: int


_FORECAST = Turns(least=3, most=12, seconds=2.0, warm_up=1, timed=1)
_BUDGET = Turns(least=4, most=4, seconds=0.0, warm_up=2, timed=4)
"""Turns under a budget of time, where the numbers of steps follow from what is measured."""
Measure = Callable[[Sequence[str]], Mapping[str, ArmCost]]


def measure(
    study: PreparedStudy,
    arms: Sequence[str],
    jobs: int = 1,
    clock: Clock = time.perf_counter,
    *,
    timed: bool = True,
) -> dict[str, ArmCost]:
    """Train some arms of a study for a few steps, and measure what a step of each costs.

    The arms are timed in turns, so the weights of all are in memory, those of one on the device.

    Args:
        study: the study.
        arms: those to measure.
        jobs: runs at a time, later: each has its share of the cores, and is timed with as many threads while the other
            cores of those runs are busy.
        clock: seconds that have passed.
        timed: take the steps; otherwise the arms are built alone, and their steps cost nothing.

    Raises:
        ValueError: for a model that a task cannot ask, before it is timed.
    """
    if not timed:
        return _measured(study, arms, None, clock)
    with _threads_of(jobs), _busy_cores(jobs - 1):
        return _measured(study, arms, _BUDGET if study.design.budget == "time" else _FORECAST, clock)


@contextmanager
def _busy_cores(count: int) -> Iterator[None]:
    """Keep some cores busy, as other runs of the study will: where cores are scarce, runs slow each other down."""
    others = [subprocess.Popen([sys.executable, "-S", "-E", "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextmanager
def _threads_of(jobs: int) -> Iterator[None]:
    """Compute with the threads that one of several runs at a time has."""
    before = torch.get_num_threads()
    if jobs > 1:
        torch.set_num_threads(min(before, max((os.cpu_count() or 1) // jobs, 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measured(
    study: PreparedStudy, arms: Sequence[str], turns: Turns | None, clock: Clock
) -> dict[str, ArmCost]:
    design, data = study.design, study.data
    steps = turns.warm_up + turns.timed if turns else 1
    recipe = override(design.recipe, {"steps": steps, "workers": 0})
    first = {arm: of_seed(arm, design.seeds[0]) for arm in arms}
    runs = {
        arm: prepare(Run(name, design.data, recipe, labels=design.labels), data)
        for arm, name in first.items()
    }
    for arm, (method, _) in runs.items():
        check_model(method, askable(study.arms[arm], study.tasks, data), data)
    peaks: dict[str, int] = {}

    def turn(arm: str) -> Sequence[float]:
        assert turns is not None
        ends: list[float] = []
        memory = PeakMemory()
        method, loader = runs[arm]
        if method.closed:  # a run of it takes no step
            peaks.setdefault(arm, memory.read())
            return ends
        # The first turn does not count: it warms up, and shows what memory a step takes.
        taken = recipe if arm in peaks else override(recipe, {"steps": turns.warm_up})
        with suppress(
            NonFiniteLossError
        ):  # such an arm is an outcome of the study, not a reason to have none
            fit(method, loader, taken, on_step=lambda progress: ends.append(clock()))
        method.zero_grad()
        method.cpu()  # the next arm has the device to itself
        peaks.setdefault(arm, memory.read())
        return [after - before for before, after in pairwise(ends[turns.warm_up - 1 :])]

    seconds: Mapping[str, Sequence[float]] = {}
    if turns is not None:
        rounds = {arm: lambda arm=arm: turn(arm) for arm in arms}  # bound
        seconds = in_turns(rounds, turns, clock)
    costs = {}
    for arm, (method, loader) in runs.items():
        measured = seconds.get(arm) or [0.0]
        costs[arm] = ArmCost(
            seconds_per_step=median(measured),
            seconds_range=(min(measured), max(measured)),
            passes=method.passes(),
            passes_of_all=method.passes_of_all(),
            parameters=sum(p.numel() for p in method.parameters()),
            peak_memory_bytes=peaks.get(arm) or PeakMemory().read(),
            batch_size=loader.batch_size,
            rows=(rows := len(trained_rows(first[arm], loader.data))),
            left_out=len(loader.data.splits.train) - rows,
            cut_captions=cut_captions(method, data),
            image_size=next((i.size for i in method.inputs.values() if isinstance(i, Square)), 0),
            negatives=negatives_per_anchor(method, loader),
        )
    return costs


def in_turns(
    arms: Mapping[str, Turn], turns: Turns, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Return each arm's seconds of a step, a median for each turn.

    In a turn every arm takes a few steps, in reverse order every second turn, so that a machine that becomes slower
    or faster meanwhile does so for all arms. The turn before the first warms up and does not count.

    Args:
        arms: an arm's name to a turn of it.
        turns: how many.
        clock: seconds that have passed.
    """
    rounds: dict[str, list[float]] = {arm: [] for arm in arms}
    number, began = 0, clock()
    while number <= turns.least or (number <= turns.most and clock() - began < turns.seconds):
        for arm in list(arms) if number % 2 else list(arms)[::-1]:
            steps = arms[arm]()
            if steps and number:
                rounds[arm].append(median(steps))
        number += 1
    return rounds


def plan_arms(
    design: Design, known: Mapping[str, ArmPlan], rows: int, measured: Measure
) -> dict[str, ArmPlan]:
    """Return a plan for every arm: those that a study has already as they are, the others under the same budget.

    All arms get the steps of the recipe; under another budget than steps, as many as cost what those of a reference
    cost. In a new study that is the cheapest arm. An arm that joins later is measured beside one that was there, and
    its steps follow from that one's.

    Args:
        design: the study.
        known: plans that it has.
        rows: how many examples there are to train on.
        measured: measures a step of some arms.
    """
    new = [arm for arm in design.arms if arm not in known]
    if not new:
        return {arm: known[arm] for arm in design.arms}
    there = next((arm for arm in design.arms if arm in known and not is_fixed(arm)), None)
    beside = [there] if there is not None and design.budget != "steps" else []
    costs = measured([*beside, *new])
    if there is not None:
        reference, steps = there, known[there].steps
    else:
        trained = [arm for arm in new if not is_fixed(arm)] or new
        prices = _prices(costs, design.budget)
        priced = [arm for arm in trained if prices[arm]] or trained
        reference = min(priced, key=lambda arm: prices[arm])
        of_all = design.budget == "steps"
        passes = max(_passes(costs[arm]) for arm in (trained if of_all else [reference]))
        steps = design.recipe.steps_for(rows, costs[reference].batch_size, passes)
    shares = steps_under(design.budget, costs, reference, steps)
    return {arm: known.get(arm) or _plan(design, arm, shares[arm], costs[arm]) for arm in design.arms}


def _plan(design: Design, arm: str, steps: int, cost: ArmCost) -> ArmPlan:
    """Return an arm's plan before any search; where nothing is trained, a step is enough, and nothing to search."""
    if is_fixed(arm):
        return ArmPlan(1, cost=cost)
    return ArmPlan(steps, cost=cost, searched=not design.tune)


def steps_under(budget: Budget, costs: Mapping[str, ArmCost], reference: str, steps: int) -> dict[str, int]:
    """Return every arm's number of steps: the same, or as many as cost what those of the reference cost.

    An arm that could not be timed, as its loss was not finite, gets the steps of the reference.

    Raises:
        ValueError: if an arm's looks at all examples cost more than the whole budget.
    """
    if budget == "steps":
        return dict.fromkeys(costs, steps)
    prices, before = _prices(costs, budget), dict.fromkeys(costs, 0.0)
    if budget == "passes":
        modality = _leading(costs)
        before = {
            arm: cost.passes_of_all.get(modality, 0) * cost.rows / cost.batch_size
            for arm, cost in costs.items()
        }
    price = prices[reference]
    whole = steps * price + before[reference]
    for arm, looks in before.items():
        if looks and looks >= whole:
            raise ValueError(
                f"budget={budget}: arm {arm!r} looks at all {costs[arm].rows:,} examples before it trains, which costs "
                f"as much as all {steps:,} steps of {reference!r}: give more --steps, or another --budget"
            )
    return {arm: max(round((whole - before[arm]) / (its or price or 1)), 1) for arm, its in prices.items()}


def _prices(costs: Mapping[str, ArmCost], budget: Budget) -> dict[str, float]:
    """Return what a step of every arm costs in the currency of a budget."""
    modality = _leading(costs)
    return {
        arm: {
            "steps": 1.0,
            "passes": float(cost.passes.get(modality, 0) + cost.passes.get(PAIR_PASSES, 0) or 1),
            "time": cost.seconds_per_step,
        }[budget]
        for arm, cost in costs.items()
    }


def _leading(costs: Mapping[str, ArmCost]) -> str:
    return leading(cost.passes for cost in costs.values())


def _passes(cost: ArmCost) -> float:
    return max([*cost.passes.values(), 1])


def cut_captions(method: TowerMethod, data: Data) -> float:
    """Return the share of the training captions that the input of a text tower cuts; of several columns the largest."""
    examples = data.examples()
    cutting = {
        column: reads
        for column in method.embeds
        if column in data.columns
        if isinstance(reads := method.tower(column).input, CuttingInput)
    }
    return max((share_cut(reads, _texts(examples[column])) for column, reads in cutting.items()), default=0.0)


def _texts(rows: Iterable[Any]) -> Iterator[Any]:
    """Yield the texts of a column's rows, each of which has one or several; a conversation is one."""
    for row in rows:
        several = not isinstance(row, str) and all(isinstance(text, str) for text in row)
        yield from row if several else [row]


def share_cut(reads: CuttingInput, captions: Iterable[Any]) -> float:
    """Return the share of captions that an input cuts, of 10,000 at equal distances.

    >>> from counterpoint.networks import BytePairTokenizer
    >>> share_cut(BytePairTokenizer.train(["a b"], 300, context=4), ["a b", "a b a b"])
    0.5
    """
    every = list(captions)
    looked_at = every[:: max(len(every) // _CAPTIONS, 1)]
    return float(np.mean(reads.too_long(looked_at).numpy())) if looked_at else 0.0
