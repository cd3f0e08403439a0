"""Labels of data over an index: those of every row where the pass read the records, else those of held-out rows."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from counterpoint.data import load
from counterpoint.data.sharded.data import Sharded
from counterpoint.data.sharded.index import FILE
from counterpoint.data.sharded.indexing import index
from counterpoint.recipes import Recipe, override
from counterpoint.study.side_by_side import evaluate
from counterpoint.study.training.runner import run
from counterpoint.training.run import Run
from fixtures.shards import number_of, write_shards

KINDS = ("kind 0", "kind 1", "kind 2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    index(write_shards(folder / "shards", shards=30, kinds=3), folder / "index", jobs=1)
    return folder / "index"


def kinds_of(data: Sharded) -> list[int]:
    return [number_of(pixels) % 3 for pixels in data.images(np.arange(len(data)))]


def test_every_row_has_the_class_of_its_record(made: Path) -> None:
    data = load(str(made))
    assert isinstance(data, Sharded)
    assert {name: labels.names for name, labels in data.labels.items()} == {
        "kind": KINDS
    }  # 300 numbers are no label
    assert data.labels["kind"].values.tolist() == kinds_of(data)
    assert data.findings() == {}
    assert data.describe()["labels"] == {"kind": "3 classes"}


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


def test_where_records_were_counted_and_not_read_held_out_rows_alone_have_labels(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", kinds=3)
    for shard in shards.glob("*.tar"):
        shard.with_name(f"{shard.stem}_stats.json").write_text(json.dumps({"successes": 10}))
    index(shards, tmp_path / "index", jobs=1)
    data = load(str(tmp_path / "index"))
    assert isinstance(data, Sharded)
    values = data.labels["kind"].values
    held_out = np.arange(len(data.splits.train), len(data))
    assert data.labels["kind"].names == KINDS
    assert set(values[data.splits.train].tolist()) == {-1}
    assert values[held_out].tolist() == np.array(kinds_of(data))[held_out].tolist()
    assert data.findings()["labels"].startswith(
        "known of 0 of 80 records to train on: the others were counted by"
    )


def test_an_index_of_an_earlier_version_has_no_labels_until_it_is_made_again(tmp_path: Path) -> None:
    index(write_shards(tmp_path / "shards", kinds=3), tmp_path / "index", jobs=1)
    path = tmp_path / "index" / FILE
    told = json.loads(path.read_text())
    path.write_text(json.dumps({name: told[name] for name in told if name not in ("labels", "labelled")}))
    logs = [*(tmp_path / "index").glob("counted*.jsonl")]
    counted = [json.loads(line) for log in logs for line in log.read_text().splitlines() if line]
    for log in logs:
        log.unlink()
    log = tmp_path / "index" / "counted.jsonl"  # of an earlier version, which had one
    log.write_text(
        "".join(json.dumps({n: v for n, v in one.items() if n != "labels"}) + "\n" for one in counted)
    )
    assert '"labels"' not in log.read_text()
    assert load(str(tmp_path / "index")).labels == {}
    index(tmp_path / "shards", tmp_path / "index", jobs=1)
    assert json.loads(path.read_text()) == told
