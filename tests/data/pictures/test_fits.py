"""A tower with weights sees, through any data set of files, what its own library's transform makes of a picture."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import polars as pl
import pytest
import timm
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pillow
from torch import Tensor

from counterpoint.data import load
from counterpoint.data.items import Regions
from counterpoint.data.pictured import PairedData
from counterpoint.data.pictures import single
from counterpoint.networks import ImageTower, build_towers
from counterpoint.networks.towers.parts.pixels import Square, fitted
from counterpoint.recipes import Recipe, override
from counterpoint.recipes.schema import Towers
from counterpoint.study.training import runner
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.types import Fit
from fixtures.files import write_pairs
from fixtures.open_clip import CONFIG

SHAPES = ((45, 80), (80, 45), (33, 32), (20, 27), (300, 171), (64, 64))
ROWS = np.arange(len(SHAPES))
PICTURES = {"image": "image"}
TIMM = "test_vit.r160_in1k"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny pairs; the first of their pictures are noise of several shapes, so that every pixel tells."""
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    written = write_pairs(tmp_path / "pairs")
    rng = np.random.default_rng(0)
    for name, shape in zip(pl.read_csv(written)["file_name"], SHAPES, strict=False):
        Pillow.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(written.parent / name)
    return written


def folder(table: Path) -> str:
    return str(table.parent)


def parquet(table: Path) -> str:
    rows = pl.read_csv(table)
    columns = {name: rows[name].to_list() for name in ("text", "split")}
    columns["image"] = [str(table.parent / name) for name in rows["file_name"]]
    kinds = Features({"text": Value("string"), "split": Value("string"), "image": Image()})
    path = table.parent.with_name("pairs.parquet")
    Dataset.from_dict(columns, features=kinds).to_parquet(str(path))
    return str(path)


def shards(table: Path) -> str:
    path = table.parent.with_name("shards")
    path.mkdir()
    rows = pl.read_csv(table)
    for split in ("train", "validation", "test"):
        with tarfile.open(path / f"{split}-000.tar", "w") as tar:
            for name, text in rows.filter(pl.col("split") == split).select("file_name", "text").iter_rows():
                tar.add(table.parent / name, f"{int(name[:-4]):03d}.png")
                caption = table.parent / f"{name}.txt"
                caption.write_text(text)
                tar.add(caption, f"{int(name[:-4]):03d}.txt")
    return str(path)


def open_clip_tower(
    where: Path, mode: str, interpolation: str
) -> tuple[str, Callable[[Pillow.Image], Tensor]]:
    where.mkdir()
    preprocessing = {"resize_mode": mode, "interpolation": interpolation, "fill_color": 200}
    (where / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": CONFIG, "preprocess_cfg": preprocessing})
    )
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{where}")
    torch.save(model.state_dict(), where / "open_clip_pytorch_model.bin")
    return f"open_clip:tiny@{where}", transform


def given_to(tower: ImageTower, data: PairedData) -> Tensor:
    """The input of the tower's first layer when the tower is evaluated on the first rows."""
    pictures = data.suited({"image": tower.input}).images(ROWS)
    return tower.normalise(tower.input(pictures))  # type: ignore[operator]


def expected(table: Path, transform: Callable[[Pillow.Image], Tensor]) -> Tensor:
    names = pl.read_csv(table)["file_name"].to_list()[: len(SHAPES)]
    return torch.stack([transform(Pillow.open(table.parent / name).convert("RGB")) for name in names])


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_those_of_open_clip(table: Path, tmp_path: Path, mode: str, interpolation: str) -> None:
    name, transform = open_clip_tower(tmp_path / "tower", mode, interpolation)
    tower = build_towers(Towers(image=name), {}, 0, columns=PICTURES)["image"]
    torch.testing.assert_close(given_to(tower, load(folder(table))), expected(table, transform))


@pytest.mark.parametrize("source", [parquet, shards])
def test_pixels_are_the_same_from_tables_and_shards(
    table: Path, tmp_path: Path, source: Callable[[Path], str]
) -> None:
    name, transform = open_clip_tower(tmp_path / "tower", "squash", "bilinear")
    tower = build_towers(Towers(image=name), {}, 0, columns=PICTURES)["image"]
    data = load(source(table))
    pictures = tower.normalise(tower.input(data.suited({"image": tower.input}).images(np.arange(len(data)))))
    for want in expected(table, transform):
        assert min(float((own - want).abs().max()) for own in pictures) < 1e-6


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize(("crop", "interpolation"), [(0.875, "bicubic"), (1.0, "bilinear"), (0.9, "lanczos")])
def test_pixels_are_those_of_timm(
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    crop: float,
    interpolation: str,
) -> None:
    model = timm.create_model(TIMM, num_classes=0)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    data = timm.data.resolve_model_data_config(model)
    data |= {"crop_pct": crop, "crop_mode": mode, "interpolation": interpolation}
    monkeypatch.setattr(timm.data, "resolve_model_data_config", lambda model: data)
    transform = timm.data.create_transform(**data, is_training=False)
    tower = build_towers(
        Towers(image=f"timm:{TIMM}@{tmp_path / 'w.pth'}"), {}, 0, columns={"image": "image"}
    )["image"]
    assert tower.size == 160
    torch.testing.assert_close(given_to(tower, load(folder(table))), expected(table, transform))


