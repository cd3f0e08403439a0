"""Maps and boxes in users' files: a folder of masks, a column of a table, COCO's instances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from counterpoint.data.base import Data
from counterpoint.data.reading.regions import (
    filled,
    read_boxes,
    read_map,
    run_lengths_of,
    store_boxes,
    store_map,
)
from counterpoint.data.source import load_any
from counterpoint.files import DamagedFileError
from counterpoint.networks.towers.boxes import Corners
from counterpoint.networks.towers.maps import MapSquare
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.raw import UNKNOWN, Boxes, Maps
from counterpoint.types import Fit

N, HEIGHT, WIDTH = 12, 60, 80
ROWS = np.arange(N)
NAMES = ("sky", "sea", "sand")
CLASSES = np.random.default_rng(0).integers(0, 3, (N, 3, 4), np.uint8).repeat(20, 1).repeat(20, 2)


def folder(root: Path, masks: str = "masks") -> Path:
    """Pictures whose red says their class, and a map of each but the last in a folder."""
    (root / masks).mkdir(parents=True)
    for number, classes in enumerate(CLASSES):
        Image.fromarray(np.stack([classes * 100] * 3, -1)).save(root / f"{number:02}.png")
        if number < N - 1:
            Image.fromarray(classes).save(root / masks / f"{number:02}.png")
    (root / masks / "classes.txt").write_text("\n".join(NAMES))
    return root


def assert_alike(data: Data, rows: np.ndarray) -> None:
    """Pictures and maps show the same, but for pixels beside a border."""
    maps, pictures = data.read("map", rows), data.read_training("image", rows)
    assert isinstance(maps, Maps)
    assert maps.pixels.shape == pictures[:, 0].shape
    inside = maps.pixels != UNKNOWN
    same = (pictures[:, 0].float() / 100 - maps.pixels).abs() < 0.1
    assert same[inside].float().mean() > 0.8
    assert torch.equal(data.read_training("map", rows).pixels, maps.pixels)


def test_a_folder_of_masks_is_a_column_of_maps(tmp_path: Path) -> None:
    data = load_any(str(folder(tmp_path)))
    assert dict(data.columns) == {"image": "image", "map": "map"}
    assert data.present("map", ROWS).tolist() == [True] * (N - 1) + [False]
    assert data.read("map", ROWS).classes == NAMES
    assert (data.read("map", ROWS[-1:]).pixels == UNKNOWN).all()
    assert_alike(data, ROWS[:-1])
    assert data.file("map", 0)[0] == "png"


@pytest.mark.parametrize(
    "way", [None, Fit(32, 40), Fit(40, 40, "longest", fill=(9, 9, 9)), Fit(32, 32, "squash")]
)
@pytest.mark.parametrize("training", [True, False])
def test_pictures_and_maps_of_a_row_are_resized_by_one_fit(
    tmp_path: Path, way: Fit | None, training: bool
) -> None:
    data = load_any(str(folder(tmp_path)))
    size = 32 if way is None else way.size
    for inputs in ({"image": Square(size, way)}, {"image": Square(size, way), "map": MapSquare(size, way)}):
        suited = data.suited(inputs, training=training)
        assert_alike(suited, ROWS[:-1])
        frames = [suited.cuts(column, ROWS[:-1]) for column in ("image", "map")]
        torch.testing.assert_close(*frames)


def test_a_folder_that_is_called_masks_may_hold_pictures(tmp_path: Path) -> None:
    for kind in ("masks", "hats"):
        (tmp_path / kind).mkdir()
        for number in range(6):
            pixels = np.full((8, 8, 3), 40 * number + len(kind), np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"{kind}{number}.png")
    data = load_any(str(tmp_path))
    assert (dict(data.columns), len(data)) == ({"image": "image"}, 12)


def table(root: Path) -> Path:
    frame = {"file": [f"{k:02}.png" for k in range(N - 1)], "mask": [f"m/{k:02}.png" for k in range(N - 1)]}
    pl.DataFrame(frame).write_csv(folder(root, "m") / "rows.csv")
    return root / "rows.csv"


def test_a_table_has_a_column_of_maps(tmp_path: Path) -> None:
    data = load_any(f"{table(tmp_path)},columns=image=file+map=mask")
    assert dict(data.columns) == {"image": "image", "map": "map"}
    assert data.read("map", ROWS[:2]).classes == NAMES
    assert_alike(data, ROWS[: N - 1])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: Image.fromarray(CLASSES[3][:50]).save(file), "map of another size than its picture"),
        (lambda file: Image.fromarray(CLASSES[3] + 5).save(file), "broken map"),
        (lambda file: Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(file), "broken map"),
        (lambda file: file.write_bytes(b"torn"), "broken map"),
    ],
)
def test_a_map_that_does_not_fit_is_entered_with_the_reason(tmp_path: Path, spoil: Any, message: str) -> None:
    folder(tmp_path)
    for number in (3, 4):  # one may always be broken
        spoil(tmp_path / "masks" / f"{number:02}.png")
    with pytest.raises(ValueError, match=message):
        load_any(str(tmp_path))


def test_numbers_are_read_and_written(tmp_path: Path) -> None:
    depth = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    name, data = store_map(Maps(torch.from_numpy(depth)[None]))
    assert name == "npy"
    assert np.array_equal(read_map(data).pixels, depth)
    boxes = Boxes.of([np.array([[0.0, 0.0, 0.5, 1.0]])])
    assert read_boxes(store_boxes(boxes)[1]).tolist() == [[0.0, 0.0, 0.5, 1.0]]
    assert read_boxes(store_boxes(Boxes.of([np.zeros((0, 4))]))[1]).shape == (0, 4)


def parquet(root: Path, boxes: list[Any]) -> str:
    folder(root)
    frame = {"file": [f"{k:02}.png" for k in range(N)], "where": boxes}
    pl.DataFrame(frame, strict=False).write_parquet(root / "rows.parquet")
    return f"{root / 'rows.parquet'},columns=image=file+boxes=where"


def test_boxes_of_a_table_lie_in_the_square_that_pictures_are_cut_to(tmp_path: Path) -> None:
    data = load_any(parquet(tmp_path, [[[0.25, 0.0, 0.75, 0.5], [0.0, 0.0, 0.2, 1.0]]] * N))
    boxes = data.read("boxes", ROWS[:2]).corners
    # Of 80 × 60 pixels the middle 60 × 60 are shown: from 1/8 to 7/8 of the width.
    torch.testing.assert_close(boxes[0, 0], torch.tensor([1 / 6, 0.0, 5 / 6, 0.5]))
    assert boxes[0, 1].isnan().all(), "three eighths of it are there"
    whole = data.suited({"image": Square(32, Fit(32, 32, "squash")), "boxes": Corners()})
    torch.testing.assert_close(
        whole.read("boxes", ROWS[:1]).corners[0], torch.tensor([[0.25, 0.0, 0.75, 0.5], [0.0, 0.0, 0.2, 1.0]])
    )


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0.5, 0.0, 0.25, 1.0], "left must be less than right"),
        ([0.5, 0.0, 0.5, 1.0], "left must be less than right"),
        ([0.5, 0.0, 1.5, 1.0], "inside the picture"),
    ],
)
def test_boxes_that_are_none_are_entered(tmp_path: Path, box: list[float], message: str) -> None:
    source = parquet(tmp_path, [[[0.0, 0.0, 1.0, 1.0]]] * (N - 2) + [[box]] * 2)
    with pytest.raises(ValueError, match="broken file"):
        load_any(source)
    with pytest.raises(ValueError, match=message):
        read_boxes(store_boxes(Boxes.of([np.array([box])]))[1])


def test_compressed_run_lengths() -> None:
    mask = np.zeros((7, 9), bool)
    mask[2:5, 1:8] = True
    mask[4, 3:6] = False
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int)])))
    counts = np.diff([0, *changes, flat.size]).tolist()
    text = compressed(counts)
    assert run_lengths_of(text) == counts
    assert np.array_equal(filled({"counts": text}, (9, 7)), mask)
    assert np.array_equal(filled({"counts": counts}, (9, 7)), mask)
    with pytest.raises(ValueError, match="end within a number"):
        run_lengths_of("o")


def compressed(counts: list[int]) -> str:
    """Run lengths as COCO's tools write them, from their description."""
    letters = []
    for position, count in enumerate(counts):
        value = count - counts[position - 2] if position > 2 else count
        while True:
            group, value = value & 31, value >> 5
            done = value == (-1 if group & 16 else 0)
            letters.append(chr(48 + (group if done else group | 32)))
            if done:
                break
    return "".join(letters)


