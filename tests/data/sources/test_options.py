"""Options of a data set as a whole: what may be broken, what stays together, how much is held out."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from counterpoint.cli.common.files import FileOptions
from counterpoint.data.pictured import PictureData
from counterpoint.data.reporting import report
from counterpoint.data.sharded.indexing import index
from counterpoint.data.source import load, load_any
from counterpoint.data.sources import SourceOptions
from counterpoint.data.sources._files.locations import reaching
from counterpoint.registry import UnknownNameError
from fixtures.files import write_pairs
from fixtures.shards import write_shards


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    path = write_pairs(tmp_path / "pairs")
    pl.read_csv(path).drop("split").write_csv(path)
    return path


def test_they_are_read_from_the_name(table: Path, tmp_path: Path) -> None:
    few = load(f"{table},held-out=3")
    assert max(len(few.splits.test["held out"]), len(few.splits.validation["held out"])) <= 3
    traits = list((tmp_path / "cache").rglob("traits-*/*.parquet"))
    assert traits
    for file in traits:
        file.unlink()
    alone = load(f"{table},group=none")
    assert "look" not in alone.leaked
    assert not list((tmp_path / "cache").rglob("traits-*/*.parquet")), "none is hashed"


def test_the_command_writes_them_into_the_name() -> None:
    files = FileOptions(broken=0.05, group="none", held_out=100)
    assert files.of("pairs.csv") == "pairs.csv,broken=0.05,group=none,held-out=100"
    assert FileOptions().of("pairs.csv") == "pairs.csv"
    with pytest.raises(ValueError, match="--broken says how files are read: give it with --data"):
        files.of(None)


def test_pictures_of_more_pixels_are_broken(table: Path) -> None:
    rows = pl.read_csv(table)["file_name"]
    for row in (0, 1):  # as one may always be broken
        Image.new("RGB", (200, 100 + row), "red").save(table.parent / rows[row])
    limited = f"{table},broken=0.5,max-pixels=19999"
    for _ in range(2):  # the cache knows pictures by their bytes, and has met these under both limits
        assert len(load(f"{table},broken=0.5,max-pixels=20200")) == len(rows)
        assert len(load(limited)) == len(rows) - 2
    assert "picture of too many pixels" in str(report(limited).plain())
    assert "picture of too many pixels" not in str(report(str(table)).plain())
    with pytest.raises(ValueError, match=r"2 × picture of too many pixels \(.*at most 19,999 are read"):
        load(f"{table},broken=0,max-pixels=19999")
    assert FileOptions(max_pixels=7).of("pairs.csv") == "pairs.csv,max-pixels=7"


def test_an_index_keeps_the_limit_of_its_source(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "tars")  # of 576 pixels a picture
    made = index(f"{shards},max-pixels=576", tmp_path / "limited", jobs=1)
    assert made.digest != index(shards, tmp_path / "index", jobs=1).digest
    data = load(str(tmp_path / "limited"))
    assert isinstance(data, PictureData)
    assert data.most_pixels == 576
    assert load(f"{tmp_path / 'limited'},broken=0.5").broken == 0.5
    for option in ("max-pixels=9", "numbers=age", "held-out=9"):
        with pytest.raises(
            ValueError, match=f"limited is an index: give {option} to the data that it is made of"
        ):
            load(f"{tmp_path / 'limited'},broken=0.5,{option}")
    with pytest.raises(ValueError, match="no record of the split 'validation' can be used"):
        index(f"{shards},max-pixels=575", tmp_path / "none", jobs=1)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("broken=2", "broken=2: the share of rows that may be left out is a number from 0 to below 1"),
        ("group=no", "unknown way to keep pictures together 'no': did you mean 'none'?"),
        ("held-out=0", "held-out=0: the rows of validation and of test are a whole number from 1 on"),
        ("held-out=few", "held-out=few: the rows"),
        ("max-pixels=0", "max-pixels=0: the most pixels of a picture are a whole number from 1 to"),
        ("max-pixels=1000000000", "max-pixels=1000000000: the most pixels of a picture are"),
    ],
)
def test_wrong_values_are_refused(option: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        SourceOptions.parse(option)


LONG = "a_name_longer_than_one_would_think_of_oneself"


def test_a_name_may_be_longer_than_a_file_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    concepts = "cat+dog+pig+fish+apple+banana+car+bus+hat+tree+ball+chair"
    actions = "appear+vanish+change colour+move left+move right"
    world = f"clips:compositions,frames=6,pixels=32,settings=count+relation,tinted=1,backgrounds=white,{actions=!s}"
    world += f",{concepts=!s},colours=red+yellow+green+blue,contrasts=flip,train=40,validation=16,test=16"
    assert len(world) > 255
    columns = {f"{LONG}_{i}": [str(row * i) for row in range(40)] for i in range(8)}
    path = tmp_path / "wide.csv"
    pl.DataFrame({"a": [f"words {row}" for row in range(40)], **columns}).write_csv(path)
    wide = f"{path},columns=text:a+text:{'+text:'.join(columns)}"
    for name in (world, f"{world},missing=text:0.5", wide):
        assert len(load_any(name).splits.train)
    with pytest.raises(UnknownNameError, match="unknown data set 'aaaa"):
        load_any("a" * 300)


def test_an_address_where_no_server_answers_says_so() -> None:
    address = "http://127.0.0.1:9/a.tar"
    with (
        pytest.raises(FileNotFoundError, match="no server answers there, or it has no such file"),
        reaching(address),
    ):
        raise FileNotFoundError(address)
    with (
        pytest.raises(OSError, match=r"no server answers there \(Connection refused\): check the address"),
        reaching("ftp://127.0.0.1:9/a.tar"),
    ):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
