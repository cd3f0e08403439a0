"""Class maps for the report: for the same few pictures the truth and what every arm made of them, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from ...diagnostics import plots
from ...types import LabelMaps
from ..label_maps import FILE, read
from ..schema import TrainingSummary
from .examples import finished_runs


def label_maps(folder: Path, summary: TrainingSummary) -> dict[str, Any]:
    """Return a figure for every test set of which an arm has maps, and the seed of the runs."""
    seed, runs = finished_runs(folder, summary, FILE)
    by_test: dict[str, dict[str, LabelMaps]] = {}
    for arm, path in runs.items():
        for test, maps in read(path).items():
            by_test.setdefault(test, {})[arm] = maps
    figures = {test: plots.svg(figure(arms), f"maps-{k}") for k, (test, arms) in enumerate(by_test.items())}
    return {"seed": seed, "figures": figures}


def figure(arms: Mapping[str, LabelMaps]) -> Figure:
    """Draw pictures in rows: the picture, the truth, and what each arm predicts; a legend names the classes.

    Args:
        arms: the maps of each arm; all of the same pictures.
    """
    names = list(dict.fromkeys(name for maps in arms.values() for name in maps.names))
    first = next(iter(arms.values()))
    rows = [
        [
            picture.transpose(1, 2, 0),
            _coloured(first.true[k], first.names, names),
            *(_coloured(maps.predicted[k], maps.names, names) for maps in arms.values()),
        ]
        for k, picture in enumerate(first.pictures)
    ]
    drawn = plots.gallery(rows, ["picture", "truth", *arms])
    seen = sorted(
        {
            names.index(maps.names[c])
            for maps in arms.values()
            for c in np.union1d(maps.true, maps.predicted).tolist()
        }
    )
    plots.class_legend(drawn, names, seen, len(arms) + 1)
    return drawn


def _coloured(
    classes: Int[np.ndarray, "S S"], own: tuple[str, ...], names: list[str]
) -> Float[np.ndarray, "S S 3"]:
    """Return a map in the colours of the names that all arms share."""
    number = np.array([names.index(name) for name in own])
    return plots.class_colours(names)[number[classes]]
