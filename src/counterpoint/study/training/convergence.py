"""Checks that runs were long enough: validation that still rises, learnt scalars that could not get far enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy import special  # its statistics take half a second to import

from ...recipes.schema import Optimizer
from ...training.record.metrics import BALANCED, LEARNT, read_metrics
from ...training.step.optim import learning_rate

_LEVEL = 0.95
_FULL = 0.8
"""The share of the largest possible movement from which on a scalar counts as moving at its full rate."""

Curve = Sequence[tuple[int, float]]
"""Steps and a number at each."""


@dataclass(frozen=True)
class LearntScalar:
    """A scalar that a run learnt, and how far the optimiser could have moved it.

    A step of Adam moves a parameter by about the learning rate at most, so the sum of the rates bounds its way.

    Attributes:
        name: the parameter's.
        start: its value before the first step.
        end: its value after the last.
        reach: Σ lr_t over all steps.
        pull: of its largest possible way in the last quarter of the steps the share that it went, with its sign; 0
            where it turned around meanwhile.
        balanced: where its gradient vanishes before anything is learnt, if that is known.
    """

    name: str
    start: float
    end: float
    reach: float
    pull: float
    balanced: float | None = None

    @property
    def out_of_reach(self) -> bool:
        """Return whether the schedule covers less than half of the way from the start to the balanced value."""
        return self.balanced is not None and self.reach < abs(self.start - self.balanced) / 2

    @property
    def still_moving(self) -> bool:
        """Return whether the scalar went one way at the end, as fast as the schedule lets it."""
        return abs(self.pull) >= _FULL


@dataclass(frozen=True)
class Convergence:
    """The state in which the training of one arm ended, over its seeds.

    Attributes:
        late_gain: what validation gained in the last half of the steps, by a straight line, as a fraction.
        improving: that is more than the margin and more than noise; None where there are too few numbers to tell.
        scalars: what each run learnt, the first seed's first.
    """

    late_gain: float | None
    improving: bool | None
    scalars: Sequence[Sequence[LearntScalar]]

    @classmethod
    def of(cls, folders: Sequence[Path], optimizer: Optimizer, margin: float) -> Convergence:
        """Read the curves of an arm's finished runs.

        Args:
            folders: of the runs.
            optimizer: of their recipe.
            margin: gains up to this are none.
        """
        metrics = [read_metrics(folder) for folder in folders]
        gain, improving = late_gain([validation_curve(frame) for frame in metrics], margin)
        return cls(gain, improving, [learnt_scalars_of(frame, optimizer) for frame in metrics])

    def named(self, fact: str) -> list[str]:
        """Return the scalars of which a fact (a property of `LearntScalar`) holds in every run."""
        runs = [{it.name for it in run if getattr(it, fact)} for run in self.scalars]
        return sorted(set.intersection(*runs)) if runs else []


_SCORES = "|".join(
    (
        r"_R@1$",
        r"/probe/.*_top1$",
        r"/multi_label/logistic_.*_mAP$",
        r"/regression/ridge_.*_spearman$",
        r"/classification/accuracy$",
    )
)


def validation_names(metrics: pl.DataFrame) -> list[str]:
    """Return the names of the numbers whose mean is the validation score at the last step, in order."""
    scores = metrics.filter(
        pl.col("name").str.starts_with("validation/") & pl.col("name").str.contains(_SCORES)
    )
    return sorted(scores.filter(pl.col("step") == pl.col("step").max())["name"])


def validation_curve(metrics: pl.DataFrame) -> Curve:
    """Return the validation score over the steps: the mean R@1 of both directions, or of what stands in its place.

    The probes of a model of one column stand there, or of any where training learns from a label, or the accuracy of a
    model of several columns that learns classes; see `runner.validation_numbers`.
    """
    scores = metrics.filter(pl.col("name").is_in(validation_names(metrics)))
    means = scores.group_by("step").agg(pl.col("value").mean()).sort("step")
    return [(int(step), float(value)) for step, value in means.iter_rows()]


def late_gain(curves: Sequence[Curve], margin: float) -> tuple[float | None, bool | None]:
    """Return what the curves of several seeds gain in the last half of the steps, and whether that is no noise.

    A line is fitted to the validation scores of the last half, with a slope that all seeds share and a level of each
    seed's own. The arm still improves if the line gains more than the margin and its slope is above 0 at the 5 % level
    (t, with as many degrees of freedom as scores beyond the levels and the slope). The learning rate falls to almost
    nothing at the end and flattens every curve, so the last half is looked at, not the last few scores; that scores of
    one run depend on each other makes the test lenient, as suits a warning.

    >>> gain, improving = late_gain([[(10, 0.1), (20, 0.2), (30, 0.3), (40, 0.4)]], margin=0.01)
    >>> round(gain, 3), improving
    (0.2, True)
    """
    late = [half for curve in curves if len(half := _last_half(curve)) > 1]
    if not late:
        return None, None
    x = np.concatenate([_centred([step / half[-1][0] for step, _ in half]) for half in late])
    y = np.concatenate([_centred([value for _, value in half]) for half in late])
    slope = float(x @ y / (x @ x))
    gain, freedom = slope / 2, len(x) - len(late) - 1
    if freedom < 1:
        return gain, None
    error = math.sqrt(float(((y - slope * x) ** 2).sum()) / freedom / float(x @ x))
    return gain, gain > margin and slope > float(special.stdtrit(freedom, _LEVEL)) * error


def _last_half(curve: Curve) -> Curve:
    return [(step, value) for step, value in curve if 2 * step >= curve[-1][0]]


def _centred(values: Sequence[float]) -> Float[np.ndarray, " n"]:
    return np.array(values) - fmean(values)


def learnt_scalars_of(metrics: pl.DataFrame, optimizer: Optimizer) -> list[LearntScalar]:
    """Return what a run's numbers say of the scalars it learnt; none of a run that did not keep them."""
    steps = int(metrics["step"].max() or 0)  # type: ignore[arg-type] # steps are integers
    rates = [learning_rate(step, steps, optimizer) for step in range(steps)]
    values: dict[str, dict[int, float]] = {}
    for step, name, value in metrics.filter(pl.col("name").str.contains("^(learnt|balanced)/")).iter_rows():
        values.setdefault(name, {})[step] = value
    scalars = []
    for name, at in values.items():
        if name.startswith(LEARNT) and {0, steps} <= at.keys():
            path = name.removeprefix(LEARNT)
            balanced = values.get(BALANCED + path, {}).get(0)
            # A temperature is a module with one parameter: its own name says more.
            scalar = path.removesuffix(".parameter")
            scalars.append(LearntScalar(scalar, at[0], at[steps], sum(rates), _pull(at, rates), balanced))
    return scalars


