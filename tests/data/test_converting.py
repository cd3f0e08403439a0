"""Data as shards: the same rows, in another form, whether it was stopped or not."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.data import converting
from counterpoint.data.base import Data
from counterpoint.data.converting import convert
from counterpoint.data.pictured import PairedData, PictureData
from counterpoint.data.sharded import indexing, writing
from counterpoint.data.sharded.sizes import stated_size
from counterpoint.data.source import load_any, records_of
from counterpoint.data.sources import Ledger
from counterpoint.execution import InUseError, leased
from counterpoint.raw import Raw, Table
from fixtures.shards import write_shards
from fixtures.slow import slow

ROWS = 60
FEW = 8
FORMS = ("webdataset", "parquet")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "ROWS", 7)


def save(path: Path, number: int, size: tuple[int, int] = (40, 30)) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path.name


def table(folder: Path) -> str:
    """Write a table that says everything: texts as ids, groups, several captions, labels, its own splits."""
    rows = [
        {
            "file_name": save(folder / f"{n}.png", n),
            "text": [f"picture {n}", f"it is of number {n}\nin two lines"][: 1 + n % 2],
            "id": f"item-{n}",
            "split": ("train", "train", "validation", "test")[n % 4],
            "group": f"g{n // 8}",
            "kind": ("cat", "dog", None)[n % 3],
            "size": n % 4,
            "title": ("one", "other")[n % 2],
        }
        for n in range(ROWS)
    ]
    pl.DataFrame(rows).write_ndjson(folder / "pairs.jsonl")
    return str(folder / "pairs.jsonl")


def numbered(folder: Path) -> str:
    """Write a table with numbers as ids, without splits, whose columns have other names."""
    rows = [{"path": save(folder / f"{n}.jpg", n), "alt": f"no. {n}", "uid": 10 * n} for n in range(ROWS)]
    pl.DataFrame(rows).write_csv(folder / "pairs.csv")
    return f"{folder / 'pairs.csv'},columns=image:path+text:alt+id:uid"


def files(folder: Path) -> str:
    """Write pictures in folders with a text beside each, without splits."""
    for n in range(ROWS):
        path = folder / "files" / f"kind.{n % 3}" / f"{n}.png"
        save(path, n)
        path.with_suffix(".txt").write_text(f"picture {n}\nof number {n}\n", encoding="utf-8")
    return str(folder / "files")


def pictures(folder: Path) -> str:
    """Write pictures alone."""
    for n in range(ROWS):
        save(folder / "pictures" / ("cat", "dog")[n % 2] / f"{n}.webp", n)
    return str(folder / "pictures")


def indexed(folder: Path) -> str:
    cp.data.index(write_shards(folder / "tars", kinds=3), folder / "index", jobs=1)
    return str(folder / "index")


def drawn(folder: Path) -> str:
    return "digits"


SOURCES: Mapping[str, Callable[[Path], str]] = {
    f.__name__: f for f in (table, numbered, files, pictures, indexed, drawn)
}


def everything(folder: Path) -> str:
    """Write a table of all modalities, each with gaps, as files, as lists in cells, as values and as texts."""
    from scipy.io import wavfile

    rows = []
    for n in range(FEW):
        wave = np.sin(np.arange(400) * (n + 1) / 30)
        wavfile.write(folder / f"{n}.wav", 8000, (wave * 20000).astype(np.int16))
        frames = [Image.new("RGB", (8, 8), (20 * n, 9 * k, 0)) for k in range(2 + n % 2)]
        frames[0].save(folder / f"{n}.webp", save_all=True, append_images=frames[1:], lossless=True)
        np.save(folder / f"{n}.npy", np.arange(6, dtype=np.float32).reshape(3, 2) * n)
        save(folder / f"{n}.png", n, (8, 8))
        rows.append(
            {
                "picture": f"{n}.png" if n % 3 else None,
                "sound": f"{n}.wav" if n % 4 else None,
                "film": f"{n}.webp" if n % 5 else None,
                "wrist": f"{n}.npy" if n % 2 else None,
                "ankle": [[0.5, None], [float(n), 2.0]] if n % 3 != 1 else None,
                "question": f"What is {n}?" if n % 4 != 1 else None,
                "answer": [f"It is {n}.", "a second one"] if n % 4 != 2 else [],
                "age": 20.5 + n if n % 2 else None,
                "sex": ("f", "m", None)[n % 3],
                "uid": f"nr. {n}",
                "group": f"g{n // 2}",
                "sepsis": n % 2,
                "split": ("train", "train", "validation", "test")[n // 2 % 4],
            }
        )
    pl.DataFrame(rows).write_parquet(folder / "all.parquet")
    said = "image:picture+audio:sound+video:film+wrist+ankle+question+answer+table:age+table:sex+id:uid"
    return f"{folder / 'all.parquet'},columns={said}"


def sensors(folder: Path) -> str:
    return f"{everything(folder)},missing=audio:0.3"


def made(folder: Path) -> str:
    return "clips:sensors,train=3,validation=3,test=2,pixels=64"


def told(data: Data) -> dict[int, dict[str, Any]]:
    """Return what data says of every row, by its id."""
    assert isinstance(data, PictureData)
    side, said = sides(data), labels(data)
    return {
        int(data.ids[row]): {
            "side": side[int(data.ids[row])],
            "captions": tuple(data.captions(row)) if isinstance(data, PairedData) else (),
            "labels": said[int(data.ids[row])],
            "picture": data.encoded(row),
        }
        for row in range(len(data))
    }


def sides(data: Data) -> dict[int, str]:
    """Return the split of every row, by its id."""
    named = [(name.partition(":")[0], rows) for name, rows in data.splits.sides.items()]
    return {int(data.ids[row]): name for name, rows in named for row in rows.tolist()}


def labels(data: Data) -> dict[int, dict[str, str]]:
    """Return the labels of every row, by its id."""
    return {
        int(data.ids[row]): {
            name.removesuffix(" (label)"): text
            for name, one in data.labels.items()
            if (text := one.texts(np.array([row]))[0]) is not None
        }
        for row in range(len(data))
    }


def cells(data: Data) -> dict[int, dict[str, Any]]:
    """Return what data holds in every column of every row, by the row's id."""
    every = np.arange(len(data))
    found: dict[int, dict[str, Any]] = {int(number): {} for number in data.ids}
    for column in data.columns:
        raw = data.read(column, every)
        for row in np.flatnonzero(data.present(column, every)).tolist():
            one = (
                raw[row : row + 1] if not isinstance(raw, list) else data.read_training(column, every[[row]])
            )
            if isinstance(one, Table):
                said: Any = {name: cell for name, cell in one.rows()[0].items() if cell}
            elif isinstance(one, Raw):
                said = one.values[:, : int(one.ends())].numpy().tobytes()
            else:
                said = one.numpy().tobytes() if isinstance(one, torch.Tensor) else tuple(one[0])
            found[int(data.ids[row])][column] = said
    return found


