"""An index is made once, goes on where it was killed, and says when its source is not what it was."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.data.sharded import counting, indexing
from counterpoint.data.sharded.counting import CountingUnit
from counterpoint.data.sharded.index import OtherIndexError, ShardIndex
from counterpoint.data.sharded.indexing import index
from counterpoint.data.sharded.sizes import stated_size
from counterpoint.data.sources import FileSpan, Ledger
from counterpoint.execution import Listener, NullListener, ResourceRequest, Unit, WorkHandover, work
from counterpoint.execution.orders import WorkItem
from counterpoint.files import NewerFormatError
from counterpoint.modalities import PAIR
from fixtures.full_disk import full_disk
from fixtures.shards import write_shard, write_shards


class Heard(NullListener):
    """Listener that counts the shards that it hears of."""

    begun = done = 0

    def begin(self, title: str, units: Sequence[Unit[Any]]) -> None:
        self.begun += sum(len(unit.shards) for unit in units if isinstance(unit, CountingUnit))

    def ended(self, unit: Unit[Any], result: Any) -> None:
        self.done += result


@dataclass(frozen=True)
class Elsewhere:
    """Executor that hands over what it is told of, as jobs of a cluster that come later do."""

    def check(self, needs: ResourceRequest) -> None:
        return None

    def carry_out(
        self, units: Sequence[Unit[Any]], listener: Listener | None = None, listed: Path | None = None
    ) -> list[Any]:
        raise WorkHandover("jobs are queued")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "shards")


def test_full_disk_says_index_takes_and_same_command_goes_on(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    full_disk(monkeypatch, indexing.TABLE)
    with pytest.raises(
        OSError,
        match=rf"No space left on device \(it takes about \d+ KB, and .* free there\).*{indexing.TABLE}",
    ):
        index(shards, folder, jobs=1)
    monkeypatch.undo()
    assert not (folder / indexing.TABLE).exists()
    told = Heard()
    index(shards, folder, jobs=1, listener=told)
    assert told.begun == 0, "what was counted is not counted again"


def test_records_are_counted_and_whole_shards_held_out(shards: Path, tmp_path: Path) -> None:
    told = Heard()
    made = index(shards, tmp_path / "index", jobs=1, listener=told)
    assert [told.begun, told.done] == [12, 12]
    assert made.table["name"].to_list() == [f"{n:05}.tar" for n in range(12)]
    held = dict(made.table.select("name", "held_out").iter_rows())
    assert sorted(held.values()) == [""] * 8 + ["test"] * 2 + ["validation"] * 2
    assert made.training.tolist() == [0 if side else 10 for side in held.values()]
    assert made.held_out_rows == {"validation": 20, "test": 20}
    assert dict(made.columns) == {"image": "image", "text": "text"}
    assert sorted(p.name for p in made.held_out.glob("*.tar")) == ["test.tar", "validation.tar"]


@pytest.mark.parametrize("split", [False, True])
def test_groups_that_may_be_split_are_reported(
    split: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for shard in range(12):
        side = {0: "test", 1: "validation"}.get(shard, "train") if split else None
        texts = [f"row {shard} {k}" for k in range(3)]
        rows = {"text": texts, "question": texts, "group": ["a patient"] * 3, "split": [side] * 3}
        pl.DataFrame(rows, schema_overrides={"split": pl.String}).write_parquet(
            tmp_path / f"{shard:02}.parquet"
        )
    with caplog.at_level("WARNING"):
        index(f"{tmp_path}/*.parquet,columns=text+question+group", tmp_path / "index", jobs=1)
    assert ("records of one group may lie on several sides" in caplog.text) == (not split)


def test_what_is_held_out_follows_from_the_names_of_shards(shards: Path, tmp_path: Path) -> None:
    first = index(shards, tmp_path / "one", jobs=1).table
    moved = shutil.copytree(shards, tmp_path / "moved")
    second = index(moved, tmp_path / "two", jobs=1).table
    assert first["held_out"].to_list() == second["held_out"].to_list()


def test_at_most_so_many_rows_are_held_out(shards: Path, tmp_path: Path) -> None:
    made = index(shards, tmp_path / "index", held_out=3, jobs=1)
    assert made.held_out_rows == {"validation": 3, "test": 3}
    assert sorted(made.table["held_out"].to_list()) == [""] * 10 + ["test", "validation"]


def test_given_splits_stay(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    for number, split in enumerate(["train", "test", "train", "validation"]):
        write_shard(folder / f"{number}.tar", range(10 * number, 10 * number + 10), split=split)
    made = index(folder, tmp_path / "index", jobs=1)
    assert made.training.tolist() == [10, 0, 10, 0]
    assert made.held_out_rows == {"validation": 10, "test": 10}


def test_an_index_is_made_once(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = index(shards, tmp_path / "index", jobs=1)
    counted: list[str] = []
    real = counting._count
    monkeypatch.setattr(counting, "_count", lambda *of: counted.append(of[-1].name) or real(*of))
    monkeypatch.setattr(indexing, "copy_out", lambda *_: pytest.fail("held-out rows are copied once"))
    again = index(shards, tmp_path / "index", jobs=1)
    assert again.digest == first.digest
    assert counted == []


def test_only_changed_shards_are_counted_again(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(shards, tmp_path / "index", jobs=1)
    write_shard(shards / "00003.tar", range(30, 37))
    write_shard(shards / "00012.tar", range(120, 125))
    (shards / "00007.tar").unlink()
    with pytest.raises(
        OtherIndexError,
        match=r"out of date: 1 shard new \(00012\.tar\), 1 shard missing \(00007\.tar\), 1 shard changed "
        r"\(00003\.tar\); run counterpoint data index .* again",
    ):
        ShardIndex.open(tmp_path / "index")
    counted: list[str] = []
    real = counting._count
    monkeypatch.setattr(counting, "_count", lambda *of: counted.append(of[-1].name) or real(*of))
    made = index(shards, tmp_path / "index", jobs=1)
    assert sorted(counted) == ["00003.tar", "00012.tar"]
    assert len(made.shards) == 12


def test_an_index_of_another_source_is_refused(shards: Path, tmp_path: Path) -> None:
    index(shards, tmp_path / "index", jobs=1)
    other = write_shards(tmp_path / "other")
    with pytest.raises(OtherIndexError, match=r"holds another index \(.*shards\): give another folder"):
        index(other, tmp_path / "index", jobs=1)
    with pytest.raises(OtherIndexError, match=r"holds another index \(5,000 rows held out\)"):
        index(shards, tmp_path / "index", held_out=7, jobs=1)
    with pytest.raises(OtherIndexError, match="is no index and not empty"):
        index(shards, other, jobs=1)
    assert len(list(other.iterdir())) == 12


def test_an_index_whose_first_file_was_not_whole_is_begun_again(shards: Path, tmp_path: Path) -> None:
    left = tmp_path / "index" / f".{indexing.BEGUN}.elsewhere.1.1.part"
    left.parent.mkdir()
    left.write_text("{")
    assert index(shards, left.parent, jobs=1).digest == index(shards, tmp_path / "other", jobs=1).digest


def test_an_index_of_a_newer_version_is_refused(shards: Path, tmp_path: Path) -> None:
    index(shards, tmp_path / "index", jobs=1)
    path = tmp_path / "index" / indexing.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(NewerFormatError, match="newer counterpoint"):
        cp.data.load(str(tmp_path / "index"))


def test_too_few_shards_to_hold_some_out(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards", shards=2)
    with pytest.raises(
        ValueError, match="whole shards are held out, and 1 shard of records without a split cannot"
    ):
        index(folder, tmp_path / "index", jobs=1)


def test_shards_without_records(tmp_path: Path) -> None:
    write_shard(tmp_path / "shards" / "0.tar", [])
    with pytest.raises(ValueError, match="1 shard with no record in them"):
        index(tmp_path / "shards", tmp_path / "index", jobs=1)


def test_counts_are_taken_from_what_is_beside_the_shards(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        (shards / f"{number:05}_stats.json").write_text(json.dumps({"count": 12, "successes": 10}))
    assert stated_size(str(shards / "00004.tar")) == 10
    opened: list[str] = []
    real = indexing.sources.open_shard
    monkeypatch.setattr(
        indexing.sources, "open_shard", lambda s, ledger: opened.append(s.name) or real(s, ledger)
    )
    made = index(shards, tmp_path / "index", jobs=1)
    assert int(made.training.sum()) == 80
    assert len(opened) == 5  # the first, for its columns, and those that are held out


def test_sizes_of_a_folder_are_read(shards: Path) -> None:
    (shards / "sizes.json").write_text(json.dumps({"00004.tar": 7}))
    assert stated_size(str(shards / "00004.tar")) == 7
    assert stated_size(str(shards / "00005.tar")) is None
    (shards / "00005_stats.json").write_text("[]")
    assert stated_size(str(shards / "00005.tar")) is None


def test_broken_pictures_are_not_held_out(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards", broken=range(0, 120, 2))
    assert index(folder, tmp_path / "index", jobs=1).held_out_rows == {"validation": 10, "test": 10}


def test_the_numbers_of_rows_are_mapped(shards: Path, tmp_path: Path) -> None:
    made = index(shards, tmp_path / "index", jobs=1)
    rows = made.rows(95)
    assert isinstance(rows, np.memmap)
    assert rows.tolist() == list(range(95))
    assert made.rows(7).tolist() == list(range(7))


def test_the_command_says_what_it_made_and_how_it_is_used(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    assert main(["data", "index", str(shards), "--out", str(out), "--jobs", "1", "--held-out", "4"]) == 0
    said = capsys.readouterr().out
    assert "100 records to train on in 12 shards; held out: 4 of validation, 4 of test" in said
    assert f"counterpoint train clip --data {out}" in said
    assert main(["data", "index", str(shards)]) == 1
    assert "where to? For example: --out" in capsys.readouterr().err


_KILLED = """
import os, signal, sys
from counterpoint.data.sharded import indexing
told = [0]
real = indexing.sources.open_shard
def dying(shard, ledger):
    told[0] += 1
    if told[0] == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(shard, ledger)
