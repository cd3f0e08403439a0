"""Labels of data over an index: those of every row where the pass read the records, else those of held-out rows."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from counterpoint.cli import main
from counterpoint.data import load
from counterpoint.data.derived.labelling import Labelling
from counterpoint.data.derived.relabelled import RelabelledData
from counterpoint.data.labels import LabelTypeError
from counterpoint.data.listed import labels as listed_labels
from counterpoint.data.sharded import labels
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.sharded.indexing import index
from counterpoint.data.sharded.labels import FOUND
from counterpoint.files import DamagedFileError
from counterpoint.recipes import Recipe, override
from counterpoint.study.opened import open_data
from counterpoint.study.side_by_side import evaluate
from counterpoint.study.training.runner import run
from counterpoint.training.run import Run
from counterpoint.training.start import prepare
from fixtures.files import bitmap
from fixtures.shards import number_of, picture, write_shard, write_shards

KINDS = ("kind 0", "kind 1", "kind 2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    index(write_shards(folder / "shards", shards=30, kinds=3), folder / "index", jobs=1)
    return folder / "index"


def of_every_kind(number: int) -> dict[str, Any]:
    """Return what the JSON of a record says beside its caption, as a table has it, too."""
    looks = (["red", "round"], [], None, ["?red"])
    return {
        "kind": f"kind {number % 3}",
        "look": looks[number % 4],
        "parts": "wheel"
        if number < 200
        else f"wheel|door {number % 2}",  # one shard alone says that these are tags
        "price": None if number % 5 == 0 else number + 0.5,
        "days": number,  # too many for classes
        "at": [number / 240, 0.25] if number % 3 else None,
        "eye_x": number / 240,
        "eye_y": None if number % 7 == 0 else 1 - number / 480,
        "x": number % 2,
        "y": number // 2 % 2,
        "spot_x": 12.5 + number / 8,
        "spot_y": 3.5,
        "seen": json.dumps([number % 2, None, 0.5][: 1 + number % 3]) if number % 11 else None,
        "start": number / 8 if number % 9 else None,
        "end": number / 8 + 0.5 if number % 9 else None,
        "duration": 40,
        "only": "one",
        "mixed": number if number < 200 else "many",
        "url": f"https://example.org/{number}",
    }


def test_full_disk_ends_index_with_an_error_and_not_by_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    source = write_shards(tmp_path / "shards", shards=12, kinds=3)
    monkeypatch.setattr(
        os, "posix_fallocate", full
    )  # pages of a mapped file that find no room kill the process
    with pytest.raises(
        OSError, match=r"No space left on device \(it takes more than .* free there\).*label-0.npy"
    ):
        index(source, tmp_path / "index", jobs=1)
    monkeypatch.undo()
    assert not list((tmp_path / "index").glob("*.npy"))
    assert index(source, tmp_path / "index", jobs=1).labels


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("every")
    index(write_shards(folder / "shards", shards=24, labels=of_every_kind), folder / "index", jobs=1)
    return folder / "index"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of the same rows."""
    folder = tmp_path_factory.mktemp("table")
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(240):
            (folder / f"{number}.png").write_bytes(picture(number))
            told = {"file_name": f"{number}.png", "text": f"a picture of number {number}"}
            file.write(json.dumps(told | of_every_kind(number)) + "\n")
    return folder / "rows.jsonl"