def coco(root: Path) -> Path:
    """Pictures with two instances each, a polygon and compressed run lengths."""
    annotations = []
    (root / "train2014").mkdir(parents=True)
    for number in range(N):
        Image.fromarray(np.full((20, 30, 3), number * 9, np.uint8)).save(root / "train2014" / f"{number}.png")
        square = {"segmentation": [[3, 2, 12, 2, 12, 9, 3, 9]], "bbox": [3, 2, 10, 8], "category_id": 7}
        counts = compressed([0, 20 * 30])
        everywhere = {"segmentation": {"counts": counts, "size": [20, 30]}, "bbox": [0, 0, 30.4, 20]}
        annotations += [{"image_id": number, **square}, {"image_id": number, "category_id": 3, **everywhere}]
    content = {
        "images": [{"id": k, "file_name": f"{k}.png", "height": 20, "width": 30} for k in range(N)],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "grass"}],
    }
    (root / "annotations").mkdir()
    file = root / "annotations" / "instances_train2014.json"
    file.write_text(json.dumps(content))
    return file


def test_instances_of_coco_are_maps_and_boxes(tmp_path: Path) -> None:
    data = load_any(f"coco:{coco(tmp_path)}")
    assert dict(data.columns) == {"image": "image", "map": "map", "boxes": "boxes"}
    whole = data.suited({"image": Square(60, Fit(60, 60, "squash"))})
    maps = whole.read("map", ROWS)
    assert maps.classes == ("background", "grass", "cat")
    assert maps.pixels.shape == (N, 60, 60)
    x, y = torch.meshgrid(torch.arange(60) / 2, torch.arange(60) / 3, indexing="xy")
    inside = (x > 4) & (x < 12) & (y > 3) & (y < 9)
    assert (maps.pixels[0][inside] == 2).all(), "the smaller one lies over the larger one"
    assert maps.pixels[0][(x < 2) | (x > 14) | (y > 11)].unique().tolist() == [1]
    expected = torch.tensor([[0.1, 0.1, 13 / 30, 0.5], [0.0, 0.0, 1.0, 1.0]])
    torch.testing.assert_close(whole.read("boxes", ROWS[:1]).corners[0], expected)
    assert data.labels["objects"].names == ("cat", "grass")


