"""Embeddings of a model beside those of its export, on the same files and texts."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..data.pictures.single import raw_pictures
from ..interop._layout import MOST, Embed, Layout
from ..interop._samples import EXTREME, TEXTS, picture_files
from ..methods.tower_method import TowerMethod
from ..modalities import MODALITIES, resolve
from ..networks.towers.footage import Footage
from ..networks.towers.maps import MapSquare
from ..networks.towers.series import Standardised
from ..networks.towers.sound import Waveform
from ..networks.towers.table import Cells
from ..raw import (
    UNKNOWN,
    Boxes,
    Clips,
    Conversation,
    Exchange,
    Maps,
    Sentence,
    Series,
    Subtitles,
    Table,
    Waves,
)
from ._opening import open_rgb


@dataclass(frozen=True)
class ExportComparison:
    """Largest differences between unit-norm embeddings by a model and by what reads its export.

    Attributes:
        differences: by modality; of pictures, those that `open_rgb` opens.
        extreme: by kind of picture, of `EXTREME`, where they are more than `MOST`.
        opened: by kind of picture, of files that Pillow alone opened, where they are more than `MOST`; infinite where
            the library raises an error.
    """

    differences: Mapping[str, float]
    extreme: Mapping[str, float] = field(default_factory=dict)
    opened: Mapping[str, float] = field(default_factory=dict)


def compare(model: TowerMethod, layout: Layout, folder: Path) -> ExportComparison:
    """Compare a model's embeddings with those of what a layout wrote.

    The model is given the bytes of picture files, as ``embed``, ``search`` and ``serve`` are, and the other library the
    pictures that are opened from them.

    Raises:
        ValueError: for a modality that there are no samples of.
    """
    read = layout.read(folder)
    gaps: dict[str, float] = {}
    extreme: dict[str, float] = {}
    opened: dict[str, float] = {}
    for modality in layout.modalities(model):
        names = [*model.embeds, *model.columns]  # those of conversations, which a model may write alone
        column = next(name for name in names if model.tower(name).modality == modality)
        sample = resolve(MODALITIES.get(modality).sample)
        if sample is None:
            raise ValueError(f"there are no samples of the modality {modality!r} to compare embeddings on")
        ours, theirs = sample(model, column)
        with torch.no_grad():
            expected = F.normalize(layout.embed(model, column, ours), dim=-1)
            if modality == "image":
                each = dict(zip(picture_files(), zip(expected, theirs, strict=True), strict=True))
                extreme = _beyond({kind: each.pop(kind) for kind in EXTREME}, read)
                of_files = {kind: (z, _as_file(kind)) for kind, (z, _) in each.items()}
                opened = _beyond(of_files, read)
                expected, theirs = (
                    torch.stack([z for z, _ in each.values()]),
                    [one for _, one in each.values()],
                )
            gaps[modality] = _apart(expected, read(modality, theirs))
    return ExportComparison(gaps, extreme, opened)


def _apart(expected: Tensor, actual: Tensor) -> float:
    actual = F.normalize(actual.detach().float().cpu(), dim=-1)
    return float((expected - actual).abs().max()) if actual.shape == expected.shape else math.inf


def _beyond(pictures: Mapping[str, tuple[Tensor, Image.Image]], read: Embed) -> dict[str, float]:
    """Return the difference of each kind of picture of which it is more than `MOST`."""
    beyond = {}
    for kind, (expected, picture) in pictures.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # Pillow's, of damaged profiles and large pictures, on samples made here
                difference = _apart(expected[None], read("image", [picture]))
        except Exception:  # whatever a library raises for a kind of picture that it does not take
            difference = math.inf
        if not difference <= MOST:
            beyond[kind] = difference
    return beyond


def _as_file(kind: str) -> Image.Image:
    return Image.open(io.BytesIO(picture_files()[kind]))


def sample_pictures(model: TowerMethod, column: str) -> tuple[Tensor, list[Image.Image]]:
    """Return pictures from files, as the tower takes them and as the card of an export opens them."""
    files = list(picture_files().values())
    return raw_pictures(files, model.inputs[column]), [open_rgb(io.BytesIO(file)) for file in files]


def sample_texts(model: TowerMethod, column: str) -> tuple[list[str], list[str]]:
    """Return texts short and long."""
    return list(TEXTS), list(TEXTS)


def sample_conversations(model: TowerMethod, column: str) -> tuple[list[Conversation], list[Conversation]]:
    """Return conversations of one exchange and of two."""
    pairs = [Exchange(text, other) for text, other in zip(TEXTS, reversed(TEXTS), strict=True)]
    rows: list[Conversation] = [(pair,) for pair in pairs] + [tuple(pairs[:2])]
    return rows, rows


def sample_transcripts(model: TowerMethod, column: str) -> tuple[list[Subtitles], list[Subtitles]]:
    """Return transcripts of one sentence, of several and of none."""
    sentences = tuple(Sentence(start, start + 1.0, text) for start, text in enumerate(TEXTS))
    rows = [Subtitles((it,), len(TEXTS)) for it in sentences] + [Subtitles(sentences, len(TEXTS))]
    rows.append(Subtitles((), 1.0))
    return rows, rows


def sample_sounds(model: TowerMethod, column: str) -> tuple[Waves, Waves]:
    """Return sounds shorter and longer than what the tower hears, and one sample alone."""
    made = model.tower(column).input
    assert isinstance(made, Waveform)
    rng = np.random.default_rng(0)
    lengths = (1, made.samples // 3 + 1, made.samples, 2 * made.samples)
    waves = Waves.of([rng.normal(0, 0.1, length) for length in lengths], made.rate)
    return waves, waves


def sample_clips(model: TowerMethod, column: str) -> tuple[Clips, Clips]:
    """Return clips shorter and longer than what the tower sees, larger than it takes them."""
    made = model.tower(column).input
    assert isinstance(made, Footage)
    rng = np.random.default_rng(0)
    shape = (3, made.form, made.form)
    lengths = (1, made.frames, 2 * made.frames + 1)
    clips = Clips.of([rng.integers(0, 256, (length, *shape), dtype=np.uint8) for length in lengths])
    return clips, clips


def sample_series(model: TowerMethod, column: str) -> tuple[Series, Series]:
    """Return series shorter and longer than what the tower sees, with gaps."""
    made = model.tower(column).input
    assert isinstance(made, Standardised)
    rng = np.random.default_rng(0)
    samples = []
    means, deviations = made.means or (0.0, 0.0), made.deviations or (1.0, 1.0)
    for length in (1, made.steps // 2 + 1, made.steps + 9):
        values = rng.normal(means, deviations, (length, len(means)))
        values[1:][rng.random((length - 1, len(means))) < 0.1] = np.nan
        samples.append(values)
    series = Series.of(samples, made.channels)
    return series, series


def sample_rows(model: TowerMethod, column: str) -> tuple[Table, Table]:
    """Return rows like those that the tower learned from, with gaps."""
    made = model.tower(column).input
    assert isinstance(made, Cells)
    rng = np.random.default_rng(0)
    cells = made.drawn(rng.random((9, len(made.cells))))
    cells[torch.from_numpy(rng.random(cells.shape) < 0.1)] = torch.nan
    table = Table(cells.float(), tuple(c.name for c in made.cells), tuple(c.words for c in made.cells))
    return table, table


def sample_maps(model: TowerMethod, column: str) -> tuple[Maps, Maps]:
    """Return maps that are larger than the tower takes them, a tenth of whose pixels is unknown."""
    made = model.tower(column).input
    assert isinstance(made, MapSquare)
    rng = np.random.default_rng(0)
    shape = (5, 2 * made.size, 3 * made.size)
    unknown = rng.random(shape) < 0.1
    if made.classes:
        classes = rng.integers(len(made.classes), size=shape, dtype=np.uint8)
        maps = Maps(torch.from_numpy(np.where(unknown, np.uint8(UNKNOWN), classes)), made.classes)
    else:
        numbers = rng.normal(made.mean, made.deviation, shape).astype(np.float32)
        maps = Maps(torch.from_numpy(np.where(unknown, np.float32(np.nan), numbers)))
    return maps, maps


def sample_boxes(model: TowerMethod, column: str) -> tuple[Boxes, Boxes]:
    """Return boxes of pictures with none, one and several."""
    rng = np.random.default_rng(0)
    boxes = Boxes.of([np.sort(rng.random((count, 2, 2)), 1).reshape(count, 4) for count in (0, 1, 5)])
    return boxes, boxes