@pytest.mark.parametrize(
    ("kind", "form"),
    [(everything, "webdataset"), (everything, "parquet"), (sensors, "webdataset"), (made, "parquet")],
)
def test_every_column_is_written(kind: Callable[[Path], str], form: writing.Form, tmp_path: Path) -> None:
    before = load_any(source := kind(tmp_path))
    convert(source, tmp_path / "out", to=form)
    after = load_any(str(tmp_path / "out"))
    assert dict(after.columns) == dict(before.columns)
    assert cells(after) == cells(before)
    assert sides(after) == sides(before)
    assert {**labels(after)} == {**labels(before)}


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_of_what_is_written_the_columns_are_read_that_are_named(form: writing.Form, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(everything(tmp_path), out, to=form)
    whole = cells(load_any(str(out)))
    for said in ("image+question", "wrist+table+audio", "answer+question"):
        data = load_any(f"{out},columns={said}")
        assert [*data.columns] == said.split("+")
        narrow = cells(data)
        assert narrow == {
            number: {c: whole[number][c] for c in whole[number] if c in data.columns} for number in narrow
        }
        assert {*whole} - {*narrow} == {n for n in whole if not whole[n].keys() & {*data.columns}}
    if form == "webdataset":
        with pytest.raises(ValueError, match=r"unknown audio column of .*'wrist'. \(known: audio\)"):
            load_any(f"{out},columns=audio:wrist")
    series = load_any(f"{out},columns=series:wrist+question")
    assert dict(series.columns) == {"series": "series", "question": "text"}
    with pytest.raises(ValueError, match=r"'questoin'.* did you mean 'question'\?"):
        load_any(f"{out},columns=image+questoin")


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        *product([kind for kind in SOURCES if kind != "drawn"], FORMS),
        ("drawn", "webdataset"),
        *slow(("drawn", "parquet")),
    ],
)
def test_what_is_converted_describes_the_same(kind: str, form: writing.Form, tmp_path: Path) -> None:
    source, out = SOURCES[kind](tmp_path), tmp_path / "out"
    before = load_any(source)
    counts = convert(source, out, to=form)
    after = load_any(str(out))
    assert told(after) == told(before)
    assert counts == {"train": len(after.splits.train), **_held_out(after)}
    assert dict(after.columns) == dict(before.columns)
    first, second = (records_of(name, Ledger()) for name in (source, str(out)))
    if kind == "table":
        assert first is not None
        assert second is not None
        groups = [dict(zip(one.frame["id"], one.frame["group"], strict=True)) for one in (first, second)]
        assert groups[0] == groups[1]
        assert {*groups[0]} == {f"item-{n}" for n in range(ROWS)}


