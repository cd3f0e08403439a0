"""COCO's captions to train on: Karpathy's splits and the published ones; one file alone stays a benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoint.data.benchmarks.coco import COCO
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.source import load, load_any, located, short_name
from counterpoint.data.sources import Ledger, read
from fixtures.files import bitmap

SPLITS = ["train"] * 12 + ["restval"] * 4 + ["val"] * 4 + ["test"] * 4


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures in ``train2014`` and ``val2014``, with no file of captions yet."""
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for k, split in enumerate(SPLITS):
        place = tmp_path / "coco" / ("train2014" if split == "train" else "val2014") / f"{k}.bmp"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bitmap(k))
    return tmp_path / "coco"


def karpathy(root: Path) -> None:
    images = [
        {
            "filepath": "train2014" if split == "train" else "val2014",
            "filename": f"{k}.bmp",
            "split": split,
            "cocoid": 1000 + k,
            "imgid": k,
            "sentences": [{"raw": f"A  thing {k}.\n", "tokens": []}, {"raw": f"It is {k}."}],
        }
        for k, split in enumerate(SPLITS)
    ]
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))


def published(root: Path, name: str, numbers: range) -> None:
    said = [{"image_id": k, "caption": f"{words} {k}", "id": k} for words in ("a", "b") for k in numbers]
    content = {
        "images": [{"id": k, "file_name": f"{k}.bmp", "width": 8} for k in numbers],
        "annotations": said,
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"captions_{name}.json").write_text(json.dumps(content))


def test_karpathys_splits(root: Path) -> None:
    karpathy(root)
    data = load(f"coco:{root}", 6)
    assert isinstance(data, Pairs)
    assert {side: rows.tolist() for side, rows in data.splits.sides.items()} == {
        "train": list(range(16)),
        "validation: held out": list(range(16, 20)),
        "test: held out": list(range(20, 24)),
    }
    assert data.captions(3) == ("A thing 3.", "It is 3.")
    assert data.ids.tolist() == list(range(1000, 1024))
    assert data.name == f"coco:{root}"
    assert located("coco:coco,broken=0.1", str(root.parent)) == f"coco:{root},broken=0.1"
    assert short_name(f"coco:{root}") == "coco-coco"
    assert len(load(f"coco:{root}/annotations/dataset_coco.json", 6)) == 24


def instances(root: Path, name: str, numbers: range) -> Path:
    names = {1: "cat", 7: "traffic light", 9: "kite"}
    content = {
        "images": [{"id": k, "file_name": f"{k}.bmp"} for k in numbers],
        "categories": [{"id": number, "name": called} for number, called in names.items()],
        "annotations": [
            {"image_id": k, "category_id": of, "bbox": [0, 0, 1, 1], "iscrowd": 0}
            for k in numbers
            for of in ([], [1], [1, 7, 7])[k % 3]
        ],
    }
    (root / "annotations").mkdir(exist_ok=True)
    path = root / "annotations" / f"instances_{name}.json"
    path.write_text(json.dumps(content))
    return path


def test_files_of_instances_are_pictures_with_tags(root: Path) -> None:
    alone = instances(root, "train2014", range(12))
    data = load_any(f"coco:{alone},least=1", 6)
    assert (dict(data.columns), len(data), data.labels["objects"].names) == (
        {"image": "image"},
        12,
        ("cat", "traffic light"),
    )
    other = instances(root, "val2014", range(12, 24))
    for place in (
        root,
        other,
    ):  # a folder with such files alone; a file with that of the other split beside it
        data = load_any(f"coco:{place}", 6)
        assert data.splits.test["held out"].tolist() == list(range(12, 24))
        assert data.labels["objects"].values[12:15].tolist() == [[0, 0], [1, 0], [1, 1]]
    published(root, "train2014", range(12))
    published(root, "val2014", range(12, 24))
    assert list(load_any(f"coco:{root}", 6).columns) == ["image", "text"]  # captions are what COCO is for


def test_published_files_test_on_their_validation_set(root: Path) -> None:
    published(root, "train2014", range(12))
    published(root, "val2014", range(12, 24))
    data = load(f"coco:{root}", 6)
    assert data.splits.test["held out"].tolist() == list(range(12, 24))
    (validation,) = data.splits.validation.values()
    assert sorted([*data.splits.train.tolist(), *validation.tolist()]) == list(range(12))
    assert data.captions(5) == ("a 5", "b 5")


def test_one_file_of_captions_is_the_benchmark_that_it_was(root: Path) -> None:
    published(root, "val2014", range(12, 24))
    assert isinstance(load_any(f"coco:{root}"), COCO)
    with pytest.raises(ValueError, match="is a benchmark, which takes no broken="):
        load_any(f"coco:{root},broken=0.5")


def test_is_missing_is_counted_and_what_is_no_coco_is_refused(root: Path) -> None:
    karpathy(root)
    (root / "val2014" / "20.bmp").unlink()
    file = root / "annotations" / "dataset_coco.json"
    content = json.loads(file.read_text())
    content["images"][3]["sentences"] = [{"raw": " "}]
    file.write_text(json.dumps(content))
    ledger = Ledger()
    assert len(read(f"coco:{root}", ledger)) == 22
    assert ledger.frame["reason"].to_list() == ["no caption", "no such file"]
    content["images"][3]["split"] = "holdout"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"image 3: split 'holdout' is none of train, .*restval"):
        load(f"coco:{root}")
    file.write_text("{}")
    with pytest.raises(
        ValueError, match=r"dataset_coco\.json is damaged \(images: Field required\): copy it again"
    ):
        load(f"coco:{root}")


@pytest.mark.parametrize("form", ["karpathy", "folder of karpathy's", "published", "instances"])
def test_pictures_out_of_their_folder_are_never_read(form: str, root: Path) -> None:
    secret = root.parent / "out" / "secret.bmp"
    secret.parent.mkdir()
    secret.write_bytes(bitmap(5))
    if form == "published":
        published(root, "train2014", range(12))
        published(root, "val2014", range(12, 24))
        file = root / "annotations" / "captions_train2014.json"
    elif form == "instances":
        file = instances(root, "train2014", range(12))
    else:
        karpathy(root)
        file = root / "annotations" / "dataset_coco.json"
    content = json.loads(file.read_text())
    first = content["images"][0]
    if form == "folder of karpathy's":
        first |= {"filepath": "../../out", "filename": "secret.bmp"}
    else:
        first["filename" if form == "karpathy" else "file_name"] = "../../out/secret.bmp"
    file.write_text(json.dumps(content))
    ledger = Ledger()
    records = read(f"coco:{file if form == 'instances' else root}", ledger)
    assert len(records) == (11 if form == "instances" else 23)
    assert ledger.frame["reason"].to_list() == ["path that leads out of the folder"]
