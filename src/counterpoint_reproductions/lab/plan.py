"""Plans: how wide a claim's intervals would be, expected from a pilot run on seeds that the claim is not tested on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoint.catalog import paper
from counterpoint.catalog.evidence import Result
from counterpoint.catalog.verdicts import CONFIDENCE, Role
from counterpoint.execution import Listener, NullListener
from counterpoint.statistics.width import expected_width, for_width

from .._registry import module
from .cell import Notify
from .lab import SEEDS, TUNING_SEEDS, Lab
from .results import MeasuredResult, refuting
from .score import ScoreEstimate


@dataclass(frozen=True)
class PlannedPart:
    """A deciding part of a claim, as a pilot run foresees it.

    Attributes:
        name: of the result.
        role, delta: as declared; None where nothing is.
        width: the expected width, from the lower end at 95 % to the upper end at 1 - 0.05/k; None where the pilot
            cannot tell.
        seeds: how many seeds make it narrower than ``delta``; None where no number does, or without a delta.
        examples: how many times the test examples to have before seeds can do that.
    """

    name: str
    role: Role | None
    delta: float | None
    width: float | None
    seeds: int | None
    examples: float | None

    @property
    def decides(self) -> bool | None:
        """The width is expected to decide whatever the value is; None where that is not known."""
        return None if self.delta is None or self.width is None else self.width < self.delta


@dataclass(frozen=True)
class RunPlan:
    """The precision and the time of a claim's run, as a pilot run foresees them.

    Attributes:
        slug: the paper.
        seeds: how many seeds the run has.
        seconds: how long it would take, if time grows with seeds.
        parts: the deciding parts that depend on chance.
    """

    slug: str
    seeds: int
    seconds: float
    parts: tuple[PlannedPart, ...]


def plan(
    slug: str,
    folder: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    *,
    listener: Listener | None = None,
    notify: Notify | None = None,
) -> RunPlan:
    """Run a claim's experiment on two seeds that it is not tested on, and say how precise a full run would be.

    The values themselves are left out, so that nothing is chosen by them. A standard deviation of two seeds is
    uncertain by a factor of several.

    Args:
        slug: the paper.
        folder: where what is finished is kept; ``runs/claims/SLUG`` unless given.
        jobs: training runs at a time.
        listener: receives every event of training runs.
        notify: called with a line on what is being done.

    Raises:
        UnknownNameError: for a paper that is not in the catalog, or has no claim here.
    """
    paper(slug)
    claim = module(slug)
    began = time.perf_counter()
    lab = Lab(
        Path(folder or Path("runs") / "claims" / slug) / "pilot",
        pilot=True,
        jobs=jobs,
        listener=listener or NullListener(),
        notify=notify or (lambda text: None),
    )
    results = tuple(claim.run(lab))
    seeds = lab.planned or SEEDS
    seconds = (time.perf_counter() - began + lab.reused) * seeds / len(TUNING_SEEDS)
    return RunPlan(slug, seeds, seconds, planned_parts(results, seeds))


def planned_parts(results: Sequence[Result], seeds: int) -> tuple[PlannedPart, ...]:
    """Return the deciding parts of a pilot run's results, with the widths expected from the given number of seeds."""
    deciding = [result for result in results if result.decides and result.chance]
    confidence = refuting(len(deciding))
    return tuple(_planned(result, seeds, confidence) for result in deciding)


def _planned(result: Result, seeds: int, confidence: float) -> PlannedPart:
    measured = ScoreEstimate() if not isinstance(result, MeasuredResult) else result.measured
    sd, example_se, n = measured.seed_sd, measured.example_se, measured.n_seeds
    if sd is None or example_se is None or n is None:
        return PlannedPart(result.name, result.role, result.delta, None, None, None)
    # What counts worlds has as many in any run.
    later = seeds if n <= len(TUNING_SEEDS) else n
    width = expected_width(later, sd, example_se, CONFIDENCE, confidence)
    if result.delta is None:
        return PlannedPart(result.name, result.role, None, width, None, None)
    required = for_width(
        sd, result.delta, example_se=example_se, low_confidence=CONFIDENCE, high_confidence=confidence
    )
    return PlannedPart(
        result.name, result.role, result.delta, width, required.n, max(required.examples_factor, 1.0)
    )
