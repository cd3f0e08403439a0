"""Positions of what the report's charts show, in percent of a chart's width or height.

The template draws them. Percentages let one drawing fit a phone, a desk and paper, with text at its own size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ...modalities import MODALITIES, PAIR_PASSES, leading
from ..schema import ArmSummary, DifferenceSummary, Key, TrainedArm
from ..words.tables import is_fraction
from .words import count, duration, number, verdict

_LABEL_GAP = 15.0  # pixels between the names at the ends of curves
HEIGHT = 200.0
"""Height of a plot of curves, in pixels."""
_MOST_POINTS = 120  # of a curve; more cannot be seen


@dataclass(frozen=True)
class Scale:
    """A linear axis.

    >>> scale = Scale.over([0.0, 0.031], least=0.0)
    >>> scale.ticks, scale.at(0.0)
    ((0.0, 0.01, 0.02, 0.03), 0.0)
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float | None], least: float | None = None, intervals: int = 4) -> Scale:
        """Make an axis that holds all values with a little room, but none below ``least`` unless a value is there."""
        finite = [v for v in values if v is not None and math.isfinite(v)] or [0.0]
        low, high = min(finite), max(finite)
        room = 0.06 * (high - low) or 0.05 * abs(high) or 1e-3
        if least is None or low < least:
            low -= room
        else:
            low = max(low - room, least)
        high += room
        step = _round_step((high - low) / intervals)
        first = math.ceil(low / step - 1e-9)
        ticks = [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]
        return cls(low, high, tuple(ticks))

    def at(self, value: float) -> float:
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def marks(self, percent: bool, signed: bool = False) -> list[dict[str, Any]]:
        """Return the ticks with their texts."""
        factor = 100 if percent else 1
        span = factor * (self.ticks[1] - self.ticks[0]) if len(self.ticks) > 1 else 1.0
        digits = max(0, -math.floor(math.log10(span) + 1e-9))
        texts = (f"{factor * t:{'+' if signed else ''},.{digits}f}" for t in self.ticks)
        return [
            {"at": self.at(tick), "text": "0" if tick == 0 else text.replace("-", "−")}
            for tick, text in zip(self.ticks, texts, strict=True)
        ]


