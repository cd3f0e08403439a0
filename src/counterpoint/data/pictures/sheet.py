"""A sheet of examples, to look at."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from ...files import writing
from ...modalities import MODALITIES, resolve
from ...networks.towers.footage import centres
from ...pages.sheet import Card, cards, is_page, write_sheet
from ...raw import Boxes, Clips, Conversation, Maps, Series, Subtitles, Table, Waves

COLUMNS = 8
_FRAMES = 4  # of a clip that are shown
_COLOURS = 20  # of classes; more classes share them
_LINES = 12  # columns of a table that are shown


Part = tuple[str, Mapping[str, tuple[str, Sequence[Any]]]]
"""A line's title, and its examples column by column: the modality and each in the raw form, None for a gap."""


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """Choose at most ``count`` rows, spread evenly."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def gapped(examples: Any, present: Bool[np.ndarray, " n"]) -> list[Any]:
    """Return examples in their raw form one by one, None for what is not there."""
    return [example if there else None for example, there in zip(examples, present, strict=True)]


def contact_sheet(name: str, parts: Sequence[Part], path: Path, note: str = "") -> Path:
    """Show lines of at most `COLUMNS` examples, all columns of an example together, and a note below them.

    They are drawn as a PNG, or played on a page, as the ending of the path says; ``name`` is what the page is called.
    """
    return _page(name, parts, path, note) if is_page(path) else _picture(parts, path, note)


def _page(name: str, parts: Sequence[Part], path: Path, note: str) -> Path:
    lines: dict[str, list[Card]] = {}
    for title, columns in parts:  # a page has room for what takes several lines of a picture
        lines.setdefault(title, []).extend(cards(columns))
    return write_sheet(path, name, lines, note, "counterpoint data show")


def _picture(parts: Sequence[Part], path: Path, note: str) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 * COLUMNS, 2.0 * len(parts)), layout="constrained")
    axes = figure.subplots(len(parts), COLUMNS, squeeze=False)
    for line, (title, columns) in zip(axes, parts, strict=True):
        for axis in line:
            axis.set_axis_off()
        for modality, examples in columns.values():
            if (draw := MODALITIES.get(modality).draw) is not None:
                for axis, example in zip(line, examples, strict=False):
                    if example is not None:
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
    """Draw the spectrogram of the first minute of one sound on an axis: time to the right, mel bands upwards."""
    from ...networks.towers.sound import LogMel

    samples = sound.samples[:, : int(sound.lengths)][:, : 60 * sound.rate].nan_to_num(0.0)
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


def draw_map(axis: Any, example: Maps) -> None:
    """Draw one map on an axis, over the picture drawn before: classes as colours, numbers as lines of equal values."""
    pictures = axis.get_images()
    left, right, bottom, top = pictures[0].get_extent() if pictures else (0.0, 1.0, 1.0, 0.0)
    values = np.where(example.known[0], example.pixels[0].numpy().astype(float), np.nan)
    if example.of_classes:
        colours = np.where(np.isnan(values), np.nan, values % _COLOURS)
        extent = (left, right, bottom, top)
        axis.imshow(colours, cmap="tab20", vmin=0, vmax=_COLOURS - 1, alpha=0.5, extent=extent)
        return
    height, width = values.shape
    across = left + (np.arange(width) + 0.5) / width * (right - left)
    down = top + (np.arange(height) + 0.5) / height * (bottom - top)
    if not pictures:
        axis.imshow(values, cmap="Greys", alpha=0.5, extent=(left, right, bottom, top))
    if np.unique(values[~np.isnan(values)]).size > 1:
        axis.contour(across, down, values, levels=4, linewidths=0.7, cmap="viridis")


def draw_boxes(axis: Any, example: Boxes) -> None:
    """Draw the outlines of one picture's boxes on an axis, over the picture drawn before."""
    for left, top, right, bottom in example.corners[0][example.present[0]].tolist():
        x, y = [left, right, right, left, left], [1 - top, 1 - top, 1 - bottom, 1 - bottom, 1 - top]
        axis.plot(x, y, transform=axis.transAxes, color="red", linewidth=0.8)


def draw_cells(axis: Any, row: Table) -> None:
    """Write the columns of one row of a table and what stands in them on an axis; nothing for what is not known."""
    lines = "\n".join(tell_cells(row).splitlines()[:_LINES])
    axis.text(0.0, 0.5, lines, transform=axis.transAxes, va="center", fontsize=6)


def tell_cells(row: Table) -> str:
    """Return the columns of one row of a table and what stands in them, a line each; nothing for what is not known."""
    return "\n".join(f"{name}: {value}" for name, value in row.rows()[0].items())


def draw_text(axis: Any, text: str) -> None:
    """Write the beginning of a text above an axis."""
    axis.set_title(textwrap.fill(textwrap.shorten(text, 60, placeholder="…"), 20), fontsize=7)


def draw_conversation(axis: Any, example: Conversation) -> None:
    """Write the first exchanges of one conversation below an axis."""
    lines = "\n".join(
        textwrap.shorten(line, 40, placeholder="…") for line in tell_conversation(example).split("\n")
    )
    axis.text(0.0, -0.05, "\n".join(lines.split("\n")[:4]), transform=axis.transAxes, va="top", fontsize=5)


def tell_conversation(example: Conversation) -> str:
    """Return the exchanges of one conversation, a line for each request and each reply."""
    return "\n".join(line for request, reply in example for line in (f"> {request}", reply))


def draw_transcript(axis: Any, example: Subtitles) -> None:
    """Write the first sentences of one transcript below an axis."""
    lines = [textwrap.shorten(it.text, 40, placeholder="…") for it in example.sentences[:4]]
    axis.text(0.0, -0.05, "\n".join(lines), transform=axis.transAxes, va="top", fontsize=5)