def test_a_tower_without_weights_has_no_way_of_its_own() -> None:
    assert (
        build_towers(Towers(image=f"timm:{TIMM}", image_size=32), {}, 0, columns={"image": "image"})[
            "image"
        ].fit
        is None
    )
    assert build_towers(Towers(), {}, 0, columns=PICTURES)["image"].fit is None


def test_each_arm_trains_and_is_scored_on_pictures_made_in_way(
    table: Path, tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outer quarters of every picture are red; who looks at the central square alone never sees them."""
    for name in pl.read_csv(table)["file_name"]:
        picture = np.zeros((45, 90, 3), np.uint8)
        picture[:, :22, 0] = picture[:, -22:, 0] = 255
        Pillow.fromarray(picture).save(table.parent / name)
    name, _ = open_clip_tower(tmp_path / "tower", "squash", "bicubic")
    small = override(recipe, {"batch_size": 6, "steps": 1})
    seen = {}
    for arm in (name, "clip"):
        method, loader = prepare(Run(arm, folder(table), small), load(folder(table)))
        views = [view for view, each in method.views.items() if each.modality == "image"]
        red = torch.cat([loader.batch(0)[view][:, 0] for view in views]).mean()
        scored: list[PairedData] = []
        with monkeypatch.context() as patched:
            patched.setattr(runner, "validation_numbers", lambda method, data: scored.append(data) or {})  # noqa: B023
            patched.setattr(runner, "score", lambda method, data, folder, tasks: scored.append(data))  # noqa: B023
            runner.run(Run(arm, folder(table), small), tmp_path / ("run" + arm[:4]))
        shares = [float((data.images(ROWS)[:, 0] > 127).float().mean()) for data in scored]
        seen[arm] = (float(red) > 0.2, [share > 0.4 for share in shares])
    assert seen == {name: (True, [True, True]), "clip": (False, [False, False])}


def test_masks_lie_where_their_pictures_do(tmp_path: Path) -> None:
    """A white rectangle and its polygon, in every way to a square."""
    picture = np.zeros((40, 90, 3), np.uint8)
    picture[10:30, 5:25] = 255
    Pillow.fromarray(picture).save(tmp_path / "one.png")
    box = [5, 10, 24, 10, 24, 29, 5, 29]
    (tmp_path / "captions_x.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "one.png"}],
                "annotations": [{"image_id": 1, "caption": "a square"}],
            }
        )
    )
    (tmp_path / "instances_x.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "width": 90, "height": 40}],
                "categories": [{"id": 1, "name": "square"}],
                "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [box]}],
            }
        )
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "one.png").rename(tmp_path / "images" / "one.png")
    data = load(f"coco:{tmp_path}")
    rows = np.arange(1)
    for fit in (Fit(32, 32, "squash"), Fit(32, 32, "longest", fill=(0, 0, 0)), Fit(28, 32)):
        items = data.fitted(fit).items(Regions, rows)
        mask, white = items.masks(rows), items.pictures(rows).float().mean(1) > 127
        assert mask.shape == white.shape
        assert (mask != white).float().mean() < 0.02


def test_the_middle_alone_of_a_very_narrow_picture_is_resized() -> None:
    shades = np.repeat(np.array([[[10, 200, 90]]], np.uint8), 300_000, 1)
    for narrow in (shades, shades.transpose(1, 0, 2)):
        made = single.raw_pictures([Pillow.fromarray(narrow)], Square(32))
        assert made.shape == (1, 3, 32, 32)
        assert (made == torch.tensor([10, 200, 90], dtype=torch.uint8).view(1, 3, 1, 1)).all()


def test_a_picture_is_cut_and_padded_like_a_square_of_it() -> None:
    """On a picture that was resized before, ``prepare`` does the cut alone."""
    whole = torch.arange(3 * 32 * 32, dtype=torch.int64).remainder(251).to(torch.uint8).view(1, 3, 32, 32)
    middle = fitted(whole, Fit(28, 32, "squash"))
    assert torch.equal((middle * 255).round().byte(), whole[..., 2:30, 2:30])
