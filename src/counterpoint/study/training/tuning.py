"""A fair search: every arm gets the same number of trials, chosen on validation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...methods.arm import Arm
from ...training.record.metrics import read_metrics
from ...training.run import RunState
from ..design import ArmPlan, Design
from .convergence import validation_curve, validation_names

TUNING_SEED = 1_000_003
"""Trials use a seed of their own, so that no seed of the study has been selected on."""

_LR_FACTORS = (0.25, 4.0)


@dataclass(frozen=True)
class Trial:
    """One setting of an arm."""

    plan: ArmPlan
    seed: int = TUNING_SEED


def trials(design: Design, arm: Arm, plan: ArmPlan) -> list[Trial]:
    """Plan ``design.tune`` settings of an arm: the recipe as it is, then random draws.

    Drawn are the learning rate (a quarter to four times the recipe's) and what the method declares tunable (loss
    weights, and where each scalar that a run learns starts: temperature, bias). The draws follow from the trial's
    number alone: arms with the same parameter see the same factors.
    """
    settings = [Trial(plan)]
    ranges = arm.tunable()
    for number in range(1, design.tune):
        lr = design.recipe.optimizer.lr * _draw(f"lr/{number}", *_LR_FACTORS)
        options = {
            name: float(f"{_draw(f'{name}/{number}', *bounds):.4g}") for name, bounds in ranges.items()
        }
        settings.append(Trial(replace(plan, changes={"optimizer.lr": float(f"{lr:.4g}")}, options=options)))
    return settings


def choose(search: Sequence[Trial], folders: Sequence[Path]) -> ArmPlan:
    """Return the plan of the trial with the best validation score; failed trials cannot win.

    Raises:
        RuntimeError: if every trial failed.
        ValueError: if trials have their scores from different numbers, as those of different versions may.
    """
    scores = [validation_score(folder) for folder in folders]
    if all(math.isinf(score) for score in scores):
        raise RuntimeError(f"every tuning trial failed: {folders[0].parent}; try a smaller learning rate")
    ranked_by = {
        ", ".join(validation_names(read_metrics(folder))): folder.name
        for folder, score in zip(folders, scores, strict=True)
        if math.isfinite(score)
    }
    if len(ranked_by) > 1:
        listed = "; ".join(f"{trial} by {names}" for names, trial in ranked_by.items())
        raise ValueError(
            f"{folders[0].parent}: versions of counterpoint validated its trials by different numbers, which say "
            f"nothing about each other ({listed}): delete that folder and run the same command again"
        )
    return search[max(range(len(search)), key=lambda k: scores[k])].plan


def validation_score(folder: Path) -> float:
    """Return a run's score on the validation sets at its end; −inf for a failed run.

    The mean R@1 of both directions; for a model of one column, and for all where training learns from a label, the mean
    of the probes; for one that learns classes from several columns, its accuracy.
    """
    state = RunState.read(folder)
    if state is None or state.status != "finished":
        return -math.inf
    curve = validation_curve(read_metrics(folder))
    return curve[-1][1] if curve else -math.inf


def _draw(key: str, low: float, high: float) -> float:
    """Draw log-uniformly between two positive numbers, uniformly between others."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    unit = int.from_bytes(digest, "big") / 2**64
    return low * (high / low) ** unit if low > 0 else low + (high - low) * unit
