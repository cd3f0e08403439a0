"""A user's own files: every accepted form, and one clear error for everything that can be wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from counterpoint.data.pairs import Pairs
from counterpoint.data.source import load
from fixtures.files import write_pairs


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    return write_pairs(tmp_path / "pairs")


def test_a_table_becomes_splits_captions_and_labels(table: Path) -> None:
    data = Pairs(table, size=24)
    sides = pl.read_csv(table)["split"].value_counts()
    counts = dict(zip(sides["split"], sides["count"], strict=True))
    assert len(data.splits.train) == counts["train"]
    assert {k: len(v) for k, v in data.splits.test.items()} == {"held out": counts["test"]}
    assert data.labels["group"].names == ("angular", "round")
    assert data.images(np.array([0, 69])).shape == (2, 3, 24, 24)
    assert list(data.captions(0)) == [pl.read_csv(table)["text"][0]]


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_table_says_the_same(table: Path, suffix: str) -> None:
    frame, other = pl.read_csv(table), table.with_suffix(suffix)
    if suffix == ".tsv":
        frame.write_csv(other, separator="\t")
    elif suffix == ".jsonl":
        frame.write_ndjson(other)
    else:
        frame.write_parquet(other)
    a, b = Pairs(table, size=24), Pairs(other, size=24)
    assert [a.captions(i) for i in range(len(a))] == [b.captions(i) for i in range(len(b))]
    assert (a.images(np.arange(70)) == b.images(np.arange(70))).all()


def test_a_folder_with_a_table_or_with_captions_beside(table: Path, tmp_path: Path) -> None:
    assert len(Pairs(table.parent, size=24)) == 70
    beside = tmp_path / "beside"
    beside.mkdir()
    for row in pl.read_csv(table).iter_rows(named=True):
        shutil.copy(table.parent / row["file_name"], beside)
        (beside / row["file_name"]).with_suffix(".txt").write_text(row["text"])
    data = Pairs(beside, size=24)
    assert len(data) == 70
    assert len(data.splits.train) > len(data.splits.test["held out"]) > 0


def test_rows_with_one_picture_are_one_example(table: Path) -> None:
    frame = pl.read_csv(table)
    extra = frame.with_columns(text=pl.lit("another way to say it"))
    pl.concat([frame, extra]).write_csv(table)
    data = Pairs(table, size=24)
    assert len(data) == 70
    assert list(data.captions(3)) == [frame["text"][3], "another way to say it"]


def test_same_picture_never_parts_without_a_split_column(table: Path) -> None:
    frame = pl.read_csv(table).drop("split")
    for name in frame["file_name"]:
        shutil.copy(table.parent / name, table.parent / f"copy-{name}")
    copies = frame.with_columns(file_name="copy-" + pl.col("file_name"))
    pl.concat([frame, copies]).write_csv(table)
    data = Pairs(table, size=24)
    side = {int(r): "train" for r in data.splits.train} | {
        int(r): "test" for r in data.splits.test["held out"]
    }
    assert all(side.get(row) == side.get(row + 70) for row in range(70))
    assert data.report.leaked_pictures == 0
    assert data.report.duplicate_pictures == 70


def test_the_report_tells_of_leakage(table: Path) -> None:
    frame = pl.read_csv(table)
    test = frame.filter(pl.col("split") == "test").head(2)
    for name in test["file_name"]:
        shutil.copy(table.parent / name, table.parent / f"leak-{name}")
    leak = test.with_columns(file_name="leak-" + pl.col("file_name"), split=pl.lit("train"))
    pl.concat([frame, leak]).write_csv(table)
    report = Pairs(table, size=24).describe()["report"]
    assert report["leakage from training to held-out splits"] == "2 picture(s), 2 caption(s)"


def test_one_broken_picture_in_many_is_left_out_and_told(table: Path) -> None:
    frame = pl.read_csv(table)
    many = [frame]
    for k in range(2):
        for name in frame["file_name"]:
            shutil.copy(table.parent / name, table.parent / f"{k}-{name}")
        many.append(frame.with_columns(file_name=f"{k}-" + pl.col("file_name")))
    pl.concat(many).write_csv(table)
    (table.parent / "7.png").write_bytes(b"not a picture")
    data = Pairs(table, size=24)
    assert len(data) == 209
    assert "7.png" in data.report.lines()["broken pictures left out"]
    assert list(data.captions(7)) == [frame["text"][8]]
    assert (data.images(np.array([7])) == Pairs(table, size=24).images(np.array([7]))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("text"), "no column for the caption; expected one of text"),
        (lambda f: f.drop("file_name"), "no column for the picture"),
        (lambda f: f.with_columns(split=pl.lit("train")), "the split 'validation' is empty"),
        (lambda f: f.with_columns(split=pl.lit("tset")), "row 1: split 'tset' is none of"),
        (lambda f: f.with_columns(text=pl.lit("  ")), "row 1: an empty text"),
        (lambda f: f.with_columns(id=pl.lit(3)), "column id holds a value twice"),
        (
            lambda f: f.with_columns(file_name="gone-" + pl.col("file_name")),
            "70 of 70 pictures cannot be read",
        ),
        (lambda f: f.head(0), "holds no pairs"),
    ],
)
def test_what_is_wrong_with_a_table(table: Path, change: object, message: str) -> None:
    change(pl.read_csv(table)).write_csv(table)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        Pairs(table, size=24)


def test_what_is_no_data_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'emoji'"):
        load("emojy")
    with pytest.raises(FileNotFoundError, match="no data at"):
        load("./nothing.csv")
    (tmp_path / "broken.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.jsonl cannot be read"):
        Pairs(tmp_path / "broken.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected a metadata\.csv"):
        Pairs(tmp_path / "empty")
    (tmp_path / "notes.pdf").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="expected a folder or one of"):
        Pairs(tmp_path / "notes.pdf")