def test_a_torn_file_of_coco_is_refused(tmp_path: Path) -> None:
    file = coco(tmp_path)
    file.write_text(file.read_text()[:-30])
    with pytest.raises(DamagedFileError, match="instances_train2014"):
        load_any(f"coco:{file}")


def captioned(root: Path, form: str) -> str:
    """Return the folder or file of captions of the pictures of `coco`."""
    coco(root)
    (root / "val2014").symlink_to(root / "train2014")
    sentences = {k: f"a square {k}" for k in range(N)}
    folder = root / "annotations"
    if form == "karpathy":
        images = [
            {
                "filepath": "train2014",
                "filename": f"{k}.png",
                "split": "train",
                "cocoid": k,
                "sentences": [{"raw": it}],
            }
            for k, it in sentences.items()
        ]
        (folder / "dataset_coco.json").write_text(json.dumps({"images": images}))
        return f"coco:{root}"
    said = json.loads((folder / "instances_train2014.json").read_text())
    for split, own in {"train2014": range(8), "val2014": range(8, N)}.items():
        images = [image for image in said["images"] if image["id"] in own]
        annotations = [it for it in said["annotations"] if it["image_id"] in own]
        captions = [{"image_id": k, "caption": sentences[k]} for k in own]
        parts = {"instances": {**said, "images": images, "annotations": annotations}}
        parts["captions"] = {"images": images, "annotations": captions}
        for kind, content in parts.items():
            (folder / f"{kind}_{split}.json").write_text(json.dumps(content))
    return f"coco:{root}"


@pytest.mark.parametrize("form", ["karpathy", "published"])
def test_captions_of_coco_have_the_maps_and_boxes_that_are_named(tmp_path: Path, form: str) -> None:
    source = captioned(tmp_path, form)
    data = load_any(f"{source},columns=image+text+map+boxes")
    assert dict(data.columns) == {"image": "image", "text": "text", "map": "map", "boxes": "boxes"}
    assert data.read("map", ROWS).pixels.unique().tolist() == [1, 2]
    assert data.read("boxes", ROWS).corners.shape == (N, 2, 4)
    assert list(load_any(source).columns) == ["image", "text"]
    with pytest.raises(ValueError, match="column of COCO 'audio'"):
        load_any(f"{source},columns=image+audio")
    instances = tmp_path / "annotations" / "instances_train2014.json"
    content = json.loads(instances.read_text())
    del content["annotations"][0]["segmentation"]
    instances.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="its annotations give no map"):
        load_any(f"{source},columns=image+text+map")
    for file in (tmp_path / "annotations").glob("instances_*.json"):
        file.unlink()
    with pytest.raises(ValueError, match=r"no instances_.*\.json lies beside it"):
        load_any(f"{source},columns=image+text+map")
