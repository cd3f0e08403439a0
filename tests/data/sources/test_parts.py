"""Large tables are several shards, from which the same rows are read."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

import counterpoint as cp
from counterpoint.data.kinds import files
from counterpoint.data.listed import stored
from counterpoint.data.reporting import report
from counterpoint.data.sharded import indexing
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.source import load
from counterpoint.data.sources import Ledger, Records, open_shard, read, shards
from counterpoint.data.sources._reading import wholes
from counterpoint.data.sources.tables import _parts

ROWS = 300
KINDS = ("parquet", "csv", "jsonl")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for name, value in {"MOST_ROWS": 50, "PART_ROWS": 40, "MOST_BYTES": 2000, "PART_BYTES": 1500}.items():
        monkeypatch.setattr(_parts, name, value)
    monkeypatch.setattr(_parts, "_SMALL", 0)
    _parts._spans_of.cache_clear()


def table(folder: Path, kind: str) -> Path:
    """Write a table whose captions are of two lines now and then, in quotes, and hold quotes themselves."""
    (folder / "pictures").mkdir(parents=True)
    for n in range(ROWS):
        Image.new("RGB", (8, 8), (n // 256, n % 256, 40)).save(folder / "pictures" / f"{n}.png")
    texts = [f'number {n}, "quoted"\nand\nmore' if n % 7 == 0 else f"number {n}é" for n in range(ROWS)]
    frame = pl.DataFrame(
        {"image": [f"pictures/{n}.png" for n in range(ROWS)], "text": texts, "uid": range(ROWS)}
    )
    path = folder / f"pairs.{kind}"
    write = {"parquet": frame.write_parquet, "csv": frame.write_csv, "jsonl": frame.write_ndjson}
    write[kind](path)  # type: ignore[operator] # each takes a path
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_parts_hold_what_the_whole_holds(kind: str, tmp_path: Path) -> None:
    name = f"{table(tmp_path, kind)},columns=id:uid"
    parts, ledger = shards(name, Ledger()), Ledger()
    assert len(parts) > 4
    assert len({part.name for part in parts}) == len(parts)
    assert [shard.span for shard in wholes(name, Ledger())] == [None]
    put_together = Records.concat([open_shard(part, ledger) for part in parts]).frame
    whole = read(name, Ledger()).frame
    counted = ["where"] if kind == "csv" else []  # by lines, of which some rows take several
    assert put_together.drop(counted).equals(whole.drop(counted))
    assert not len(ledger.frame)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_one_large_table(kind: str, tmp_path: Path) -> None:
    path = table(tmp_path, kind)
    made = cp.data.index(path, tmp_path / "index", jobs=1, held_out=20)
    assert int(made.training.sum()) + sum(made.table.filter(pl.col("held_out") != "")["train"]) == ROWS
    data = load(str(tmp_path / "index"))
    for row in (0, len(data.splits.train) - 1):
        number = int(data.captions(row)[0].removeprefix("number ").split(",")[0].rstrip("é"))
        red, green, _ = data.images(data.splits.train[[row]])[0].float().mean((1, 2)).round().tolist()
        assert 256 * red + green == number
    seen = {data.key(int(row)).partition("/")[0] for row in data.splits.train}
    assert len(seen) > 2
    assert all(name.startswith(f"pairs.{kind}[") for name in seen)


@pytest.mark.parametrize("kind", KINDS)
def test_table_of_more_than_held_row_by_row_not_read_to_see_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path, kind)
    monkeypatch.setattr(stored, "MOST", 200)
    monkeypatch.setattr(files, "read", lambda *_: pytest.fail("the whole is not read"))
    data = load(f"{path},held-out=20")
    assert isinstance(data, ShardedData)
    assert data.index.source == f"{path},held-out=20"


def every_part(path: Path) -> Records:
    return Records.concat([open_shard(part, Ledger()) for part in shards(str(path), Ledger())])


def test_a_line_is_named_as_it_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [json.dumps({"image": f"{n}.png", "text": f"number {n}"}) for n in range(ROWS)]
    rows[250] = "{"
    path.write_text("\n".join(rows))
    with pytest.raises(ValueError, match=r"pairs\.jsonl cannot be read as \.jsonl: line 251: "):
        every_part(path)
    csv = ["image,text", *(f"{n}.png,number {n}" for n in range(ROWS))]
    csv[200] += ",too much"
    (tmp_path / "pairs.csv").write_text("\n".join(csv))
    with pytest.raises(ValueError, match=r"pairs\.csv, line 201: 3 fields, where the header names 2"):
        every_part(tmp_path / "pairs.csv")


def test_folders_of_splits_are_splits_in_every_part(tmp_path: Path) -> None:
    names = [f"{('train', 'train', 'test')[n // 100]}/{n}.png" for n in range(ROWS)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pl.DataFrame({"image": names, "text": names}).write_parquet(tmp_path / "pairs.parquet")
    wrong = every_part(tmp_path / "pairs.parquet").frame.filter(
        pl.col("split").fill_null("train") != pl.col("key").str.split("/").list.first()
    )
    assert not len(wrong)


def test_a_large_table_is_described_by_some_of_it(tmp_path: Path) -> None:
    found = report(str(table(tmp_path, "parquet")), sample=30).plain()
    assert found["contents"]["examples"]["value"] == pytest.approx(ROWS, rel=0.2)
    assert found["contents"]["examples looked at"]["value"] < ROWS
    assert found["contents"]["pictures looked at"]["value"] == 30


def test_a_table_that_is_gone_leaves_the_parts_of_another(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        table(tmp_path / folder, "parquet")
    cp.data.index(f"{tmp_path}/{{a,b}}/pairs.parquet", tmp_path / "index", jobs=1, held_out=20)
    before = indexing.ShardIndex.open(tmp_path / "index")
    (tmp_path / "b" / "pairs.parquet").unlink()
    after = indexing.ShardIndex.open(tmp_path / "index")
    assert [shard.span for shard in after.shards] == [shard.span for shard in before.shards]
    assert len(after.lost) == sum("b/pairs" in shard.name for shard in before.shards) > 4
