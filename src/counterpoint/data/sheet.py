"""A sheet of pictures with their captions, to look at."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from ..files import writing
from .base import PairedData

_COLUMNS = 8


def contact_sheet(data: PairedData, path: Path) -> Path:
    """Two rows of training examples and one of every test set, spread evenly over each, as a PNG."""
    from matplotlib.figure import Figure

    rows = [("train", part) for part in np.array_split(_spread(data.splits.train, 2 * _COLUMNS), 2)]
    rows += [(f"test: {name}", _spread(part, _COLUMNS)) for name, part in data.splits.test.items()]
    figure = Figure(figsize=(1.5 * _COLUMNS, 2.0 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), _COLUMNS, squeeze=False)
    for line, (title, chosen) in zip(axes, rows, strict=True):
        for axis in line:
            axis.set_axis_off()
        pictures = data.images(chosen).permute(0, 2, 3, 1).numpy()
        for axis, row, picture in zip(line, chosen, pictures, strict=False):
            axis.imshow(picture)
            caption = textwrap.shorten(data.captions(int(row))[0], 60, placeholder="…")
            axis.set_title(textwrap.fill(caption, 20), fontsize=7)
        line[0].text(
            -0.1, 0.5, title, transform=line[0].transAxes, rotation=90, va="center", ha="right", fontsize=8
        )
    if data.attribution:
        figure.supxlabel(textwrap.fill(data.attribution, 30 * _COLUMNS), fontsize=6)
    with writing(path) as part:
        figure.savefig(part, format="png", dpi=110)
    return path


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    chosen: np.ndarray = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]
    return chosen
