"""Data sets of the hub, read where they lie: a stand-in for it on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import polars as pl
import pytest

from counterpoint.data.sharded import cached_index
from counterpoint.data.sharded.copies import Copies
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.sharded.indexing import index
from counterpoint.data.source import load, rooted
from counterpoint.data.sources import Ledger, read, shards
from fixtures.data_hub import hub
from fixtures.shards import number_of, picture


@dataclass
class Served:
    """A data set on the stand-in."""

    name: str
    files: Path
    sent: list[tuple[str, int]]

    def take_sent(self) -> int:
        """Return the bytes of tables that were sent since the last call."""
        count = sum(size for name, size in self.sent if name.endswith(".parquet"))
        self.sent.clear()
        return count


def write(path: Path, numbers: range, *, padding: int = 0) -> None:
    """Write a table of numbered pictures, in groups of rows."""
    rows = [
        {
            "image": {"bytes": picture(k) + bytes(padding), "path": f"{k}.png"},
            "text": f"a picture of number {k}",
        }
        for k in numbers
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).write_parquet(path, row_group_size=4, compression="uncompressed")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()
    files = tmp_path / "hub" / "ann" / "birds" / "data"
    for side, first, count in (("train", 0, 5), ("test", 5, 2)):
        for k in range(count):
            numbers = range(10 * (first + k), 10 * (first + k + 1))
            write(files / f"{side}-{k:05}-of-{count:05}.parquet", numbers, padding=60_000)
    with hub(tmp_path / "hub", tmp_path / "fetched") as sent:
        yield Served("hf:ann/birds", files, sent)


def test_what_a_table_says_is_read_without_the_pictures_in_it(served: Served) -> None:
    records = read(served.name, Ledger())
    assert records.frame["text"].to_list() == [[f"a picture of number {k}"] for k in range(70)]
    assert records.frame["split"].to_list() == ["train"] * 50 + ["test"] * 20
    whole = sum(file.stat().st_size for file in served.files.iterdir())
    assert 0 < served.take_sent() < whole / 5
    assert records.assets("image")[37].read_bytes() == picture(37) + bytes(60_000)
    assert 0 < served.take_sent() < whole / 5


def test_rows_without_a_picture_are_left_out(served: Served) -> None:
    rows = [
        {"image": {"bytes": picture(k) if k % 2 else None, "path": None}, "text": f"number {k}"}
        for k in range(10)
    ]
    pl.DataFrame(rows).write_parquet(served.files / "train-00000-of-00005.parquet")
    records = read(served.name, Ledger())
    assert records.frame["text"].to_list()[:6] == [[f"number {k}"] for k in (1, 3, 5, 7, 9)] + [
        ["a picture of number 10"]
    ]


def test_a_small_data_set_is_read_before_training(served: Served) -> None:
    data = load(served.name)
    assert not isinstance(data, ShardedData)
    assert len(data) == 70
    assert number_of(data.images(np.array([42]))[0]) == 42
    assert len(data.splits.test["held out"]) == 20
    assert not list(Path(datasets.config.HF_DATASETS_CACHE).rglob("*.arrow"))
    assert rooted(served.name) == served.name


def test_large_one_read_while_trained_over_index_nobody_asked(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cached_index, "MOST_FETCHED", 1000)
    data = load(f"{served.name},broken=0.1")
    assert isinstance(data, ShardedData)
    assert data.broken == 0.1
    assert {side: len(rows) for side, rows in data.splits.sides.items()} == {
        "train": 40,
        "validation: held out": 10,
        "test: held out": 20,
    }
    served.take_sent()
    said = [data.captions(row)[0] for row in range(10)]
    assert said == [f"a picture of number {number_of(data.images(np.array([row]))[0])}" for row in range(10)]
    size = next(served.files.iterdir()).stat().st_size
    assert size <= served.take_sent() < 1.5 * size  # one copy, for all of its pictures
    for copy in Copies.usual().folder.glob("*/*.parquet"):
        copy.unlink()
    data._stand_ins._last = None
    assert number_of(data.images(np.array([3]))[0]) == int(said[3].rpartition(" ")[2])
    made = list((tmp_path / "cache" / "indices").iterdir())
    assert len(made) == 1
    served.take_sent()
    load(f"{served.name},broken=0.2")
    assert served.take_sent() < size / 5  # the index is there


def test_an_index_of_a_data_set_of_the_hub_is_as_any_other(served: Served, tmp_path: Path) -> None:
    made = index(served.name, tmp_path / "index", jobs=1)
    assert made.source == served.name
    assert made.held_out_rows == {"validation": 10, "test": 20}
    state = {shard.name: shard.state for shard in shards(served.name, Ledger())}
    write(served.files / "train-00002-of-00005.parquet", range(20, 30), padding=60_000)
    after = {shard.name: shard.state for shard in shards(served.name, Ledger())}
    assert [name for name in state if state[name] != after[name]] == ["train-00002-of-00005.parquet"]


def test_what_datasets_fetched_is_not_fetched_again(served: Served) -> None:
    datasets.load_dataset("ann/birds")
    served.take_sent()
    data = load(served.name)
    assert len(data) == 70
    assert served.take_sent() == 0
    assert Path(shards(served.name, Ledger())[0].location).suffix == ".arrow"


def test_a_name_of_nothing_is_one_line(served: Served) -> None:
    with pytest.raises(ValueError, match=r"^hf:nobody/nothing cannot be loaded: ") as told:
        load("hf:nobody/nothing")
    assert "\n" not in str(told.value)
