"""Embeddings of a model beside those of its export, on the same files and texts."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..data.pictures.decode import decode, whole
from ..methods.tower_method import TowerMethod
from ..modalities import MODALITIES, resolve
from ..networks.base import ImageTower
from ..networks.towers.footage import Footage
from ..networks.towers.series import Standardised
from ..networks.towers.sound import Waveform
from ..networks.towers.table import Cells
from ..raw import Clips, Series, Table, Waves
from ..types import Fit
from ._layout import Layout
from ._samples import TEXTS, write_pictures

MOST = 1e-5
"""The largest difference of two numbers of unit-norm embeddings at which they count as the same."""


def differences(model: TowerMethod, layout: Layout, folder: Path) -> dict[str, float]:
    """Return the largest difference between the model's embeddings and those of what a layout wrote, by modality.

    Pictures come from files; each side makes of them what it is shown in its own way.

    Raises:
        ValueError: for a modality that there are no samples of.
    """
    read = layout.read(folder)
    gaps: dict[str, float] = {}
    for modality in layout.modalities(model):
        column = next(name for name in model.embeds if model.tower(name).modality == modality)
        sample = resolve(MODALITIES.get(modality).sample)
        if sample is None:
            raise ValueError(f"there are no samples of the modality {modality!r} to compare embeddings on")
        ours, theirs = sample(model, column)
        with torch.no_grad():
            before = F.normalize(layout.embed(model, column, ours), dim=-1)
            after = F.normalize(read(modality, theirs).detach().float().cpu(), dim=-1)
        gaps[modality] = float((before - after).abs().max()) if before.shape == after.shape else float("inf")
    return gaps


def fit_of(tower: ImageTower) -> Fit:
    """Return the way to the pictures that a tower takes, in an export too: a built-in one's as a library would say it.

    The decoder of this package averages boxes of very large pictures first, which no library does; a tower that was
    trained here sees a step of a pixel's value here and there.
    """
    return tower.fit or Fit(tower.size, tower.size)


def sample_pictures(model: TowerMethod, column: str) -> tuple[Tensor, list[Image.Image]]:
    """Return pictures from files, as the tower and as a library reads them."""
    tower = model.tower(column)
    assert isinstance(tower, ImageTower)
    with tempfile.TemporaryDirectory() as folder:
        files = [file.read_bytes() for file in write_pictures(Path(folder))]
    ours = [torch.from_numpy(decode(file, fit_of(tower)).copy()) for file in files]
    # From its pixels: a picture that was turned keeps the tag by which whoever reads it would turn it again.
    theirs = [Image.fromarray(np.asarray(whole(Image.open(io.BytesIO(file))))) for file in files]
    return torch.stack(ours), theirs


def sample_texts(model: TowerMethod, column: str) -> tuple[list[str], list[str]]:
    """Return texts short and long."""
    return list(TEXTS), list(TEXTS)


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


def uncompared(model: TowerMethod) -> str:
    """Return why an export of a model could not be compared with it, in words; nothing where it can."""
    others = [
        modality for c in model.embeds if MODALITIES.get(modality := model.tower(c).modality).sample is None
    ]
    return (
        f"there are no samples of the modality {others[0]!r} to compare its embeddings on" if others else ""
    )