def _pull(at: Mapping[int, float], rates: Sequence[float]) -> float:
    """Return the way that a scalar went in the last quarter over the way that the rates allow; 0 if it turned."""
    late = sorted(step for step in at if 4 * step >= 3 * len(rates))
    moves = [at[after] - at[before] for before, after in pairwise(late)]
    if not moves or (min(moves) < 0 < max(moves)):
        return 0.0
    return sum(moves) / sum(rates[late[0] :])


def warnings_of(arms: Mapping[str, Convergence], tuned: bool) -> list[str]:
    """Return the sentences that a study's reader must know before the order of its arms is believed.

    Args:
        arms: how each arm's training ended.
        tuned: every arm was searched for.
    """
    lines = []
    if rising := [arm for arm, it in arms.items() if it.improving]:
        gains = ", ".join(f"{arm} +{100 * (arms[arm].late_gain or 0):.1f}" for arm in rising)
        lines.append(
            f"still improving at the end (validation, points gained in the last half of the steps): {gains}. "
            "More steps may change the order: --steps N"
        )
    for arm, it in arms.items():
        scalars = {scalar.name: scalar for run in reversed(it.scalars) for scalar in run}
        lines += [_out_of_reach(arm, scalars[name]) for name in it.named("out_of_reach")]
    if moving := {arm: names for arm, it in arms.items() if (names := it.named("still_moving"))}:
        where = "; ".join(f"{arm}: {', '.join(names)}" for arm, names in moving.items())
        lines.append(
            f"learnt scalars that still moved at their full rate at the end ({where}): where they began matters"
            + ("" if tuned else "; --tune N searches for it")
        )
    return lines


def _out_of_reach(arm: str, scalar: LearntScalar) -> str:
    assert scalar.balanced is not None
    return (
        f"{arm}: {scalar.name} began at {scalar.start:.2f}, {abs(scalar.start - scalar.balanced):.2f} from the "
        f"{scalar.balanced:.2f} that suits the batch, and could move by {scalar.reach:.2f}: its start decided where it "
        "stayed"
    )
