"""A user's own files: every accepted form, and one clear error for everything that can be wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from counterpoint.data.derived.gaps import Gap
from counterpoint.data.derived.missing import MissingValuesData
from counterpoint.data.derived.mixed import MixedData
from counterpoint.data.derived.voxels import Voxels
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.source import load
from counterpoint.data.sources import SourceOptions
from counterpoint.study.training.runner import with_keys
from fixtures.files import write_pairs
from fixtures.tiny import TinyData


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
    assert not any(leaked.any() for leaked in data.leaked.values())
    assert data.report.duplicates["picture"] == 70


def test_what_leaks_between_given_splits_is_marked_row_by_row(table: Path) -> None:
    frame = pl.read_csv(table)
    test = frame.filter(pl.col("split") == "test").head(3)
    training = frame.filter(pl.col("split") == "train")
    shutil.copy(table.parent / test["file_name"][0], table.parent / "leak.png")
    leak = pl.DataFrame(
        {
            "file_name": ["leak.png", training["file_name"][0]],
            "text": ["other words", f" {test['text'][1].upper()}"],
        }
    ).with_columns(split=pl.lit("train"), group=pl.lit("round"))
    pl.concat([frame, leak.select(frame.columns)]).write_csv(table)
    data = Pairs(table, 24, SourceOptions(group="none"))  # many of these shapes look alike
    row = {caption: k for k in range(len(data)) for caption in data.captions(k)}
    by_picture, by_caption, clean = (row[text] for text in test["text"])
    assert list(np.flatnonzero(data.leaked["picture"])) == [by_picture]
    assert list(np.flatnonzero(data.leaked["caption"])) == [by_caption]
    assert "group" not in data.leaked  # two values name classes, not rows that belong together
    assert list(data.subsets[[by_picture, by_caption, clean, data.splits.train[0]]]) == [
        "leaked",
        "leaked",
        "clean",
        "training",
    ]
    assert (
        data.findings()["leaked from training to held-out rows"] == "1 by caption, 1 by picture: scored apart"
    )


def test_validation_taken_from_training_where_train_test_given(table: Path) -> None:
    frame = pl.read_csv(table)
    side = pl.when(pl.col("split") == "test").then(pl.lit("test")).otherwise(pl.lit("train"))
    frame.with_columns(split=side).write_csv(table)
    data = Pairs(table, size=24)
    assert len(data.splits.test["held out"]) == (frame["split"] == "test").sum()
    assert len(data.splits.validation["held out"]) >= 2
    assert "taken from the training rows" in data.findings()["validation"]


def test_a_table_that_is_all_test_has_no_training_rows(table: Path) -> None:
    pl.read_csv(table).with_columns(split=pl.lit("test")).write_csv(table)
    data = Pairs(table, size=24)
    assert (len(data.splits.train), data.splits.validation, len(data.splits.test["held out"])) == (0, {}, 70)


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
    assert "7.png" in data.findings()["lost: broken picture"]
    assert pl.read_csv(data.findings()["all that was left out"])["file"].str.ends_with("7.png").to_list() == [
        True
    ]
    assert list(data.captions(7)) == [frame["text"][8]]
    assert (data.images(np.array([7])) == Pairs(table, size=24).images(np.array([7]))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("text"), r"pictures without captions: .*--columns text=NAME"),
        (lambda f: f.drop("file_name"), "holds no pictures: it has the columns text"),
        (lambda f: f.with_columns(split=pl.lit("tset")), "row 1: split 'tset' is none of"),
        (
            lambda f: f.with_columns(text=pl.lit("  ")),
            r"70 of 70 examples cannot be used: 70 × empty caption \(.*metadata\.csv, row 1: 0\.png; row 2: ",
        ),
        (
            lambda f: f.with_columns(id=pl.lit(3)),
            r"column id holds a value twice: 3 \(rows 1 and 2\); number the rows anew",
        ),
        (
            lambda f: f.with_columns(file_name="gone-" + pl.col("file_name")),
            "70 of 70 examples cannot be used: 70 × no such file",
        ),
        (lambda f: f.head(0), "has no rows"),
    ],
)
def test_what_is_wrong_with_a_table(table: Path, change: object, message: str) -> None:
    change(pl.read_csv(table)).write_csv(table)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        Pairs(table, size=24)


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (
            ["train"] * 70,
            r"the split 'test' is empty \({'train': 70, 'validation': 0, 'test': 0}\); give a 'split' column with",
        ),
        (["validation"] * 70, "the split 'test' is empty"),
        ([None] * 3, "the split 'test' is empty .* no such column and at least six rows"),
    ],
)
def test_empty_splits_refused_before_training_not_where_rows(
    table: Path, sides: list[str | None], message: str
) -> None:
    frame = pl.read_csv(table).head(len(sides))
    frame.with_columns(split=pl.Series(sides, dtype=pl.String)).write_csv(table)
    data = Pairs(table, size=24)
    assert data.images(np.arange(len(sides))).shape[0] == len(sides)
    with pytest.raises(ValueError, match=message):
        data.check_splits()


def test_empty_splits_of_what_data_is_made_of_are_refused(table: Path) -> None:
    pl.read_csv(table).with_columns(split=pl.lit("train")).write_csv(table)
    data = Pairs(table, size=24)
    for made in (
        MixedData([TinyData(), data]),
        MissingValuesData(data, [Gap.parse("text:0.2")], "with gaps"),
        Voxels(data),
    ):
        with pytest.raises(ValueError, match="the split 'test' is empty"):
            made.check_splits()


def test_test_rows_alone_may_be_empty_of_the_other_splits(table: Path) -> None:
    pl.read_csv(table).with_columns(split=pl.lit("test")).write_csv(table)
    Pairs(table, size=24).check_splits()


def test_what_is_open_is_read_again_when_it_was_changed(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in (str(table), str(table.parent)):
        before = load(source)
        assert load(source) is before
        frame = pl.read_csv(table)
        frame.with_columns(text="again " + pl.col("text")).write_csv(table)
        assert list(load(source).captions(0)) == ["again " + before.captions(0)[0]]
    (tmp_path / "elsewhere").mkdir()
    other = write_pairs(tmp_path / "elsewhere" / "pairs")
    for folder in (tmp_path, tmp_path / "elsewhere"):  # one relative path, two data sets
        monkeypatch.chdir(folder)
        first = pl.read_csv(table if folder == tmp_path else other)["text"][0]
        assert load("pairs").captions(0)[0] == first


def test_outcomes_name_examples_as_the_user_does(table: Path) -> None:
    pl.read_csv(table).with_columns(id=pl.format("case {}", pl.int_range(70))).write_csv(table)
    data = Pairs(table, size=24)
    examples = pl.DataFrame({"example": [int(data.ids[5]), 3, int(data.ids[5])], "value": [0.0, 1.0, 0.5]})
    assert with_keys(examples, data)["key"].to_list() == ["case 5", "3", "case 5"]


def test_what_is_no_data_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'emoji'"):
        load("emojy")
    with pytest.raises(
        ValueError, match=r"unknown data set.*nor is there a folder or a file of that name here"
    ):
        load("a\0b")
    with pytest.raises(FileNotFoundError, match="no data at"):
        load("./nothing.csv")
    (tmp_path / "broken.jsonl").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.jsonl cannot be read"):
        Pairs(tmp_path / "broken.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected pictures, .* a metadata\.csv"):
        Pairs(tmp_path / "empty")
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="; unpack it and name the folder"):
        Pairs(tmp_path / "photos.zip")
    (tmp_path / "notes.pdf").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="expected a folder or one of"):
        Pairs(tmp_path / "notes.pdf")
