"""A picture by itself is shown to a model as a data set of files shows it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from counterpoint.data import load
from counterpoint.data.pictures.single import raw_pictures
from counterpoint.networks.base import Input
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.types import Fit

KINDS = ("wide.png", "high.png", "grey.png", "transparent.png", "turned.jpg", "deep.png", "palette.png")
INPUTS = [
    Square(24),
    Square(24, Fit(24, 27)),
    Square(24, Fit(24, 24, "longest", "bilinear", (9, 9, 9), "torchvision")),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(45, 80, 3)).save(path / "wide.png")
    Image.fromarray(noise(171, 60, 3)).save(path / "high.png")
    Image.fromarray(noise(50, 61)).save(path / "grey.png")
    Image.fromarray(noise(41, 40, 4)).save(path / "transparent.png")
    Image.fromarray(noise(450, 800, 3)).save(path / "turned.jpg", exif=turned)
    Image.fromarray(rng.integers(0, 2**16, (40, 70), dtype=np.uint16)).save(path / "deep.png")
    Image.fromarray(noise(40, 52, 3)).quantize(16).save(path / "palette.png")
    pl.DataFrame({"file_name": KINDS, "text": [f"the {name}" for name in KINDS]}).write_csv(
        path / "metadata.csv"
    )
    return path


@pytest.mark.parametrize("shown", INPUTS, ids=["square", "shortest", "longest"])
def test_a_file_is_shown_as_the_data_set_shows_it(
    shown: Input, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    data = load(str(folder)).suited({"image": shown})
    raw = raw_pictures([(folder / name).read_bytes() for name in KINDS], shown)
    assert torch.equal(raw, data.images(np.arange(len(data))))


def test_an_opened_picture_is_shown_as_its_file(folder: Path) -> None:
    data = (folder / "transparent.png").read_bytes()
    for shown in INPUTS:
        assert torch.equal(raw_pictures([Image.open(io.BytesIO(data))], shown), raw_pictures([data], shown))


def test_no_picture() -> None:
    with pytest.raises(OSError, match="not a picture of a kind that is read"):
        raw_pictures([b"no picture"], INPUTS[0])