def test_index_reads_whole_numbers_as_numbers_where_it_is_said(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", shards=24, labels=lambda number: {"age": number % 9})
    for said, kind in (("", "classes"), (",numbers=age", "numbers")):
        index(f"{shards}{said}", tmp_path / kind, jobs=1)
        assert load(str(tmp_path / kind)).labels["age"].kind == kind


def test_labels_of_every_kind_are_those_of_same_rows_in_a_table(every: Path, table: Path) -> None:
    data, listed = load(str(every)), load(f"{table},group=none")
    assert {name: label.kind for name, label in data.labels.items()} == {
        "at": "points",
        "days": "numbers",
        "eye": "points",
        "kind": "classes",
        "look": "tags",
        "moments": "timelines",
        "parts": "tags",
        "price": "numbers",
        "seen": "timelines",
        "spot_x": "numbers",
        "spot_y": "numbers",
        "x": "classes",
        "y": "classes",
    }
    rows = np.argsort([number_of(pixels) for pixels in data.images(np.arange(240))])
    same = np.argsort([number_of(pixels) for pixels in listed.images(np.arange(240))])
    assert list(data.labels) == list(listed.labels)
    for name, label in listed.labels.items():
        assert data.labels[name].names == label.names
        np.testing.assert_array_equal(data.labels[name].values[rows], label.values[same])
        assert data.labels[name].contents == label.contents
    assert data.refused.keys() == listed.refused.keys() == {"duration", "mixed", "only", "spot", "url"}
    assert {name: why for name, why in data.refused.items() if name != "spot"} == {
        name: why
        for name, why in listed.refused.items()
        if name != "spot"  # whose rows come in another order
    }
    assert data.findings()["columns that are no labels"].startswith(
        "duration (1 value), mixed (201 values, of which most have fewer than 2 examples), only (1 value), "
        "spot (the point of row 1 lies"
    )


def test_a_label_is_refused_as_one_of_a_table_is(every: Path, recipe: Recipe) -> None:
    data = load(str(every))
    with pytest.raises(ValueError, match="'url' is no label: 240 values"):
        data.label("url")
    with pytest.raises(ValueError, match=r"'spot' is no label: the point of row \d+ lies at .* outside"):
        data.label("spot")
    with pytest.raises(
        LabelTypeError, match=r"the label 'days' of .* holds numbers, and tags are needed: there are look"
    ):
        Run("bce", str(every), recipe, labels="days").on(data)


def test_texts_of_too_many_values_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed_labels, "MOST_VALUES", 9)  # fewer than the records of a shard
    index(write_shards(tmp_path / "shards", labels=of_every_kind), tmp_path / "index", jobs=1)
    data = load(str(tmp_path / "index"))
    assert data.refused["url"] == "more than 2,000 values"
    assert {"days", "price", "at", "look"} <= data.labels.keys()
    for path in (tmp_path / "index" / labels.FOUND).iterdir():
        assert "url" not in pl.read_parquet_schema(path)


def test_an_index_that_lacks_what_its_pass_found_says_so(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", labels=of_every_kind)
    index(shards, tmp_path / "index", jobs=1)
    shutil.rmtree(tmp_path / "index" / FOUND)
    write_shard(shards / "00003.tar", range(30, 37))
    with pytest.raises(
        DamagedFileError, match=r"found-labels.*is damaged.*: delete the index and make it again"
    ):
        index(shards, tmp_path / "index", jobs=1)


def test_a_label_of_any_kind_is_mapped_and_sent_by_its_name(every: Path) -> None:
    for label in load(str(every)).labels.values():
        assert isinstance(label.values, np.memmap)
        sent = pickle.dumps(label)
        assert label.values.tobytes() not in sent
        again = pickle.loads(sent)
        np.testing.assert_array_equal(again.values, label.values)
        few = pickle.loads(pickle.dumps(replace(label, values=label.values[100:140])))
        np.testing.assert_array_equal(few.values, label.values[100:140])


@pytest.mark.parametrize(
    ("arm", "label", "task"),
    [
        ("bce", "look", "multi_label"),
        pytest.param("cross-entropy", "kind", "probe", marks=pytest.mark.slow),
        pytest.param("l1,on=images", "price", "regression", marks=pytest.mark.slow),
    ],
)
def test_methods_and_tasks_of_every_kind_work(
    arm: str, label: str, task: str, every: Path, recipe: Recipe, tmp_path: Path
) -> None:
    short = override(recipe, {"steps": 2, "checkpoint_every": 2, "validate_every": 2})
    run(Run(arm, str(every), short, labels=label), tmp_path / "run", tasks=(task,))
    assert {row["task"] for row in evaluate(tmp_path / "run", tasks=(task,)).scores()} == {task}


@pytest.mark.parametrize(
    "asked", ["kind,share=0.25,noise=0.2", "look,share=0.5,missing=0.5", "price,share=0.5", "at,share=0.5"]
)
def test_labels_are_few_and_wrong_in_training_alone(
    asked: str, every: Path, recipe: Recipe, tmp_path: Path
) -> None:
    data = load(str(every))
    labelling = Labelling.parse(asked)
    changed = RelabelledData(data, labelling)
    true, seen = data.labels[labelling.label], changed.labels[labelling.label]
    train, held = data.splits.train, np.arange(len(data.splits.train), len(data))
    np.testing.assert_array_equal(seen.values[held], true.values[held])
    shown = labelling.share * true.known[train].sum()
    assert abs(seen.known[train].sum() - shown) <= len(true.names) + 1
    assert (len(changed.wrong) > 0) == bool(labelling.noise or labelling.missing)
    assert changed.fingerprint.parts != data.fingerprint.parts
    assert list(changed.shards) == list(data.shards)
    again = pickle.loads(pickle.dumps(changed)).labels[labelling.label]
    np.testing.assert_array_equal(again.values, seen.values)


@pytest.mark.slow
def test_other_processes_prepare_batches_of_labels_few_and_wrong(
    every: Path, recipe: Recipe, tmp_path: Path
) -> None:
    asked = Run("bce", str(every), override(recipe, {"workers": 1}), labels="look,share=0.5,missing=0.5")
    _, loader = prepare(asked, open_data(asked), tmp_path)
    sent = [batch.labels["look"] for batch, _ in loader.batches(0, 2)]
    assert all(map(torch.equal, sent, (loader.batch(step).labels["look"] for step in range(2))))


def test_describe_tells_of_labels_of_every_kind(every: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "describe", str(every), "--json"]) == 0
    said = capsys.readouterr().out
    for name in ("at", "days", "kind", "look"):
        assert f'"{name}"' in said


