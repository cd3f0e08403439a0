"""Forecast of a run: what the loader delivers and what the model takes, measured on a few steps before it begins."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from ..data.base import Data
from ..data.loading.loader import Loader
from ..data.loading.samplers import NATURAL
from ..pairwise.ranks import Ranks
from ..reasons import a_second
from ..recipes import override
from ..spec import Spec
from .loop import TrainingProgress, fit
from .run import Run
from .start import prepare
from .trained import trained_rows

_FIRST, _TIMED = 8, 3
_PATIENCE = 5.0
"""Seconds that a timed step may take."""


class Speed(NamedTuple):
    """Pairs a second of all processes together.

    Attributes:
        prepared: by one worker of each, or by the process itself.
        taken: by the model, with the data at hand; infinite where nothing is trained.
        examples: of a step at which it was measured.
    """

    prepared: float
    taken: float
    examples: int


@dataclass(frozen=True)
class Forecast:
    """Forecast of a run's speed, and the setting that mends the slower part.

    Attributes:
        speed: that was measured.
        steps, batch_size: of the run.
        workers: of the recipe, for each process.
        cores: of the machine that one process may use.
        memory: bytes of a step.
        free: bytes that are free; None where the system does not tell.
        microbatch: of the recipe.
        fitting: the largest number of examples encoded at a time that fits into what is free; 0 if not even one does.
    """

    speed: Speed
    steps: int
    batch_size: int
    workers: int
    cores: int
    memory: int
    free: int | None
    microbatch: int
    fitting: int

    @property
    def delivered(self) -> float:
        """Pairs a second that the loader delivers; without workers, while the model waits."""
        return self.speed.prepared * min(max(self.workers, 1), self.cores)

    @property
    def pairs(self) -> float:
        """Pairs a second of the run: those of the slower part, or of both in turn where there are no workers."""
        if self.workers:
            return min(self.delivered, self.speed.taken)
        return 1 / (1 / self.delivered + 1 / self.speed.taken)

    @property
    def hours(self) -> float:
        """Hours of training on this machine."""
        return self.steps * self.batch_size / self.pairs / 3600

    def advice(self) -> list[str]:
        """Say what does not fit or is the slower part, and the setting that mends it."""
        return [*self._on_memory(), self._on_speed()]

    def _on_memory(self) -> list[str]:
        if self.free is None or self.memory <= self.free:
            return []
        if self.fitting:
            return [f"a step does not fit into the memory that is free: --microbatch {self.fitting} does"]
        return [
            "a step does not fit into the memory that is free, even one example at a time: a smaller tower may"
        ]

    def _on_speed(self) -> str:
        prepared, taken, _ = self.speed
        if math.isinf(taken):
            return "nothing is trained"
        needed = math.ceil(taken / prepared)
        if not self.workers:
            share = self.pairs / prepared
            sentence = f"{share:.0%} of the time goes into preparing batches"
            if share < 0.1:
                return f"{sentence}: the model is the slower part; {self._faster_model()}"
            if self.cores < 2:
                return f"{sentence}, on the one core that there is: smaller pictures, or more cores"
            return f"{sentence}: --workers {min(needed, self.cores - 1)} prepares them meanwhile"
        if self.delivered >= taken:
            return f"the model is the slower part; {self._faster_model()}"
        if needed <= self.cores:
            return f"the loader is the slower part: --workers {needed} keeps up with the model"
        return (
            f"the loader is the slower part, and {self.cores} cores prepare {a_second(prepared * self.cores)} pairs/s "
            "at most: smaller pictures, or more cores"
        )

    def _faster_model(self) -> str:
        if 0 < self.microbatch < self.batch_size and self.fitting > self.microbatch:
            if self.fitting >= self.batch_size:
                return "--microbatch 0 fits into memory too, and saves a forward pass"
            return f"--microbatch {self.fitting} fits into memory too"
        return "a smaller tower (--towers.image) or more processes (torchrun) make it faster"


def measured(run: Run, data: Data, clock: Callable[[], float] = time.perf_counter) -> list[Speed]:
    """Train a few steps without a folder, and return how fast batches are prepared and taken in each.

    In steps of the run's own size, or of as many examples as a few seconds allow, then in two microbatches at least if
    the run has some.

    Args:
        run: with its number of steps.
        data: of it.
        clock: seconds that have passed.
    """
    whole = min(run.recipe.batch_size, len(trained_rows(run.arm, data)))
    size = min(_FIRST * Ranks.present().size, whole)
    steps, loader = _seconds_of_steps(run, data, size)
    if steps and 0 < median(steps) < _PATIENCE and size < whole:
        size = min(whole, int(size * _PATIENCE / median(steps)))
        steps, loader = _seconds_of_steps(run, data, size)
    return [
        Speed(size / batch, size / step if step else math.inf, size)
        for batch, step in zip(_seconds_of_batches(loader, clock), steps or [0.0] * _TIMED, strict=True)
    ]


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _seconds_of_steps(run: Run, data: Data, size: int) -> tuple[list[float], Loader]:
    """Return the seconds of steps without those of their batches, none where nothing is trained; and their loader."""
    microbatch = min(run.recipe.microbatch, max(size // 2, 1))
    # Fewer examples than a batch has may be too few for what a sampler binds to it.
    arm = Spec.parse(run.arm)
    arm = replace(arm, options={**arm.options, "sampler": NATURAL})
    changes = {"batch_size": size, "microbatch": microbatch, "steps": 1 + _TIMED, "workers": 0}
    recipe = override(run.recipe, changes)
    method, loader = prepare(replace(run, arm=str(arm), recipe=recipe), data)
    ends: list[TrainingProgress] = []
    fit(method, loader, recipe, on_step=ends.append)
    times = [
        (after.seconds - after.waited) - (before.seconds - before.waited) for before, after in pairwise(ends)
    ]
    return times, loader


def _seconds_of_batches(loader: Loader, clock: Callable[[], float]) -> list[float]:
    times = []
    for step in range(1, 2 + _TIMED):
        began = clock()
        loader.batch(step)
        times.append(max(clock() - began, 1e-9))
    return times[1:]