indexing.sources.open_shard = dying
indexing.index(sys.argv[1], sys.argv[2], jobs=1)
"""


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("moment", [1, 2, 7, 13, 14, 16])
def test_an_index_that_was_killed_goes_on(moment: int, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    done = subprocess.run([sys.executable, "-c", _KILLED, shards, out, str(moment)], check=False)
    assert done.returncode == -signal.SIGKILL
    for log in out.glob("counted*.jsonl"):
        log.write_bytes(log.read_bytes() + b'\n{"name": "00011.tar", "sta')  # killed while it wrote
    undisturbed = index(shards, tmp_path / "other", jobs=1)
    assert index(shards, out, jobs=1).digest == undisturbed.digest


def test_others_count_and_end_what_is_handed_over(shards: Path, tmp_path: Path) -> None:
    undisturbed = index(shards, tmp_path / "other", jobs=1)
    out = tmp_path / "index"
    with pytest.raises(WorkHandover):
        index(shards, out, executor=Elsewhere())
    with pytest.raises(OtherIndexError, match=r"is not whole yet: run counterpoint data index .* again"):
        cp.data.load(str(out))
    work(out)
    assert ShardIndex.open(out).digest == undisturbed.digest
    assert not list(out.glob(".*"))
    assert not (out / "units.json").exists()
    with pytest.raises(ValueError, match="lists no units of work: give the folder of a study"):
        work(out)


def test_another_process_gets_the_shards(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("file_name,text,alt\n1.png,one,uno\n")
    named = indexing.sources.shards(f"{table},columns=text:alt,max-pixels=7", Ledger())
    spanned = replace(named[0], span=FileSpan(3, 7, 2), records=4, split="test")
    unit = CountingUnit((*named, spanned), PAIR, tmp_path / ".parts" / "1", ResourceRequest(cpus=2))
    assert WorkItem.read(json.loads(json.dumps(WorkItem.of(unit).plain()))).parse() == unit


@pytest.mark.slow
def test_several_processes_count_as_one(shards: Path, tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "many", shards=20, records=3)
    one, two = (index(folder, tmp_path / f"{jobs}", jobs=jobs) for jobs in (1, 2))
    assert one.digest == two.digest


def test_a_name_that_was_mistyped_takes_no_folder(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder or one of"):
        index(tmp_path / "shrads", tmp_path / "index")
    with pytest.raises(ValueError, match="with no record in them that has a column audio"):
        index(f"{shards},columns=audio", tmp_path / "index")
    assert not (tmp_path / "index").exists()
    assert index(shards, tmp_path / "index").columns == PAIR


def test_an_index_of_an_index_is_refused(shards: Path, tmp_path: Path) -> None:
    index(shards, tmp_path / "index")
    with pytest.raises(ValueError, match="index is an index already: give it to --data"):
        index(tmp_path / "index", tmp_path / "other")


def test_one_small_table_is_said_to_need_no_index(pairs: Path, tmp_path: Path) -> None:
    table = (
        pl.read_csv(pairs).drop("split").with_columns(file_name=str(pairs.parent) + "/" + pl.col("file_name"))
    )
    table.write_csv(tmp_path / "pairs.csv")
    with pytest.raises(
        ValueError, match="so few records need no index, and are divided by rows if --data names"
    ):
        index(f"{tmp_path / 'pairs.csv'},outside=yes", tmp_path / "index")
