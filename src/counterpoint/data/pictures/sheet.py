"""A sheet of examples, to look at."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from ...files import writing
from ...modalities import MODALITIES, resolve
from ...networks.towers.footage import centres
from ...raw import Clips, Series, Table, Waves

COLUMNS = 8
_FRAMES = 4  # of a clip that are shown
_LINES = 12  # columns of a table that are shown


Part = tuple[str, Sequence[tuple[str, Any]]]
"""A line's title, and its examples column by column: a modality and the raw form."""


def contact_sheet(parts: Sequence[Part], path: Path, note: str = "") -> Path:
    """Draw lines of at most `COLUMNS` examples, all columns of an example on one axis, as a PNG; a note below them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 * COLUMNS, 2.0 * len(parts)), layout="constrained")
    axes = figure.subplots(len(parts), COLUMNS, squeeze=False)
    for line, (title, columns) in zip(axes, parts, strict=True):
        for axis in line:
            axis.set_axis_off()
        for modality, raw in columns:
            if (draw := MODALITIES.get(modality).draw) is not None:
                for axis, example in zip(line, raw, strict=False):
                    resolve(draw)(axis, example)
        line[0].text(
            -0.1, 0.5, title, transform=line[0].transAxes, rotation=90, va="center", ha="right", fontsize=8
        )
    if note:
        figure.supxlabel(textwrap.fill(note, 30 * COLUMNS), fontsize=6)
    with writing(path) as part:
        figure.savefig(part, format="png", dpi=110)
    return path


def draw_picture(axis: Any, picture: UInt8[Tensor, "3 H W"]) -> None:
    """Draw a picture on an axis."""
    axis.imshow(picture.permute(1, 2, 0).numpy())


def store_picture(picture: UInt8[Tensor, "1 3 H W"]) -> tuple[str, bytes]:
    """Return one picture as a PNG file, with its kind."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture[0].permute(1, 2, 0).numpy()).save(file, "PNG")
    return "png", file.getvalue()


def draw_sound(axis: Any, sound: Waves) -> None:
    """Draw the spectrogram of one sound on an axis: time to the right, mel bands upwards."""
    from ...networks.towers.sound import LogMel

    samples = sound.samples[:, : int(sound.lengths)].nan_to_num(0.0)
    axis.imshow(
        LogMel(sound.rate, bands=min(32, sound.rate // 250))(samples)[0].T.numpy(),
        aspect="auto",
        origin="lower",
    )


def draw_clip(axis: Any, clip: Clips) -> None:
    """Draw frames of one clip in a row on an axis, evenly spread."""
    length = max(int(clip.lengths), 1)
    frames = clip.frames[0, centres(length, min(length, _FRAMES))]
    draw_picture(axis, torch.cat(list(frames), 2))


def draw_series(axis: Any, series: Series) -> None:
    """Draw the channels of one series on an axis, a line each, with gaps where nothing was measured."""
    axis.plot(series.measured[0, : int(series.lengths)].numpy(), linewidth=0.7)


def draw_cells(axis: Any, row: Table) -> None:
    """Write the columns of one row of a table and what stands in them on an axis; nothing for what is not known."""
    lines = [f"{name}: {value}" for name, value in row.rows()[0].items()]
    axis.text(0.0, 0.5, "\n".join(lines[:_LINES]), transform=axis.transAxes, va="center", fontsize=6)


def draw_text(axis: Any, text: str) -> None:
    """Write the beginning of a text above an axis."""
    axis.set_title(textwrap.fill(textwrap.shorten(text, 60, placeholder="…"), 20), fontsize=7)
