"""A fair search: every arm gets the same number of trials, chosen on validation, or by folds of the shots."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from ...execution import ResourceRequest
from ...methods.arm import Arm
from ...training.record.metrics import FILE as METRICS
from ...training.record.metrics import read_metrics
from ...training.run import RunState
from ..design import ArmPlan, Design
from ..layout import trial_runs
from .convergence import validation_curve, validation_names
from .run import TrainingRun

TUNING_SEED = 1_000_003
"""Trials use a seed of their own, so that no seed of the study has been selected on."""

_LR_FACTORS = (0.25, 4.0)


@dataclass(frozen=True)
class Trial:
    """One setting of an arm.

    Attributes:
        plan: the setting.
        folds: the number of runs, each without another part of the shots; 0 for one run that validation judges.
    """

    plan: ArmPlan
    folds: int = 0

    def runs(self, design: Design, arm: str, folder: Path, needs: ResourceRequest) -> list[TrainingRun]:
        """Return the runs of the trial in its folder."""
        run = design.run(arm, TUNING_SEED, self.plan)
        if not self.folds:
            return [TrainingRun(run, folder, test=False, needs=needs)]
        labels = run.labels or Arm.parse(run.arm).labels
        return [
            TrainingRun(
                replace(run, labels=f"{labels},fold={number},folds={self.folds}"),
                folder / f"fold-{number}",
                (design.judge,),
                needs=needs,
            )
            for number in range(1, self.folds + 1)
        ]


def trials(design: Design, arm: Arm, plan: ArmPlan) -> list[Trial]:
    """Plan ``design.tune`` settings of an arm: the recipe as it is, then random draws.

    Drawn are the learning rate (a quarter to four times the recipe's) and what the method declares tunable (loss
    weights, and where each scalar that a run learns starts: temperature, bias). The draws follow from the trial's
    number alone: arms with the same parameter see the same factors.
    """
    folds = design.folds_of(arm)
    settings = [Trial(plan, folds)]
    ranges = arm.tunable()
    for number in range(1, design.tune):
        lr = design.recipe.optimizer.lr * _draw(f"lr/{number}", *_LR_FACTORS)
        options = {
            name: float(f"{_draw(f'{name}/{number}', *bounds):.4g}") for name, bounds in ranges.items()
        }
        changes = {} if arm.kind.closed else {"optimizer.lr": float(f"{lr:.4g}")}
        settings.append(Trial(replace(plan, changes=changes, options=options), folds))
    return settings


def choose(search: Sequence[Trial], folders: Sequence[Path]) -> ArmPlan:
    """Return the plan of the trial with the best validation score; failed trials cannot win.

    Raises:
        RuntimeError: if every trial failed.
        ValueError: if trials have their scores from different numbers, as those of different versions may.
    """
    scores = [trial_score(folder) for folder in folders]
    if all(math.isinf(score) for score in scores):
        raise RuntimeError(f"every tuning trial failed: {folders[0].parent}; try a smaller learning rate")
    ranked_by = {
        ", ".join(validation_names(read_metrics(folder))): folder.name
        for folder, score in zip(folders, scores, strict=True)
        if math.isfinite(score) and (folder / METRICS).exists()
    }
    if len(ranked_by) > 1:
        listed = "; ".join(f"{trial} by {names}" for names, trial in ranked_by.items())
        raise ValueError(
            f"{folders[0].parent}: versions of counterpoint validated its trials by different numbers, which say "
            f"nothing about each other ({listed}): delete that folder and run the same command again"
        )
    return search[max(range(len(search)), key=lambda k: scores[k])].plan


def trial_score(folder: Path) -> float:
    """Return the score of a trial: `validation_score`, or the mean over folds of what was held out."""
    runs = trial_runs(folder)
    return validation_score(folder) if runs == [folder] else fmean(map(_fold_score, runs))


def _fold_score(folder: Path) -> float:
    """Return the score of a run on the fold that it was trained without; −inf for a failed run."""
    state = RunState.read(folder)
    if state is None or state.status != "finished":
        return -math.inf
    (score,) = [
        row["value"] if row["higher_is_better"] else -row["value"]
        for row in json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        if row["role"] == "primary" and row["subset"] == "all"
    ]
    return float(score)


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
