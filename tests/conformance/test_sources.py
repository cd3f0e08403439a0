"""Properties that must hold of every source: each is found by its file, and has a writer here, as has each suffix.

What is asked of all comes first. Behind it is what is asked of those of pictures whose rows say all that a row can say.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from counterpoint.cli.data._source import DatasetOptions
from counterpoint.cli.train import TrainOptions
from counterpoint.data.base import Data
from counterpoint.data.collections import COLLECTIONS
from counterpoint.data.kinds.written import WRITTEN
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.source import load, load_any
from counterpoint.data.sources import SOURCES, Ledger, read, shards
from counterpoint.data.synthetic import WORLDS
from counterpoint.forms import fields_of
from counterpoint.study.design import Design


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


def write_saved(root: Path, rows: list[Row]) -> str:
    """Write a data set as ``save_to_disk`` does."""
    facts = [{"image": {"bytes": row.png, "path": None}, **row.facts} for row in rows]
    form = datasets.Features(
        {"image": datasets.Image(), **dict.fromkeys(rows[0].facts, datasets.Value("string"))}
    )
    datasets.Dataset.from_list(facts, features=form).save_to_disk(root)
    return str(root)


def write_coco(root: Path, rows: list[Row]) -> str:
    """Write pictures with Karpathy's file of captions."""
    images = []
    for row in rows:
        name = f"{row.number}.png"
        put(root / "images" / name, row.png)
        split = {"validation": "val"}.get(row.split, row.split)
        sentences = [{"raw": row.text}]
        images.append({"filename": name, "split": split, "cocoid": row.number, "sentences": sentences})
    put(root / "dataset_coco.json", json.dumps({"images": images}).encode())
    return f"coco:{root}"


def write_llava(root: Path, rows: list[Row]) -> str:
    """Write pictures with a request and a reply each, in LLaVA's JSON."""
    entries = []
    for row in rows:
        put(root / "images" / f"{row.number}.png", row.png)
        turns = [
            {"from": "human", "value": "<image>\nWhat is it?"},
            {"from": "gpt", "value": row.text},
        ]
        identity, split = f"row {row.number}", row.split
        entries.append({"id": identity, "image": f"{row.number}.png", "split": split, "conversations": turns})
    put(root / "talk.json", json.dumps(entries).encode())
    return str(root / "talk.json")


def write_divided(root: Path, rows: list[Row]) -> str:
    """Write a folder for each split, with a table and its pictures."""
    for split in dict.fromkeys(row.split for row in rows):
        write_text(root / split / "metadata.csv", [row for row in rows if row.split == split])
    return str(root)


def write_spoken(root: Path, rows: list[Row]) -> str:
    """Write recordings of one loudness each, and the table of what is said in them."""
    for row in rows:
        file = io.BytesIO()
        wavfile.write(file, 8000, np.full(400, 1000 * row.number, np.int16))
        put(root / "wavs" / f"{row.number}.wav", file.getvalue())
    put(root / "metadata.csv", "\n".join(f"{row.number}|{row.text}|{row.text}" for row in rows).encode())
    return str(root)


def write_hearts(root: Path, rows: list[Row]) -> str:
    """Write recordings of one level each as PTB-XL is unpacked, in the folds that its authors recommend."""
    facts = []
    for row in rows:
        name = f"records100/{row.number}_lr"
        put(root / f"{name}.dat", np.full(50, 100 * row.number, "<i2").tobytes())
        head = f"{row.number}_lr 1 100 50\n{row.number}_lr.dat 16 100/mV 16 0 0 0 0 I\n"
        put(root / f"{name}.hea", head.encode())
        fold = {"train": 1, "validation": 9, "test": 10}[row.split]
        facts.append(
            {
                "ecg_id": row.number,
                "patient_id": row.number,
                "report": row.text,
                "scp_codes": "{'NORM': 100.0}",
                "strat_fold": fold,
                "filename_lr": name,
            }
        )
    pl.DataFrame(facts).write_csv(root / "ptbxl_database.csv")
    put(root / "scp_statements.csv", b",diagnostic,diagnostic_class\nNORM,1.0,NORM\n")
    return f"ptbxl:{root}"


def write_series(root: Path, rows: list[Row]) -> str:
    """Write series of one level each as the archives have them: validation is taken from the training file."""
    for side in ("train", "test"):
        own = [row for row in rows if (row.split == "test") == (side == "test")]
        lines = [",".join([str(row.number)] * 6) + f":{row.kind}" for row in own]
        head = "@problemName it\n@timeStamps false\n@univariate true\n@classLabel true cat dog\n@data\n"
        put(root / f"it_{side.upper()}.ts", (head + "\n".join(lines) + "\n").encode())
    return str(root)


def as_file(suffix: str) -> Callable[[Path, list[Row]], str]:
    """Return a writer of one file, or of a folder, that a source is asked for by its path."""

    def write(root: Path, rows: list[Row]) -> str:
        path = root / f"it{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[suffix](path, rows)
        return str(path)

    return write