def kinds_of(data: ShardedData) -> list[int]:
    return [number_of(pixels) % 3 for pixels in data.images(np.arange(len(data)))]


def test_every_row_has_the_class_of_its_record(made: Path) -> None:
    data = load(str(made))
    assert isinstance(data, ShardedData)
    assert {name: (label.kind, label.names) for name, label in data.labels.items()} == {
        "kind": ("classes", KINDS),
        "number": ("numbers", ()),
    }
    assert data.labels["kind"].values.tolist() == kinds_of(data)
    assert data.findings() == {}
    assert data.describe()["labels"] == {"kind": "3 classes", "number": "numbers from 0 to 299"}


def test_no_class_is_held_or_sent_to_another_process_row_by_row(made: Path) -> None:
    data = load(str(made))
    assert isinstance(data.labels["kind"].values, np.memmap)
    sent = pickle.dumps(data)
    again = pickle.loads(sent)
    assert isinstance(again.ids, np.memmap)
    assert isinstance(again.splits.train, np.memmap)
    assert again.labels["kind"].values.tolist() == data.labels["kind"].values.tolist()
    assert data.ids.tobytes() not in sent


def test_tasks_and_methods_of_labels_work(made: Path, recipe: Recipe, tmp_path: Path) -> None:
    short = override(recipe, {"steps": 2, "checkpoint_every": 2, "validate_every": 2})
    run(Run("supcon,on=images,labels=kind", str(made), short), tmp_path / "run", test=False)
    run(Run("clip", str(made), short), tmp_path / "clip", tasks=("probe", "zero_shot"))
    scored = evaluate(tmp_path / "clip", tasks=("probe", "zero_shot")).scores()
    count = len(load(str(made)).splits.test["held out"])
    whole = [row for row in scored if row["subset"] == "all" and row["metric"].endswith("top1")]
    assert {row["n"] for row in whole} == {count}
    assert {row["task"] for row in scored} == {"probe", "zero_shot"}


def test_where_records_counted_not_read_held_out_rows_labels(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", kinds=3)
    for shard in shards.glob("*.tar"):
        shard.with_name(f"{shard.stem}_stats.json").write_text(json.dumps({"successes": 10}))
    index(shards, tmp_path / "index", jobs=1)
    data = load(str(tmp_path / "index"))
    assert isinstance(data, ShardedData)
    values = data.labels["kind"].values
    held_out = np.arange(len(data.splits.train), len(data))
    assert data.labels["kind"].names == KINDS
    assert set(values[data.splits.train].tolist()) == {-1}
    assert values[held_out].tolist() == np.array(kinds_of(data))[held_out].tolist()
    assert data.findings()["labels"].startswith(
        "known of 0 of 80 records to train on: the others were counted by"
    )


def test_rare_classes_and_tags_are_left_out_as_of_a_table(tmp_path: Path) -> None:
    for k in range(40):
        (tmp_path / f"{k}.bmp").write_bytes(bitmap(k))
    frame = pl.DataFrame(
        {
            "file_name": [f"{k}.bmp" for k in range(40)],
            "text": [f"caption {k}" for k in range(40)],
            "split": ["train"] * 30 + ["validation"] * 5 + ["test"] * 5,
            "kind": ["cat", "dog"] * 19 + ["cat", "owl"],
            "look": [["x", "y"] if k < 20 else ["x", f"rare {k % 9}"] for k in range(40)],
        }
    )
    frame.write_parquet(tmp_path / "it.parquet")
    for least in ("", ",least=1", ",least=3"):
        source = f"{tmp_path / 'it.parquet'}{least}"
        index(source, tmp_path / f"index{least}", jobs=1)
        table, indexed = load(source), load(str(tmp_path / f"index{least}"))
        told = [
            {name: (label.names, label.rare) for name, label in data.labels.items()}
            for data in (table, indexed)
        ]
        assert told[0] == told[1]
        assert table.findings().get("rare classes and tags") == indexed.findings().get(
            "rare classes and tags"
        )
    assert set(told[0]) == {"kind", "look"}
    assert indexed.labels["look"].texts(np.array([0])) == ['["x", "y"]']
