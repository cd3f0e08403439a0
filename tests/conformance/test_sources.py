"""Properties that must hold of every source of pairs: each is found by its file, and each suffix has a writer here."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.source import load
from counterpoint.data.sources import SOURCES, Ledger, read


@dataclass(frozen=True)
class Row:
    """One pair: its picture is known by its colour."""

    number: int
    text: str
    split: str
    kind: str

    @property
    def facts(self) -> dict[str, str]:
        return {"id": f"row {self.number}", "text": self.text, "split": self.split, "kind": self.kind}

    @property
    def png(self) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (10 * self.number, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()


SPLITS = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
ROWS = [Row(k, f"caption {k}", split, ("cat", "dog")[k % 2]) for k, split in enumerate(SPLITS)]
EMPTY = Row(20, "", "train", "cat")


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def beside(path: Path, rows: list[Row]) -> list[dict[str, str]]:
    """Write the pictures of a table, and return its rows."""
    for row in rows:
        put(path.parent / f"{row.number}.png", row.png)
    return [{"file_name": f"{row.number}.png", **row.facts} for row in rows]


def write_text(path: Path, rows: list[Row]) -> None:
    separator = "\t" if path.suffix == ".tsv" else ","
    pl.DataFrame(beside(path, rows)).write_csv(path, separator=separator)


def write_lines(path: Path, rows: list[Row]) -> None:
    pl.DataFrame(beside(path, rows)).write_ndjson(path)


def write_parquet(path: Path, rows: list[Row]) -> None:
    inside = [{"image": {"bytes": row.png, "path": f"{row.number}.png"}, **row.facts} for row in rows]
    pl.DataFrame(inside).write_parquet(path)


def write_tar(path: Path, rows: list[Row]) -> None:
    with tarfile.open(path, "w") as archive:
        for row in rows:
            for suffix, content in (("png", row.png), ("json", json.dumps(row.facts).encode())):
                member = tarfile.TarInfo(f"{row.number}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def write_folder(path: Path, rows: list[Row]) -> None:
    for row in rows:
        put(path / row.split / row.kind / f"{row.number}.png", row.png)
        put(path / row.split / row.kind / f"{row.number}.txt", row.text.encode())


WRITERS: dict[str, Callable[[Path, list[Row]], None]] = {
    ".csv": write_text,
    ".tsv": write_text,
    ".jsonl": write_lines,
    ".ndjson": write_lines,
    ".parquet": write_parquet,
    ".tar": write_tar,
    "": write_folder,
}
SERIES = {".ts"}
"""Suffixes of sources that hold no pictures; tests/data/listed/test_series.py is about them."""
SUFFIXES = sorted(
    {suffix for name in SOURCES.names() for suffix in SOURCES.get(name).suffixes or {""}} - SERIES
)
every = pytest.mark.parametrize("suffix", SUFFIXES, ids=lambda suffix: suffix or "folder")
every_file = pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def written(tmp_path: Path, suffix: str, rows: list[Row], name: str = "pairs") -> Path:
    path = tmp_path / name / f"it{suffix}"
    path.parent.mkdir(exist_ok=True)
    WRITERS[suffix](path, rows)
    return path


def numbers(data: Pairs, rows: np.ndarray) -> list[int]:
    """Return which pictures some rows show."""
    return (data.images(rows)[:, 0, 4, 4].double() / 10).round().int().tolist()


@every
def test_a_source_gives_the_pairs_that_were_written(suffix: str, tmp_path: Path) -> None:
    data = load(str(written(tmp_path, suffix, ROWS)), 6)
    assert isinstance(data, Pairs)
    every_row = np.arange(len(data))
    shown = numbers(data, every_row)
    assert sorted(shown) == list(range(20))
    assert [list(data.captions(row)) for row in range(20)] == [[f"caption {number}"] for number in shown]
    (labels,) = data.labels.values()
    assert [labels.names[value] for value in labels.values] == [ROWS[number].kind for number in shown]
    (validation,), (test,) = data.splits.validation.values(), data.splits.test.values()
    sides = {"train": data.splits.train, "validation": validation, "test": test}
    for side, rows in sides.items():
        assert {shown[row] for row in rows} == {row.number for row in ROWS if row.split == side}
    assert np.array_equal(np.sort(np.concatenate(list(sides.values()))), every_row)
    assert not data.split_here
    assert data.describe()["data"]["rows"] == 20


@every
def test_ids_are_unique_and_those_of_the_user_stay_when_rows_are_added(suffix: str, tmp_path: Path) -> None:
    few = Pairs(written(tmp_path, suffix, ROWS[1:], "few"), 8)
    more = Pairs(written(tmp_path, suffix, ROWS, "more"), 8)
    before, after = names(few), names(more)
    assert {number: after[number][1] for number in before} == {
        number: key for number, (_, key) in before.items()
    }
    assert len({identity for identity, _ in after.values()}) == len(ROWS)
    if suffix:  # pictures in a folder have names and no ids, and are numbered
        assert {number: after[number] for number in before} == before


def names(data: Pairs) -> dict[int, tuple[int, str]]:
    """Return of each picture the id and what the user calls it."""
    shown = numbers(data, np.arange(len(data)))
    return {number: (int(data.ids[row]), data.key(row)) for row, number in enumerate(shown)}


@every
def test_a_row_is_the_same_whenever_it_is_read(suffix: str, tmp_path: Path) -> None:
    path, rows = written(tmp_path, suffix, ROWS), np.array([3, 0, 19])
    data = Pairs(path, 8)
    for other in (Pairs(path, 8), pickle.loads(pickle.dumps(data))):
        assert torch.equal(other.images(rows[::-1].copy()).flip(0), data.images(rows))
        assert [other.captions(int(row)) for row in rows] == [data.captions(int(row)) for row in rows]
        assert [other.key(int(row)) for row in rows] == [data.key(int(row)) for row in rows]
        assert np.array_equal(other.ids, data.ids)
        assert other.fingerprint.parts == data.fingerprint.parts


@every
def test_a_gap_is_left_out_and_listed(suffix: str, tmp_path: Path) -> None:
    path, ledger = written(tmp_path, suffix, [*ROWS, EMPTY]), Ledger()
    assert len(read(str(path), ledger)) == 20
    (reason,) = ledger.frame.filter(kind="lost")["reason"]
    assert reason == "empty caption"
    assert any("empty caption" in line for line in Pairs(path, 8).findings())


@every
def test_a_broken_picture_is_left_out_and_named(suffix: str, tmp_path: Path) -> None:
    class Broken(Row):
        @property
        def png(self) -> bytes:
            return super().png[:40]

    data = Pairs(written(tmp_path, suffix, [*ROWS, Broken(20, "caption 20", "train", "cat")]), 8)
    assert sorted(numbers(data, np.arange(len(data)))) == list(range(20))
    assert any("broken picture" in title for title in data.findings())


@every_file
@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02 no pairs in here \xff" * 40], ids=["empty", "noise"])
def test_a_file_that_is_none_is_refused_in_a_line_that_names_it(
    suffix: str, content: bytes, tmp_path: Path
) -> None:
    put(path := tmp_path / f"it{suffix}", content)
    with pytest.raises(ValueError) as told:  # noqa: PT011 # the message is looked at below
        load(str(path), 8)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_of_no_source_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    put(path := tmp_path / "pairs.xlsx", b"")
    with pytest.raises(ValueError, match=r"pairs\.xlsx: expected a folder or one of \.csv, .*\.tar"):
        load(str(path), 8)


def test_every_suffix_is_of_one_source_and_has_a_writer() -> None:
    claimed = [suffix for name in SOURCES.names() for suffix in SOURCES.get(name).suffixes]
    assert len(set(claimed)) == len(claimed)
    assert set(SUFFIXES) == set(WRITERS)
