"""Data sets of Hugging Face: folders that ``save_to_disk`` wrote, and names."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from counterpoint.data.source import load, located, rooted, short_name
from counterpoint.data.sources import Ledger, read, shards
from fixtures.files import bitmap


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def made(numbers: range) -> datasets.Dataset:
    form = datasets.Features(
        {
            "image": datasets.Image(),
            "text": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "id": datasets.Value("int64"),
        }
    )
    rows = [
        {"image": {"bytes": bitmap(k), "path": None}, "text": f"caption {k}", "kind": k % 2, "id": k}
        for k in numbers
    ]
    return datasets.Dataset.from_list(rows, features=form)


def test_a_saved_data_set_is_read_as_it_was(tmp_path: Path) -> None:
    made(range(200)).select(range(199, -1, -1)).save_to_disk(tmp_path / "it", num_shards=3)
    found = read(str(tmp_path / "it"), Ledger())
    assert [shard.records for shard in shards(str(tmp_path / "it"), Ledger())] == [None] * 3
    assert found.frame["text"].to_list() == [[f"caption {k}"] for k in range(199, -1, -1)]
    assert found.frame["id"].to_list() == [str(k) for k in range(199, -1, -1)]
    assert [asset.read_bytes() for asset in found.assets("image")] == [bitmap(k) for k in range(199, -1, -1)]
    data = load(str(tmp_path / "it"), 6)
    assert data.labels["kind"].names == ("cat", "dog")
    pixels = np.asarray(Image.open(io.BytesIO(bitmap(199)))).transpose(2, 0, 1)
    assert (data.sized(6).images(np.array([0]))[0].numpy() == pixels).all()


def test_saved_splits_are_kept_and_may_have_the_same_ids(tmp_path: Path) -> None:
    parts = {"train": made(range(30)), "validation": made(range(6)), "test": made(range(6))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "it")
    data = load(str(tmp_path / "it"), 6)
    assert [len(rows) for rows in data.splits.sides.values()] == [30, 6, 6]
    assert not data.split_here
    assert data.key(0) == "train/0"


def test_columns_of_other_names(tmp_path: Path) -> None:
    names = {"image": "photo", "text": "alt"}
    made(range(12)).rename_columns(names).save_to_disk(tmp_path / "it")
    assert len(load(str(tmp_path / "it"), 6, columns=names)) == 12
    with pytest.raises(ValueError, match=r"has the columns image, .*--columns text=NAME"):
        load(str(tmp_path / "it"))


def test_a_saved_folder_that_is_not_whole_is_refused_in_a_line(tmp_path: Path) -> None:
    made(range(4)).save_to_disk(tmp_path / "it")
    (tmp_path / "it" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(
        ValueError, match=r"no whole folder of datasets\.save_to_disk .*there is no .*: save it again"
    ):
        load(str(tmp_path / "it"))


def test_a_data_set_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "named"
    folder.mkdir()
    for side, count in (("train", 20), ("test", 8)):
        made(range(count)).to_parquet(folder / f"{side}.parquet")
    name = f"hf:{folder}"
    data = load(name, 6)
    assert [len(rows) for rows in data.splits.sides.values()][2] == 8
    assert len(data) == 28
    assert load(name, 6) is data
    assert (rooted(name), located(name, None)) == (name, name)
    assert "/" not in short_name(name)
    assert len(load(f"{name},broken=0.1", 6)) == 28


def test_a_name_of_nothing_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^hf:nobody/nothing cannot be loaded: ") as told:
        load("hf:nobody/nothing")
    assert "\n" not in str(told.value)
