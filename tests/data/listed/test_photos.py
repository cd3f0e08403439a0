"""A folder of pictures without captions: read as it is, refused in one line where pairs are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterpoint.cli import main
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.listed.photos import Photos
from counterpoint.data.sharded.indexing import index
from counterpoint.data.sharded.pictures import ShardedPictures
from counterpoint.data.source import load, load_any
from counterpoint.methods.arm import Arm
from counterpoint.training.run import target_of


def put(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for k in range(12):
        put(tmp_path / "photos" / ("cat" if k % 2 else "dog") / f"{k}.png", k)
    return tmp_path / "photos"


def test_pictures_without_captions_are_a_data_set_of_pictures(folder: Path) -> None:
    data = load_any(str(folder), 24)
    assert isinstance(data, Photos)
    assert (dict(data.columns), len(data)) == ({"image": "image"}, 12)
    assert data.read("image", np.arange(3)).shape == (3, 3, 32, 32)
    assert data.labels["folder"].names == ("cat", "dog")
    assert data.key(0) == "cat/1.png"
    assert sum(map(len, data.splits.sides.values())) == 12
    assert "caption words" not in data.findings()


def test_a_copied_picture_stays_on_the_side_of_the_first(folder: Path) -> None:
    for k in range(12):
        put(folder / "copies" / f"copy-{k}.png", k)
    data = load_any(str(folder), 24)
    sides = {data.key(int(row)): side for side, rows in data.splits.sides.items() for row in rows}
    for k in range(12):
        kind = "cat" if k % 2 else "dog"
        assert sides[f"copies/copy-{k}.png"] == sides[f"{kind}/{k}.png"]


def test_folders_of_kinds_lie_in_folders_of_splits_too(folder: Path, tmp_path: Path) -> None:
    for number, side in enumerate(("train", "val", "test")):
        for k in range(12 if side == "train" else 2):  # one picture of a class is enough where others train
            put(tmp_path / "sides" / side / ("cat" if k % 2 else "dog") / f"{k}.png", 100 * (number + 1) + k)
    data = load_any(str(tmp_path / "sides"), 24)
    assert {side: len(rows) for side, rows in data.splits.sides.items()} == {
        "train": 12,
        "validation: held out": 2,
        "test: held out": 2,
    }
    assert data.labels["folder"].names == ("cat", "dog")
    assert data.labels["folder"].known.all()
    for k in range(12):
        put(tmp_path / "alone" / "train" / ("cat" if k % 2 else "dog") / f"{k}.png", k)
    assert load_any(str(tmp_path / "alone"), 24).labels["folder"].names == ("cat", "dog")


def test_any_number_of_folders_are_classes(folder: Path, tmp_path: Path) -> None:
    for k in range(2 * 201):
        put(tmp_path / "many" / f"kind {k // 2}" / f"{k}.png", k)
    assert len(load_any(str(tmp_path / "many"), 24).labels["folder"].names) == 201


@pytest.mark.parametrize(
    ("kinds", "why"),
    [
        ({"cat": 4}, "one class in all, cat: give each kind a folder of its own"),
        (
            {"cat": 4, "dog": 1},
            "one class of 2 or more examples, cat: give each kind a folder of its own",
        ),
    ],
)
def test_folders_are_no_classes_say_why_where_they_are_asked_for(
    kinds: dict[str, int], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for kind, count in kinds.items():
        for k in range(count):
            put(tmp_path / "photos" / kind / f"{k}.png", 10 * len(kind) + k)
    data = load_any(str(tmp_path / "photos"), 24)
    assert why in data.findings()["columns that are no labels"]
    with pytest.raises(ValueError, match=f"'folder' is no label: {why}"):
        target_of(Arm.parse("supcon,on=images"), "folder", data)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    with pytest.raises(
        ValueError, match="photos holds no pictures: expected pictures, in a folder for each kind"
    ):
        load_any(str(tmp_path / "photos"))


def test_one_picture_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    put(tmp_path / "photos" / "one.png", 0)
    assert len(load_any(str(tmp_path / "photos"))) == 1


def test_a_broken_picture_is_left_out_and_named(folder: Path) -> None:
    (folder / "cat" / "broken.png").write_bytes(b"no picture")
    data = load_any(str(folder), 24)
    assert len(data) == 12
    assert "broken.png" in data.findings()["lost: broken picture"]


@pytest.mark.parametrize("kind", ["csv", "semicolons", "jsonl", "parquet", "inline"])
def test_a_table_without_captions_is_a_data_set_of_pictures(kind: str, folder: Path) -> None:
    names = [f"{'cat' if k % 2 else 'dog'}/{k}.png" for k in range(12)]
    sides = ["test" if k > 9 else "train" for k in range(12)]
    rows = pl.DataFrame({"file_name": names, "kind": [name[:3] for name in names], "split": sides})
    path = folder / f"it.{ {'inline': 'parquet', 'semicolons': 'csv'}.get(kind, kind) }"
    if kind == "jsonl":
        rows.write_ndjson(path)
    elif path.suffix == ".parquet":
        held = pl.col("file_name").map_elements(lambda name: (folder / name).read_bytes(), pl.Binary)
        (rows.with_columns(file_name=held) if kind == "inline" else rows).write_parquet(path)
    else:
        rows.write_csv(path, separator=";" if kind == "semicolons" else ",")
    data = load_any(str(path), 24)
    assert isinstance(data, Photos)
    assert (dict(data.columns), len(data)) == ({"image": "image"}, 12)
    assert data.labels["kind"].names == ("cat", "dog")
    assert len(data.splits.test["held out"]) == 2
    assert "--columns text=NAME" in data.findings()["guessed: no column of captions, read without"]
    named = load_any(f"{path},columns=text:kind", 24)
    assert isinstance(named, Pairs)
    assert named.captions(0) == ("dog",)
    with pytest.raises(ValueError, match=r"has the columns image, .*--columns text=NAME"):
        load(str(path))


def test_tables_without_captions_are_indexed_as_pictures(folder: Path, tmp_path: Path) -> None:
    for part in range(6):
        names = "\n".join(f"{'cat' if k % 2 else 'dog'}/{k}.png" for k in range(2 * part, 2 * part + 2))
        (folder / f"{part}.csv").write_text(f"image\n{names}\n")
    index(str(folder / "*.csv"), tmp_path / "index", jobs=1)
    data = load_any(str(tmp_path / "index"), 24)
    assert (type(data), dict(data.columns), len(data)) == (ShardedPictures, {"image": "image"}, 12)
    assert data.read("image", np.arange(12)).shape == (12, 3, 32, 32)


def test_a_side_without_captions_beside_sides_with_them_is_lost(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "sides"
    for number, side in enumerate(("train", "validation", "test")):
        for k in range(40 if side == "train" else 4):
            put(root / side / f"{k}.png", 100 * number + k)
            if side != "validation":
                (root / side / f"{k}.txt").write_text(f"noise {number} {k}")
    with pytest.raises(ValueError, match=r"4 of 48 examples cannot be used: 4 × picture without a caption"):
        load(str(root))
    assert len(load(f"{root},broken=0.4")) == 44


def test_pairs_are_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"has the columns image, and only pictures with captions"):
        load(str(folder))
    assert main(["compare", "clip", "--data", str(folder)]) == 1
    assert "clip takes 2 columns, and there is 1 (image); methods that fit" in capsys.readouterr().err


def test_methods_of_pictures_are_compared_by_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(60):
        put(tmp_path / "photos" / ("cat", "dog")[k % 2] / f"{k}.png", k)
    asked = ["--data", str(tmp_path / "photos"), "--steps", "4", "--batch-size", "8"]
    compared = [
        "compare",
        "moco",
        "dcl,on=images",
        *asked,
        "--seeds",
        "2",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "study"),
    ]
    assert main(compared) == 0
    assert "points" in capsys.readouterr().out  # two test rows may well be a draw
    run = str(tmp_path / "study" / "runs" / "moco" / "seed-0")
    assert main(["evaluate", run, "--json"]) == 0
    assert {row["task"] for row in json.loads(capsys.readouterr().out)} == {"probe"}


def test_labels_that_no_usual_task_asks_about_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(40):
        put(tmp_path / f"{k}.png", k)
    rows = {
        "image": [f"{k}.png" for k in range(40)],
        "looks": ["red|round" if k % 2 else "red" for k in range(40)],
    }
    pl.DataFrame(rows).write_csv(tmp_path / "tagged.csv")
    asked = ["moco", "--data", str(tmp_path / "tagged.csv"), "--steps", "2", "--batch-size", "8"]
    assert main(["compare", *asked, "--out", str(tmp_path / "study")]) == 1
    assert "has looks (tags), which no task asks about that is not named" in capsys.readouterr().err


def test_without_labels_there_is_nothing_to_compare_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(40):
        put(tmp_path / "photos" / f"{k}.png", k)
    asked = ["moco", "--data", str(tmp_path / "photos"), "--steps", "2", "--batch-size", "8"]
    assert main(["compare", *asked, "--out", str(tmp_path / "study")]) == 1
    assert "has neither captions nor labels" in capsys.readouterr().err
    assert main(["train", *asked, "--out", str(tmp_path / "run")]) == 0
    assert (
        "no scores: tasks ask about pairs of columns, or by a label that test rows have"
        in capsys.readouterr().out
    )


def test_describe_and_show(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "describe", str(folder)]) == 0
    assert "\ncaptions\n" not in capsys.readouterr().out
    assert main(["data", "show", str(folder), "--out", str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_method_needs_captions_is_refused_with_those_that_fit() -> None:
    message = r"clip takes 2 columns, and there is 1 \(image\); methods that fit such data: .*byol"
    with pytest.raises(ValueError, match=message):
        Arm.parse("clip").reads({"image": "image"})
    assert Arm.parse("moco").reads({"image": "image"}) == {"image": "image"}