def _held_out(data: Data) -> dict[str, int]:
    return {
        side: sum(map(len, sets.values()))
        for side, sets in (("validation", data.splits.validation), ("test", data.splits.test))
    }


def test_names_of_files_stay_in_a_tar(tmp_path: Path) -> None:
    convert(files(tmp_path), tmp_path / "out")
    data = load_any(str(tmp_path / "out"))
    assert {data.key(row) for row in range(ROWS)} == {f"kind.{n % 3}/{n}" for n in range(ROWS)}
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as archive:
        assert {name.rpartition(".")[2] for name in archive.getnames()} == {"png", "txt", "json"}


def test_other_readers_take_the_caption(tmp_path: Path) -> None:
    convert(numbered(tmp_path), tmp_path / "out")
    found = {}
    for shard in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(shard) as archive:
            found |= {
                m.name: archive.extractfile(m).read().decode()  # type: ignore[union-attr] # it is a file
                for m in archive
                if m.name.endswith(".txt")
            }
    assert sorted(found.values()) == sorted(f"no. {n}" for n in range(ROWS))


def test_large_pictures_become_smaller(tmp_path: Path) -> None:
    sizes = [(80, 40), (40, 90), (24, 24), (200, 12), (25, 500)]
    turned = Image.new("RGB", (90, 40), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "drawing.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 900"><rect width="9" height="9"/></svg>'
    )
    Image.new("RGBA", (60, 60), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    names = [save(tmp_path / f"{n}.png", n, size) for n, size in enumerate(sizes)]
    names += ["turned.jpg", "drawing.svg", "clear.png"]
    pl.DataFrame({"file_name": names, "text": names, "id": range(len(names))}).write_csv(
        tmp_path / "pairs.csv"
    )
    convert(tmp_path / "pairs.csv", tmp_path / "out", to="parquet", size=24)
    found = pl.concat([pl.read_parquet(file) for file in (tmp_path / "out").glob("*.parquet")]).sort("id")
    made = dict(zip(names, found["image"].struct.field("bytes"), strict=True))
    for same in ("2.png", "3.png", "drawing.svg"):
        assert made[same] == (tmp_path / same).read_bytes()
    opened = {name: Image.open(io.BytesIO(made[name])) for name in names if name != "drawing.svg"}
    expected = {"0.png": (48, 24), "1.png": (24, 54), "4.png": (24, 480), "turned.jpg": (24, 54)}
    assert {name: opened[name].size for name in expected} == expected
    assert {opened[name].format for name in expected} == {"JPEG"}
    assert "0x0112" not in opened["turned.jpg"].getexif()
    assert np.asarray(opened["clear.png"]).min() == 255  # on white


def test_an_index_counts_by_what_lies_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = convert(table(tmp_path), tmp_path / "out")
    beside = {file.name: stated_size(str(file)) for file in (tmp_path / "out").glob("*.tar")}
    assert beside == json.loads((tmp_path / "out" / "sizes.json").read_text())
    real, read = indexing.open_local, list[str]()
    monkeypatch.setattr(indexing, "open_local", lambda shard: read.append(shard.name) or real(shard))
    made = cp.data.index(tmp_path / "out", tmp_path / "index", jobs=1)
    assert int(made.training.sum()) == counts["train"]
    assert len([name for name in read if name.startswith("train")]) < len(
        [n for n in beside if n[:5] == "train"]
    )


def test_a_full_disk_is_reported_for_parquet_shards_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(writer: parquet.ParquetWriter, table: object) -> None:
        Path(writer.where).write_bytes(bytes(5 * 2**10))
        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", full)
    with pytest.raises(
        OSError,
        match=r"No space left on device \(it takes more than 5 KB, and .* free there\); the shards before",
    ):
        convert(table(tmp_path), tmp_path / "out", to="parquet")
    assert not [file for file in (tmp_path / "out").iterdir() if "parquet" in file.name]


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, genuine = table(tmp_path), converting.reduced
    convert(source, tmp_path / "whole")

    def full(path: Path, *written: object) -> None:
        if path.name.startswith(".test"):
            path.write_bytes(bytes(5 * 2**10))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        genuine_tar(path, *written)  # type: ignore[arg-type] # passed on

    genuine_tar = writing._write_tar
    monkeypatch.setattr(writing, "_write_tar", full)
    with pytest.raises(
        OSError,
        match=r"No space left on device \(it takes more than 5 KB, and .* are free there\); the shards before it are "
        r"whole, and the same command goes on .*out/test-000000.tar",
    ):
        convert(source, tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(converting, "ROWS", 7)
    there = {file.name for file in (tmp_path / "out").iterdir()}
    assert {name for name in there if name.startswith("train")}
    assert not {name for name in there if name.startswith(("test", "sizes", "."))}
    with pytest.raises(
        ValueError, match=r"out: \d+ of \d+ shards are not there \(first: test-000000\.tar\); the command"
    ):
        load_any(str(tmp_path / "out"))
    seen: list[int] = []
    monkeypatch.setattr(converting, "reduced", lambda data, **how: seen.append(1) or genuine(data, **how))
    convert(source, tmp_path / "out")
    assert len(seen) == ROWS // 4
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()


_KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import counterpoint.data.sharded.indexing  # what a process that is killed shall not import itself
from counterpoint.data import converting
converting.ROWS = 3
real = converting.reduced
def slow(data, **how):
    time.sleep(0.02)
    return real(data, **how)
converting.reduced = slow
source, whole, killed, form = sys.argv[1:]
def start(out):
    process = os.fork()
    if process == 0:
        converting.convert(source, out, to=form, size=24, jobs=1)
        os._exit(0)
    return process
def end(process):
    assert os.waitpid(process, 0)[1] == 0
began = time.monotonic()
end(start(whole))
lasting = time.monotonic() - began
def written(out):
    return [path for path in Path(out).glob("[!.]*") if path.suffix in (".tar", ".parquet")]
total = len(written(whole))
for moment in range(20):
    process = start(killed)
    while len(written(killed)) < moment * total // 20:  # so that kills come all along, however slow the machine is
        time.sleep(0.001)
    time.sleep(random.Random(moment).uniform(0, lasting / total / 2))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    shards = written(killed)
    assert all(path.read_bytes() == Path(whole, path.name).read_bytes() for path in shards), shards
    print(len(shards))
end(start(killed))
"""


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("form", FORMS)
def test_a_killed_conversion_goes_on(form: writing.Form, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-c", _KILLED, table(tmp_path), str(whole), str(killed), form]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert len(set(done.stdout.split())) > 2, "the kills come while shards are written"
    assert {file.name for file in killed.iterdir()} == {file.name for file in whole.iterdir()}
    assert told(load_any(str(killed))) == told(load_any(str(whole)))


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    source, other = table(tmp_path), tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(
        ValueError, match="other is not empty, and holds no shards that were begun here: choose"
    ):
        convert(source, other)
    assert [file.name for file in other.iterdir()] == ["mine.txt"]
    with leased(tmp_path / "out"), pytest.raises(InUseError, match="is in use by process"):
        convert(source, tmp_path / "out")
    convert(source, tmp_path / "out")
    for different in ({"size": 9}, {"to": "parquet"}):
        with pytest.raises(ValueError, match="holds other shards, or its source has changed"):
            convert(source, tmp_path / "out", **different)  # type: ignore[arg-type] # one of them
    (tmp_path / "pairs.jsonl").write_text(
        (tmp_path / "pairs.jsonl").read_text().replace("picture 7", "picture 8")
    )
    with pytest.raises(ValueError, match="holds other shards, or its source has changed"):
        convert(source, tmp_path / "out")
    (tmp_path / "3.png").write_bytes((tmp_path / "4.png").read_bytes())
    with pytest.raises(ValueError, match=r"3\.png changed while it was in use: run the same command again"):
        convert(source, tmp_path / "late")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty"):
        convert(tmp_path / "empty", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    pl.DataFrame({"left/right": ["a b c", "d e f"] * 10, "n": [0, 1] * 10}).write_csv(tmp_path / "two.csv")
    with pytest.raises(
        ValueError, match="no file in a tar can bear the name of the column 'left/right': rename it"
    ):
        convert(f"{tmp_path / 'two.csv'},columns=left/right", tmp_path / "none")


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbered(tmp_path)
    words = ["data", "convert", str(tmp_path / "pairs.csv"), "--columns", "image=path", "text=alt", "id=uid"]
    assert (
        main([*words, "--to", "parquet", "--out", str(tmp_path / "out"), "--size", "24", "--jobs", "1"]) == 0
    )
    assert f"{ROWS} rows of" in (said := capsys.readouterr().out)
    assert f"see what fits: counterpoint data describe {tmp_path / 'out'}" in said
    assert len(load_any(str(tmp_path / "out"))) == ROWS
