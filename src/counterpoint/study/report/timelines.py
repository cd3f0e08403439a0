"""Timelines for the report: for the same few queries the true moments and what every arm found, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...diagnostics import plots
from ...types import FoundMoments
from ..moments import FILE, read
from ..schema import TrainingSummary
from .examples import finished_runs

SPANS = 2
"""Spans of an arm that are drawn, those of highest score."""


def timelines(folder: Path, summary: TrainingSummary) -> dict[str, Any]:
    """Return the queries with a figure each, for every test set of which an arm found moments, and the runs' seed."""
    seed, runs = finished_runs(folder, summary, FILE)
    by_test: dict[str, dict[str, FoundMoments]] = {}
    for arm, path in runs.items():
        for test, moments in read(path).items():
            by_test.setdefault(test, {})[arm] = moments
    order = [arm.name for arm in summary.arms]
    figures = {
        test: [
            (query, plots.svg(figure(arms, k, order), f"moments-{number}-{k}"))
            for k, query in enumerate(next(iter(arms.values())).queries)
        ]
        for number, (test, arms) in enumerate(by_test.items())
    }
    return {"seed": seed, "figures": figures}


def figure(arms: Mapping[str, FoundMoments], row: int, order: list[str] | None = None) -> Figure:
    """Draw one query: the true spans and saliency, and those of each arm below, over the length of the clip.

    Args:
        arms: what each found; all of the same clips.
        row: of the query.
        order: of all arms of the study, by which they have their colours.
    """
    order = list(arms) if order is None else order
    lines = ["truth", *arms]
    first = next(iter(arms.values()))
    with mpl.rc_context(plots.STYLE):
        drawn = Figure(figsize=(5.6, 0.35 + 0.5 * len(lines)), layout="constrained")
        grid: list[Axes] = drawn.subplots(len(lines), 1, squeeze=False, sharex=True)[:, 0].tolist()
        _draw(grid[0], first.true_spans[row], first.true_saliency[row], plots.INK)
        for axes, (arm, moments) in zip(grid[1:], arms.items(), strict=True):
            spans = moments.spans[row]
            best = np.argsort(-np.nan_to_num(spans[:, 2], nan=-np.inf), kind="stable")[:SPANS]
            colour = plots.COLOURS[order.index(arm) % len(plots.COLOURS)]
            _draw(axes, spans[best, :2], moments.saliency[row], colour)
        for axes, name in zip(grid, lines, strict=True):
            axes.set(xlim=(0, 1), ylim=(-0.35, 1.05), yticks=[])
            axes.set_ylabel(name, rotation=0, ha="right", va="center")
            axes.tick_params(length=0)
            axes.spines["left"].set_visible(False)
        grid[-1].set(xticks=[0, 0.5, 1], xticklabels=["start", "middle", "end"])
    return drawn


def _draw(
    axes: Axes, spans: Float[np.ndarray, "n 2"], saliency: Float[np.ndarray, " L"], colour: str
) -> None:
    """Draw spans as bars, the first the strongest, and saliency as steps from its lowest value to its highest."""
    for number, (start, end) in enumerate(spans[~np.isnan(spans).any(1)].tolist()):
        # Bars of the truth are alike; those of an arm are the fainter the lower their score.
        alpha = 1.0 if colour == plots.INK else 1 / (1 + number)
        axes.barh(-0.2, end - start, 0.2, left=start, color=colour, alpha=alpha, linewidth=0)
    known = saliency[: int(np.max(np.flatnonzero(~np.isnan(saliency)), initial=-1)) + 1]
    if not len(known):
        return
    spread = np.nanmax(known) - np.nanmin(known)
    scaled = (known - np.nanmin(known)) / (spread if spread > 0 else 1.0)
    axes.stairs(scaled, np.linspace(0, 1, len(known) + 1), color=colour, linewidth=1.5, baseline=None)
