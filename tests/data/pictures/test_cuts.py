"""Points of pictures that are not square, carried through the cut to the square of a tower and into its views."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from counterpoint.data.base import Data
from counterpoint.data.derived.mixed import MixedData
from counterpoint.data.pictures import cache as picture_cache
from counterpoint.data.pictures.decode import DecodedSquare, cut_of, decode_sized
from counterpoint.data.pictures.squares import DecodedPictures
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.sharded.indexing import index
from counterpoint.data.source import load_any
from counterpoint.frames import Frames, of_boxes, to_view
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes import Recipe, override
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from counterpoint.types import Batch, Fit
from fixtures import pictures as made
from fixtures.shards import add
from fixtures.tiny import TinyData

SHAPES = {"1:1": (96, 96), "4:3": (128, 96), "3:2": (144, 96), "16:9": (176, 99), "2:3": (96, 144)}
"""Width and height by the name of the ratio."""
FITS: dict[str, int | Fit] = {
    "square": 48,
    "shortest": Fit(48, 48),
    "cut": Fit(48, 56),
    "longest": Fit(48, 48, "longest"),
    "squash": Fit(48, 48, "squash"),
}
SIDE = 48


def dot(width: int, height: int, x: float, y: float) -> Image.Image:
    """Draw a soft white dot on black at (x, y) in shares of the sides."""
    across = (np.arange(width) + 0.5 - x * width)[None] ** 2
    down = (np.arange(height) + 0.5 - y * height)[:, None] ** 2
    grey = 255 * np.exp(-(across + down) / 18)
    return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")


def centre(picture: Tensor) -> Tensor:
    """Return the centre of brightness of a picture ``(3, s, s)``, in shares of its sides."""
    light, side = picture.double().mean(0), picture.shape[-1]
    places = (torch.arange(side) + 0.5) / side
    return torch.stack([(light.sum(0) * places).sum(), (light.sum(1) * places).sum()]) / light.sum()


@pytest.mark.parametrize("form", FITS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "orientation"), [("PNG", 1), ("JPEG", 6), ("TIFF", 8), ("WEBP", 5)])
def test_a_point_is_where_the_cut_of_a_form_puts_it(
    form: str, shape: str, kind: str, orientation: int
) -> None:
    (width, height), point = SHAPES[shape], (0.4, 0.55)
    data = made.turned(dot(width, height, *point), kind, orientation)
    pixels, *size = decode_sized(data, FITS[form])
    assert size == [height, width]
    (where,), _ = to_view(of_boxes(torch.tensor([cut_of(FITS[form], height, width)])), torch.tensor([point]))
    torch.testing.assert_close(
        where.double(), centre(torch.from_numpy(pixels.copy())), atol=0.25 / SIDE, rtol=0
    )


def test_size_is_of_file_and_not_of_smaller_picture_was_decoded() -> None:
    data = made.saved(Image.new("RGB", (1001, 667)), "JPEG")
    assert decode_sized(data, 24)[1:] == (667, 1001)


ROWS = 120


def points(rng: np.random.Generator) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in rng.random((ROWS, 2)) * 0.96 + 0.02]


def table(folder: Path, width: int, height: int) -> str:
    lines = ["image,thing,click,split"]
    for row, (x, y) in enumerate(points(np.random.default_rng(0))):
        dot(width, height, x, y).save(folder / f"{row}.png")
        side = "train" if row < 96 else "validation" if row < 108 else "test"
        lines.append(f'{row}.png,{"ab"[row % 2]},"[{x}, {y}]",{side}')
    (folder / "t.csv").write_text("\n".join(lines))
    return str(folder / "t.csv")


def shards(folder: Path, width: int, height: int) -> str:
    (folder / "shards").mkdir()
    for row, (x, y) in enumerate(points(np.random.default_rng(0))):
        values = {"thing": "ab"[row % 2], "click": [x, y]}
        file = made.saved(dot(width, height, x, y), "PNG")
        with tarfile.open(folder / "shards" / f"{row // 10:05}.tar", "a") as archive:
            add(archive, {f"{row:05}.png": file, f"{row:05}.json": json.dumps(values).encode()})
    index(folder / "shards", folder / "index", jobs=1)
    return str(folder / "index")


def first_batch(source: str, data: Data, recipe: Recipe) -> Batch:
    changes = {"batch_size": 64, "steps": 1, "towers.image_size": SIDE}
    _, loader = prepare(Run("luab", source, override(recipe, changes), labels="thing"), data)
    return loader.batch(0)


def check(views: Tensor, frames: Frames, clicks: Tensor) -> int:
    """Check that clicks are where the dots of their views are; return how many are not in their view."""
    where, inside = to_view(frames, clicks)
    # A dot that is cut has another centre.
    whole = ((where > 0.15) & (where < 0.85)).all(1)
    assert whole.sum() > 4
    for view, point in zip(views[whole], where[whole], strict=True):
        assert ((centre(view).float() - point).abs() < 0.5 / SIDE).all()
    # The brightest pixel of a dot is 1.
    for view in views[~inside & ~((where > -0.05) & (where < 1.05)).all(1)]:
        assert view.max() < 0.9
    for view in views[inside & ((where > 0.03) & (where < 0.97)).all(1)]:
        assert view.max() > 0.6
    return int((~inside).sum())


@pytest.mark.parametrize("container", [table, shards])
@pytest.mark.parametrize("shape", SHAPES)
def test_clicks_are_where_the_dots_of_the_views_are(
    container: type, shape: str, tmp_path: Path, recipe: Recipe
) -> None:
    source = container(tmp_path, *SHAPES[shape])
    data = load_any(source)
    assert isinstance(data, ShardedData) == (container is shards)
    batch = first_batch(source, data, recipe)
    check(batch["image"], batch.frames["image"], batch.labels["click"])


@pytest.mark.parametrize("container", [table, shards])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", [it for it in FITS if it != "square"])
def test_frames_follow_the_fit_of_a_tower(form: str, training: bool, container: type, tmp_path: Path) -> None:
    fit = FITS[form]
    assert isinstance(fit, Fit)
    source = container(tmp_path, *SHAPES["16:9"])
    data = load_any(source).suited({"image": Square(SIDE, fit)}, training=training)
    rows = np.concatenate([data.splits.train[:20], *data.splits.test.values()])
    squares = data.read_training("image", rows).float() / 255
    clicks = data.label("click", "points").tensor(rows)
    outside = check(squares, data.cuts("image", rows), clicks)
    assert (outside > 0) == (fit.resize == "shortest"), "the others cut nothing off"


def test_frames_need_no_file_whose_picture_kept_read_those_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = table(tmp_path, 144, 96)
    kept = load_any(source)
    frames = kept.cuts("image", np.arange(ROWS))
    torch.testing.assert_close(frames[0], torch.tensor([[2 / 3, 0.0, 1 / 6], [0.0, 1.0, 0.0]]))
    monkeypatch.setattr(picture_cache, "most_bytes", lambda: 0)
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    decoded_anew = load_any(source)
    assert decoded_anew.cuts("image", np.arange(ROWS)).equal(frames)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert kept.cuts("image", np.arange(ROWS)).equal(frames)


def test_mixed_data_has_the_frames_of_its_parts(tmp_path: Path) -> None:
    data = MixedData([load_any(table(tmp_path, 144, 96)), TinyData()], shares=[0.5, 0.5])
    frames = data.cuts("image", np.array([ROWS + 1, 0, ROWS]))
    assert frames[0].equal(torch.eye(2, 3))
    assert frames[2].equal(torch.eye(2, 3))
    torch.testing.assert_close(frames[1], torch.tensor([[2 / 3, 0.0, 1 / 6], [0.0, 1.0, 0.0]]))


def test_a_decoded_picture_is_packed_without_its_size() -> None:
    pixels = np.full((3, 4, 4), 7, np.uint8)
    pictures = DecodedPictures((), 4)
    assert pictures.pack([DecodedSquare(pixels, 8, 4)]).tolist() == [pixels.tolist()]
    torch.testing.assert_close(
        pictures.cuts_of([DecodedSquare(pixels, 8, 4)])[0], torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.25]])
    )
    assert pictures.cuts(np.array([-1]))[0].equal(torch.eye(2, 3))