OF_SOURCES: dict[str, Callable[[Path, list[Row]], str]] = {
    "arrow": write_saved,
    "coco": write_coco,
    "divided": write_divided,
    "folder": as_file(""),
    "ljspeech": write_spoken,
    "llava": write_llava,
    "ptbxl": write_hearts,
    "table": as_file(".csv"),
    "ts": write_series,
    "webdataset": as_file(".tar"),
}
"""Writers of sources by their names: each writes rows below a folder, and returns what a user writes to read them."""
UNWRITTEN = {"hub": ("it lies in a store on the network", "tests/data/sources/test_hub.py")}
"""Sources that no test can write, each with the reason and the file that tests it instead."""
UNDIVIDED = {"ljspeech", "ts"}
"""Sources whose rows do not say all three splits."""
every_source = pytest.mark.parametrize("name", sorted(OF_SOURCES))


def test_help_names_whatever_can_be_written_as_data() -> None:
    heads = [SOURCES.get(name).head for name in SOURCES.names()]
    for name in (*WORLDS.names(), *COLLECTIONS.names(), *filter(None, heads)):
        assert re.search(rf"\b{name}", WRITTEN), name
    for form, option in ((DatasetOptions, "source"), (TrainOptions, "data"), (Design, "data")):
        assert (fields_of(form)[option].description or "").startswith(WRITTEN)


def test_every_source_has_a_writer_or_a_reason() -> None:
    told = "give it a writer in OF_SOURCES of tests/conformance/test_sources.py, or in UNWRITTEN the reason for none"
    for name in SOURCES.names():
        assert (name in OF_SOURCES) != (name in UNWRITTEN), f"{name}: {told}"
    assert {*OF_SOURCES, *UNWRITTEN} == {*SOURCES.names()}
    assert all((Path(__file__).parents[2] / file).is_file() for _, file in UNWRITTEN.values())


def told(data: Data, rows: np.ndarray) -> list[int]:
    """Return which examples some rows are, by the colour, the loudness or the level of what they hold."""
    column, modality = next(iter(data.columns.items()))
    raw = data.read(column, rows)
    if modality == "image":
        levels = raw[:, 0, 4, 4].double() / 10
    elif modality == "audio":
        levels = raw.samples.double().nanmedian(1).values * 32768 / 1000
    else:
        levels = raw.measured.double().nanmean((1, 2))
    return levels.round().int().tolist()


@every_source
def test_a_source_is_found_and_gives_each_row_once(name: str, tmp_path: Path) -> None:
    written = OF_SOURCES[name](tmp_path / "it", ROWS)
    assert {shard.source for shard in shards(written, Ledger())} <= set(SOURCES.names())
    assert name == "divided" or {shard.source for shard in shards(written, Ledger())} == {name}
    data = load_any(written, 8)
    shown = told(data, np.arange(len(data)))
    assert sorted(shown) == list(range(20))
    if "text" in data.columns:
        assert data.read("text", np.arange(20)) == [f"caption {number}" for number in shown]
    assert len(np.unique(data.ids)) == 20
    for side, rows in {"train": data.splits.train, **data.splits.sides}.items():
        if name not in UNDIVIDED:
            assert {ROWS[shown[row]].split for row in rows} == {side.split(":")[0]}
    assert sorted(np.concatenate(list(data.splits.sides.values()))) == list(range(20))


@every_source
def test_what_a_source_gives_is_the_same_whenever_it_is_read(name: str, tmp_path: Path) -> None:
    written, rows = OF_SOURCES[name](tmp_path / "it", ROWS), np.array([19, 0, 3])
    data = load_any(written, 8)
    for other in (load_any(written, 8), pickle.loads(pickle.dumps(data))):
        assert told(other, rows) == told(data, rows[::-1].copy())[::-1]
        assert [other.key(int(row)) for row in rows] == [data.key(int(row)) for row in rows]
        assert np.array_equal(other.ids, data.ids)
        assert other.fingerprint.parts == data.fingerprint.parts


@every_source
def test_rows_are_called_the_same_when_one_is_added_behind(name: str, tmp_path: Path) -> None:
    few, more = (
        load_any(OF_SOURCES[name](tmp_path / place / "it", rows), 8)
        for place, rows in (("few", ROWS[:-1]), ("more", ROWS))
    )
    before, after = (
        {number: data.key(row) for row, number in enumerate(told(data, np.arange(len(data))))}
        for data in (few, more)
    )
    assert len(before) == 19
    assert {number: after[number] for number in before} == before


SUFFIXES = sorted(WRITERS)
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
def test_ids_unique_and_those_of_user_stay_when_rows_are_added(suffix: str, tmp_path: Path) -> None:
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


def test_file_of_no_source_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    put(path := tmp_path / "pairs.xlsx", b"")
    with pytest.raises(ValueError, match=r"pairs\.xlsx: expected a folder or one of \.csv, .*\.tar"):
        load(str(path), 8)


def test_every_suffix_is_of_one_source_and_has_a_writer() -> None:
    claimed = [suffix for name in SOURCES.names() for suffix in SOURCES.get(name).suffixes]
    assert len(set(claimed)) == len(claimed)
    # The only suffix of a source may be what the writer of its name writes.
    alone = {suffix for name in OF_SOURCES if len(own := SOURCES.get(name).suffixes) == 1 for suffix in own}
    assert {*claimed} - {*WRITERS} <= alone, "give the suffix a writer in WRITERS"
    assert {*WRITERS} - {""} <= {*claimed}
