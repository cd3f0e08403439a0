"""Labels of four kinds: read from tables, joined, carried in batches, digested, told of, and asked for by kind."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from counterpoint.cli import main
from counterpoint.cli.common.files import FileOptions
from counterpoint.data import Classes, Data, MixedData, Numbers, Points, Tags
from counterpoint.data.base import Rows
from counterpoint.data.fingerprint import Fingerprint
from counterpoint.data.labels import LabelTypeError, Rare, Timelines
from counterpoint.data.listed.labels import labels_of
from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.pictured import PairedData
from counterpoint.data.source import load_any
from counterpoint.evaluation import create
from counterpoint.evaluation.task import EmbedderTask, NotApplicableError, check_data
from counterpoint.methods.arm import Arm
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.recipes.schema import Augmentation
from counterpoint.registry import UnknownNameError
from counterpoint.training.run import target_of
from counterpoint.types import Embedder, Scores, View
from fixtures.files import bitmap
from fixtures.tiny import TinyData

KINDS = ("cat", "dog")
LOOKS: tuple[list[str] | None, ...] = (["red", "round"], [], None, ["?red"])


class EveryKind(TinyData):
    """The drawn shapes with a label of each kind; every fourth row has none of the further ones."""

    def __init__(self) -> None:
        super().__init__()
        rows = np.arange(len(self))
        known = rows % 4 != 3
        shape, tone = self.labels["subgroup"].values, self.labels["tone"].values
        tags = np.stack([shape == 0, tone == 1, tone == 2], axis=1).astype(np.int8)
        points = np.stack([rows / 70, 1 - rows / 70], axis=1)
        self.labels = {
            **self.labels,
            "things": Tags(("circle", "green", "blue"), np.where(known[:, None], tags, -1).astype(np.int8)),
            "area": Numbers(np.where(known, rows / 7, np.nan)),
            "click": Points(np.where(known[:, None], points, np.nan)),
        }


def rows(folder: Path, count: int = 40) -> pl.DataFrame:
    for k in range(count):
        (folder / f"{k}.bmp").write_bytes(bitmap(k))
    step = range(count)
    return pl.DataFrame(
        {
            "file_name": [f"{k}.bmp" for k in step],
            "kind": [KINDS[k % 2] for k in step],
            "look": [LOOKS[k % 4] for k in step],
            "price": [None if k % 5 == 0 else k + 0.5 for k in step],
            "at": [[k / 40, 0.25] if k % 3 else None for k in step],
            "eye_x": [k / 40 for k in step],
            "eye_y": [1.0 - k / 80 for k in step],
        },
        schema_overrides={"at": pl.List(pl.Float64)},
    )


def written(frame: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in frame.iter_rows(named=True)))
    else:
        lists = pl.col("look").list.join("|")
        alone = pl.when(pl.col("look").list.len() == 0).then(pl.lit("|")).otherwise(lists)
        at = pl.format("[{}, {}]", pl.col("at").list.get(0), pl.col("at").list.get(1))
        frame.with_columns(look=alone, at=at).write_csv(path)
    return path


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_has_labels_of_every_kind(suffix: str, cached: Path) -> None:
    data = load_any(str(written(rows(cached), cached / f"it.{suffix}")), 24)
    kinds = {name: label.kind for name, label in data.labels.items()}
    assert kinds == {"at": "points", "eye": "points", "kind": "classes", "look": "tags", "price": "numbers"}
    assert data.refused == {}
    assert (list(data.classes), list(data.labels_of(Tags))) == (["kind"], ["look"])
    look, price, at = data.labels["look"], data.labels["price"], data.labels["at"]
    assert look.names == ("red", "round")
    assert look.values[:4].tolist() == [[1, 1], [0, 0], [-1, -1], [-1, 0]]
    np.testing.assert_array_equal(price.values[:3], [np.nan, 1.5, 2.5])
    np.testing.assert_array_equal(at.values[:3], [[np.nan, np.nan], [1 / 40, 0.25], [2 / 40, 0.25]])
    np.testing.assert_array_equal(data.labels["eye"].values[1], [1 / 40, 1 - 1 / 80])


@pytest.mark.parametrize(("most", "kind"), [(200, "classes"), (201, "numbers")])
def test_whole_numbers_are_classes_until_they_are_too_many(most: int, kind: str) -> None:
    labels, refused = labels_of({"days": pl.Series([*map(str, [*range(1, most + 1)] * 2), None, "7"])})
    assert refused == {}
    assert labels["days"].kind == kind
    assert labels["days"].known.tolist() == [True] * 2 * most + [False, True]
    assert labels["days"].values[6] == labels["days"].values[-1]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_whole_numbers_are_numbers_where_it_is_said(
    suffix: str, cached: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = cached / f"it.{suffix}"
    frame = rows(cached).with_columns(age=pl.Series([20 + k % 9 for k in range(40)]))
    written(frame, table)
    data = load_any(FileOptions(numbers=("age",)).of(str(table)))
    np.testing.assert_array_equal(data.label("age", "numbers").values, [20 + k % 9 for k in range(40)])
    assert data.labels.keys() == load_any(str(table)).labels.keys()
    assert main(["data", "describe", str(table), "--numbers", "age"]) == 0
    assert re.search(r"age +numbers from 20 to 28, ", capsys.readouterr().out)


def test_warning_names_numbers_none_and_classes_could_be_some(cached: Path) -> None:
    written(rows(cached).with_columns(age=pl.Series([20 + k % 9 for k in range(40)])), cached / "it.csv")
    data = load_any(str(cached / "it.csv"))
    with pytest.raises(LabelTypeError, match=r"; --numbers age reads whole numbers of your files as such$"):
        data.label("age", "numbers")
    with pytest.raises(NotApplicableError, match=r"leave the task out; --numbers age reads whole numbers"):
        check_data(create("regression", labels=("age",)), data)
    with pytest.raises(UnknownNameError, match="unknown label 'agee': did you mean 'age'"):
        load_any(f"{cached / 'it.csv'},numbers=agee")
    words = load_any(f"{cached / 'it.csv'},numbers=kind")
    assert words.refused["kind"] == "said to be numbers, and some values are none"


def test_marks_not_known_make_no_class_among_numbers_but_one() -> None:
    labels, refused = labels_of(
        {
            "age": pl.Series(["NA", "1", "2", "nan", None]),
            "crp": pl.Series(["1.5", "n/a", "?", "2", "NULL"]),
            "mood": pl.Series(["none", "glad", "sad", "none", None]),
            "lost": pl.Series(["nan", "NA", None, None, None]),
        }
    )
    assert (labels["age"].names, labels["age"].values.tolist()) == (("1", "2"), [-1, 0, 1, -1, -1])
    np.testing.assert_array_equal(labels["crp"].values, [1.5, np.nan, np.nan, 2, np.nan])
    assert labels["mood"].names == ("glad", "none", "sad")
    assert refused == {"lost": "the number of every row is NaN"}


def test_a_batch_carries_labels_of_every_kind() -> None:
    data = EveryKind()
    views = {"image": View("image")}
    order = ShuffledOrder(data.splits.train, 8, seed=0)
    loader = Loader(data, order, views, augmentation=Augmentation(), inputs={"image": Square(24)})
    batch = loader.of(np.array([0, 3, 13]), 0)
    things, area, click = (batch.labels[name] for name in ("things", "area", "click"))
    assert (things.shape, area.shape, click.shape) == ((3, 3), (3,), (3, 2))
    assert (things.dtype, area.dtype, click.dtype) == (torch.int8, torch.float32, torch.float32)
    assert things.tolist() == data.labels["things"].values[[0, 3, 13]].tolist()
    assert torch.isnan(area).tolist() == [False, True, False]
    assert [len(part.labels["click"]) for part in batch.split(2)] == [2, 1]


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ({"look": ["[]", "[]"]}, "no row has any of its tags"),
        ({"price": ["nan", "NaN"]}, "the number of every row is NaN"),
        (
            {"click_x": ["0.5", "1.5"], "click_y": ["0.5", "0.5"]},
            r"row 2 lies at \(1.5, 0.5\), outside \[0, 1\]",
        ),
        ({"click": ["[0.5, -0.1]", "[0.5, 0.5]"]}, r"row 1 lies at \(0.5, -0.1\), outside \[0, 1\]"),
        ({"price": ["inf", "0.5"]}, "row 1 is infinite"),
        ({"kind": ["cat", "cat"]}, "1 value"),
        ({"folder": ["cat", "cat", "dog"]}, "one class of 2 or more examples, cat: give each kind a folder"),
    ],
)
def test_what_is_no_label_is_said_where_it_is_asked_for(column: dict[str, list[str]], why: str) -> None:
    labels, refused = labels_of({name: pl.Series(values) for name, values in column.items()})
    name = next(iter(column)).removesuffix("_x")
    assert name not in labels
    data = TinyData()
    data.refused = refused
    with pytest.raises(ValueError, match=f"'tiny': '{name}' is no label: .*{why}"):
        data.label(name)
    with pytest.raises(NotApplicableError, match=f"{name} is none: .*{why}"):
        check_data(_OfNumbers(name), data)


def test_lists_of_numbers_are_timelines() -> None:
    texts = pl.Series(["[0, 1, null, 1]", "[2.5]", None, "[]"])
    labels, refused = labels_of({"moments": texts, "spans": pl.Series(["[[0, 2.5]]", "[]"] * 2)})
    (label,) = labels.values()
    assert isinstance(label, Timelines)
    nan = math.nan
    expected = [[0, 1, nan, 1], [2.5, nan, nan, nan], [nan] * 4, [nan] * 4]
    np.testing.assert_array_equal(label.values, expected)
    # As they are written beside vectors, they are read again.
    again, _ = labels_of({"moments": pl.Series(label.texts(np.arange(4)), dtype=pl.String)})
    np.testing.assert_array_equal(again["moments"].values, label.values)
    assert refused == {"spans": "lists that hold neither tags nor numbers"}


def test_pairs_of_zeros_and_ones_and_of_words_are_no_points() -> None:
    labels, refused = labels_of({"x": pl.Series(["0", "1"]), "y": pl.Series(["1", "0"])})
    assert ({name: label.kind for name, label in labels.items()}, refused) == (
        {"x": "classes", "y": "classes"},
        {},
    )
    labels, refused = labels_of({"size_x": pl.Series(["S", "M"]), "size_y": pl.Series(["a", "b"])})
    assert (list(labels), refused) == (["size_x", "size_y"], {})


def test_there_may_be_number_of_folders_but_not_of_other_classes() -> None:
    many = pl.Series([f"kind {k % 300}" for k in range(600)])
    labels, refused = labels_of({"folder": many, "kind": many})
    assert (len(labels["folder"].names), refused) == (300, {"kind": "300 values"})


class _OfNumbers(EmbedderTask):
    """A task about numbers."""

    name, reads, labels, kind = "regression", ("image",), (), Numbers

    def __init__(self, *labels: str) -> None:
        self.labels = labels

    def __call__(self, model: Embedder, data: PairedData, rows: Rows) -> Scores:
        raise NotImplementedError


class _OfTags(_OfNumbers):
    """A task about tags."""

    name, kind = "multi_label", Tags


def test_task_refused_label_of_another_kind_with_those_there_are() -> None:
    data: Data = EveryKind()
    check_data(_OfNumbers(), data)
    check_data(_OfTags("things"), data)
    message = (
        r"regression needs one of the labels that are numbers tone, and 'tiny' has group, .*area \(numbers\)"
    )
    with pytest.raises(NotApplicableError, match=message):
        check_data(_OfNumbers("tone"), data)
    with pytest.raises(
        NotApplicableError, match=r"multi_label needs labels that are tags, and 'tiny' has group"
    ):
        check_data(_OfTags(), TinyData())


def test_method_is_told_kind_of_label_and_refused_another_kind() -> None:
    data, supcon = EveryKind(), Arm.parse("supcon,on=images")
    target = target_of(supcon, "tone", data)
    assert target is not None
    assert (target.kind, target.classes) == (
        "classes",
        ("red", "green", "blue", "yellow")[: len(target.classes)],
    )
    told = target_of(Arm.parse("moco"), "things", data)  # which learns from no label
    assert told is not None
    assert (told.kind, told.classes) == ("tags", ("circle", "green", "blue"))
    message = (
        "the label 'area' of 'tiny' holds numbers, and classes are needed: there are group, subgroup, tone"
    )
    with pytest.raises(LabelTypeError, match=message):
        target_of(supcon, "area", data)
    with pytest.raises(UnknownNameError, match="did you mean 'tone'"):
        target_of(supcon, "ton", data)


def test_labels_of_one_name_are_one_in_a_mixture_and_of_one_kind() -> None:
    one, other, plain = EveryKind(), EveryKind(), TinyData()
    other.labels = {**other.labels, "things": Tags(("red", "blue"), other.labels["things"].values[:, 1:])}
    both = MixedData([one, other, plain])
    things, area, click = (both.labels[name] for name in ("things", "area", "click"))
    assert things.names == ("circle", "green", "blue", "red")
    assert things.values[0].tolist() == [1, 0, 0, -1]
    assert (things.values[140:] == -1).all()
    np.testing.assert_array_equal(area.values[70:140], one.labels["area"].values)
    assert np.isnan(click.values[140:]).all()
    other.labels = {**other.labels, "area": Classes(("a", "b"), np.arange(70) % 2)}
    with pytest.raises(ValueError, match="the label area holds numbers here and classes there"):
        MixedData([one, other]).labels["area"]


def test_fingerprints_differ_by_labels_of_every_kind() -> None:
    plain, every = Fingerprint.of_rows(TinyData()), Fingerprint.of_rows(EveryKind())
    assert {part for part, it in every.parts.items() if it != plain.parts[part]} == {"labels"}
    changed = EveryKind()
    changed.labels = {**changed.labels, "area": Numbers(np.arange(70.0))}
    assert Fingerprint.of_rows(changed).parts["labels"] != every.parts["labels"]
    assert len({data.identity(()) for data in (TinyData(), EveryKind(), changed)}) == 3


def test_a_report_tells_of_labels_of_each_kind(cached: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = rows(cached).with_columns(spot_x=pl.lit(12.5), spot_y=pl.lit(3.5))
    assert main(["data", "describe", str(written(frame, cached / "it.csv"))]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 classes of 20 to 20 examples, evenness 1.00" in said
    assert "2 tags of 10 to 10 examples, 0.7 an example (at most 2; 67 % have no tag)" in said
    assert "numbers from 1.5 to 39.5, median 20.5; 20 % have none" in said
    assert "points," in said
    assert "outside [0, 1]: give shares of width and height: no label" in said


def test_a_column_that_names_every_row_is_no_label() -> None:
    """File names of a second recording, say: nobody can learn a class that one row has."""
    unique = pl.Series([f"np/gyr_{row:03d}.npy" for row in range(50)])
    few = pl.Series([f"patient {row % 20}" for row in range(50)])
    labels, refused = labels_of(
        {"ankle": unique, "few": few, "patient": pl.Series([*map(str, range(49)), "0"])}
    )
    assert list(labels) == ["few"]
    assert refused == {
        "ankle": "50 values, each of one example",
        "patient": "49 values, of which most have fewer than 2 examples",
    }


def test_rare_classes_and_tags_are_left_out_and_counted() -> None:
    tags = [["a", "b"]] * 5 + [["a", f"t{k}"] for k in range(3000)]
    columns = {
        "folder": pl.Series(["cat"] * 4 + ["dog"] * 3 + ["owl"], dtype=pl.String),
        "tags": pl.Series(map(json.dumps, tags), dtype=pl.String),
        "bars": pl.Series(["|".join(each) for each in tags], dtype=pl.String),
    }
    labels, refused = zip(*(labels_of({name: values}) for name, values in columns.items()), strict=True)
    folder, listed, bars = (each[name] for each, name in zip(labels, columns, strict=True))
    assert (folder.names, folder.values.tolist()) == (("cat", "dog"), [0] * 4 + [1] * 3 + [-1])
    assert folder.rare == Rare(1, 1, 2, "classes")
    assert (listed.names, bars.names) == (("a", "b"), ("a", "b"))
    assert (listed.rare, bars.rare) == (Rare(3000, 3000, 5, "tags"),) * 2
    assert listed.values[[0, 5]].tolist() == bars.values[[0, 5]].tolist() == [[1, 1], [1, 0]]
    assert refused == ({}, {}, {})


def test_the_least_number_of_examples_is_the_users(cached: Path) -> None:
    frame = rows(cached).with_columns(
        kind=pl.Series(["cat"] * 25 + ["dog"] * 14 + ["owl"]),
        mark=pl.Series([["x", "y", "z"] if k < 3 else ["x"] for k in range(40)]),
    )
    table = str(written(frame, cached / "it.jsonl"))
    named = {least: load_any(FileOptions(least=least).of(table), 24) for least in (None, 1, 15)}
    assert {least: data.labels["kind"].names for least, data in named.items() if "kind" in data.labels} == {
        None: ("cat", "dog"),
        1: ("cat", "dog", "owl"),
    }
    assert named[15].refused["kind"] == "1 value of 15 or more examples"
    assert {least: data.labels["mark"].names for least, data in named.items()} == {
        None: ("x",),
        1: ("x", "y", "z"),
        15: ("x",),
    }
    note = "mark: 2 tags of fewer than 5 examples left out (6 examples)"
    assert note in named[None].findings()["rare classes and tags"]
    with pytest.raises(ValueError, match="examples of a class or a tag are a whole number from 1 on"):
        load_any(f"{table},least=0")


def test_texts_with_a_bar_now_and_then_are_no_tags() -> None:
    titles = pl.Series([f"a picture of thing {k}{' | page' * (k % 2)}" for k in range(100)])
    assert labels_of({"title": titles})[1] == {
        "title": "101 values, of which most have fewer than 5 examples"
    }