def _round_step(step: float) -> float:
    """Return the smallest of 1, 2, 5 × 10^k that is at least a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def intervals(arms: Sequence[ArmSummary], key: Key) -> dict[str, Any]:
    """Lay out a metric of every arm: mean, interval, a dot per seed, and chance or a constant answer."""
    metric = key[3]
    scores = [(arm, arm.score(key)) for arm in arms]
    present = [m for _, m in scores if m is not None and m.mean is not None]
    chance = next((m.chance for m in present if m.chance is not None), None)
    constant = next((m.constant for m in present if m.constant is not None), None)
    floor = max((value for value in (chance, constant) if value is not None), default=None)
    values = [v for m in present for v in (m.low, m.mean, m.high, *m.seeds.values())]
    scale = Scale.over(values, least=0.0 if is_fraction(metric) else None)
    rows: list[dict[str, Any]] = []
    for arm, m in scores:
        if m is None or m.mean is None:
            why = "not asked" if arm.metrics else "no finished run"
            rows.append({"arm": arm.name, "text": "–", "detail": why})
            continue
        ends = [m.mean if end is None else end for end in (m.low, m.high)]
        rows.append(
            {
                "arm": arm.name,
                "mean": scale.at(m.mean),
                "low": scale.at(ends[0]),
                "high": scale.at(ends[1]),
                "seeds": [scale.at(v) for v in m.seeds.values() if v is not None],
                "text": number(m.mean, metric),
                "detail": f"{number(ends[0], metric)} to {number(ends[1], metric)}",
            }
        )
    return {
        "rows": rows,
        "ticks": scale.marks(is_fraction(metric)),
        "chance": scale.at(floor) if floor is not None and scale.low <= floor <= scale.high else None,
        "chance_text": None if chance is None else number(chance, metric),
        "constant_text": None if constant is None else number(constant, metric),
        "n": present[0].n if present else 0,
        "higher_is_better": present[0].higher_is_better if present else True,
    }


def forest(differences: Sequence[DifferenceSummary], margin: float) -> dict[str, Any]:
    """Lay out the differences of one metric around zero, with the band within which they count as equivalent."""
    metric = differences[0].metric
    band = margin if is_fraction(metric) else None
    values = [value for d in differences for value in (d.low, d.estimate, d.high)]
    scale = Scale.over([*values, 0.0, *([-band, band] if band is not None else [])], intervals=5)
    rows = []
    for d in differences:
        low, high = (d.estimate if end is None else end for end in (d.low, d.high))
        ends = f"{number(low, metric)} to {number(high, metric)}"
        rows.append(
            {
                "a": d.a,
                "b": d.b,
                "verdict": verdict(d),
                "sentence": d.sentence,
                "text": number(d.estimate, metric, signed=True),
                "range": ends if d.estimate is not None else "no shared seed",
            }
            | {
                name: scale.at(value)
                for name, value in (("at", d.estimate), ("low", low), ("high", high))
                if value is not None
            }
        )
    return {
        "rows": rows,
        "ticks": scale.marks(is_fraction(metric), signed=True),
        "zero": scale.at(0.0),
        "band": None if band is None else (scale.at(-band), round(scale.at(band) - scale.at(-band), 2)),
        "points": is_fraction(metric),
    }


def curves(arms: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], percent: bool) -> dict[str, Any]:
    """Lay out curves over training steps, a thin one per seed and their mean.

    Args:
        arms: steps and values of every seed's run, by arm.
        percent: whether the values are fractions.
    """
    runs = {arm: [_thinned(*run) for run in of_arm] for arm, of_arm in arms.items()}
    steps = np.concatenate([x for of_arm in runs.values() for x, _ in of_arm])
    values = np.concatenate([y for of_arm in runs.values() for _, y in of_arm])
    across = Scale.over([0.0, float(steps.max())], least=0.0)
    up = Scale.over([*values.tolist(), *([0.0] if percent else [])], least=0.0 if percent else None)

    def line(x: np.ndarray, y: np.ndarray) -> str:
        keep = np.isfinite(y)
        points = zip(x[keep].tolist(), y[keep].tolist(), strict=True)
        return " ".join(f"{across.at(a):g},{100 - up.at(b):g}" for a, b in points)

    lines: list[dict[str, Any]] = []
    for arm, of_arm in runs.items():
        x, mean = _mean(of_arm)
        lines.append(
            {
                "arm": arm,
                "seeds": [line(*run) for run in of_arm] if len(of_arm) > 1 else [],
                "mean": line(x, mean),
                "end": number(float(mean[-1])) if percent else f"{mean[-1]:.2f}",
                "y": HEIGHT * (1 - up.at(float(mean[-1])) / 100) if np.isfinite(mean[-1]) else HEIGHT,
            }
        )
    for entry, y in zip(lines, spread([entry["y"] for entry in lines]), strict=True):
        entry["label"] = y
    return {"lines": lines, "x": across.marks(False), "y": up.marks(percent)}


def spread(positions: Sequence[float], gap: float = _LABEL_GAP, end: float = HEIGHT) -> list[float]:
    """Move positions apart so that labels there do not overlap, in the same order.

    >>> spread([100.0, 101.0, 20.0], gap=10, end=200)
    [100.0, 110.0, 20.0]
    """
    order = sorted(range(len(positions)), key=lambda k: positions[k])
    placed = list(positions)
    for before, k in pairwise(order):
        placed[k] = max(placed[k], placed[before] + gap)
    limit = end
    for k in reversed(order):
        placed[k] = round(min(placed[k], limit), 1)
        limit = placed[k] - gap
    return placed


def _thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average neighbours where there are more points than can be seen."""
    width = math.ceil(len(steps) / _MOST_POINTS)
    if width == 1:
        return steps, values
    cuts = np.arange(0, len(steps), width)
    sizes = np.diff([*cuts, len(steps)])
    return np.add.reduceat(steps, cuts) / sizes, np.add.reduceat(values, cuts) / sizes


def _mean(runs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Average runs over the steps that all of them reached."""
    last = min(float(x[-1]) for x, _ in runs)
    grid = max((x[x <= last] for x, _ in runs), key=len)
    return grid, np.mean([np.interp(grid, x, y) for x, y in runs], axis=0)


def _memory(value: float) -> str:
    return f"{value / 2**30:.2f} GB"


Kinds = Sequence[tuple[Callable[[Any], float | None], str, Callable[[float], str]]]
"""Kinds of cost: the value of an arm's cost (None where it is not known), the title, the words for a value."""


def training(arms: Sequence[TrainedArm]) -> Kinds:
    """Return the kinds of cost of runs that were trained."""
    modality = leading(arm.cost.passes for arm in arms)
    gaps = any(arm.cost.left_out for arm in arms)
    fused = any(PAIR_PASSES in arm.cost.passes for arm in arms)
    return (
        (lambda cost: cost.rows if gaps else None, "rows trained on", count),
        (lambda cost: cost.seconds, "training time of a run", duration),
        (lambda cost: cost.waiting_seconds, "of it, waiting for data", duration),
        (
            lambda cost: cost.passes.get(modality, 0),
            f"{MODALITIES.get(modality).noun} through the {modality} tower",
            count,
        ),
        (
            lambda cost: cost.passes.get(PAIR_PASSES, 0) if fused else None,
            "pairs through the joint encoder",
            count,
        ),
        (lambda cost: cost.peak_memory_bytes, "peak memory", _memory),
        (lambda cost: cost.trained_parameters, "trained parameters", count),
    )


def costs(arms: Sequence[ArmSummary], kinds: Kinds) -> list[dict[str, Any]]:
    """Lay out a set of bars for each kind of cost that is known of every arm."""
    panels = []
    for value_of, title, wording in kinds:
        values = {arm.name: value for arm in arms if (value := value_of(arm.cost)) is not None}
        if len(values) < len(arms):
            continue
        most = max(values.values()) or 1
        rows = [
            {"arm": arm, "width": round(100 * value / most, 2), "text": wording(value)}
            for arm, value in values.items()
        ]
        panels.append({"title": title, "rows": rows})
    return panels
