"""A sheet of pictures with their captions, to look at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from ..files import writing

COLUMNS = 8


Part = tuple[str, UInt8[Tensor, "_ 3 _ _"], Sequence[str]]
"""A line's title, its pictures and their captions."""


def contact_sheet(parts: Sequence[Part], path: Path, note: str = "") -> Path:
    """Draw lines of at most `COLUMNS` pictures with their captions as a PNG, a note below them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 * COLUMNS, 2.0 * len(parts)), layout="constrained")
    axes = figure.subplots(len(parts), COLUMNS, squeeze=False)
    for line, (title, pictures, captions) in zip(axes, parts, strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, picture, caption in zip(line, pictures.permute(0, 2, 3, 1).numpy(), captions, strict=False):
            axis.imshow(picture)
            axis.set_title(textwrap.fill(textwrap.shorten(caption, 60, placeholder="…"), 20), fontsize=7)
        line[0].text(
            -0.1, 0.5, title, transform=line[0].transAxes, rotation=90, va="center", ha="right", fontsize=8
        )
    if note:
        figure.supxlabel(textwrap.fill(note, 30 * COLUMNS), fontsize=6)
    with writing(path) as part:
        figure.savefig(part, format="png", dpi=110)
    return path
