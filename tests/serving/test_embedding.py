"""Embedding: every row once, in order, as the model sees it; what is stopped goes on, and what cannot be says why."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
import shutil
import tarfile
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file, save_file
from torch import Tensor

import counterpoint as cp
from counterpoint.cli import main
from counterpoint.data.base import Data, Rows, Splits
from counterpoint.data.labels import Classes, Numbers
from counterpoint.data.sharded.data import ShardedData
from counterpoint.data.sharded.indexing import index as data_index
from counterpoint.data.source import load_any
from counterpoint.execution import StopRequest
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.models import Pretrained
from counterpoint.registry import UnknownNameError
from counterpoint.serving import Vectors
from counterpoint.serving.embedding import rows as embedding
from counterpoint.serving.embedding.ahead import PrefetchIterator
from counterpoint.serving.embedding.batch_size import BatchSize
from counterpoint.serving.indexing.extending import INDEX_KINDS
from fixtures import foreign
from fixtures.shards import write_shards
from fixtures.tiny import TinyData
from fixtures.units import Heard


@pytest.fixture(autouse=True)
def _parts_of_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "ROWS", 16)
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"transformers:{foreign.clip(tmp_path_factory.mktemp('models') / 'clip')}"


@pytest.fixture(scope="module")
def texts_alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sentence-transformers:{foreign.sentences(tmp_path_factory.mktemp('models') / 'texts')}"


class Sentences(Data):
    """Texts of many lengths in two columns, of which every third row lacks the second."""

    columns: Mapping[str, str] = {"text": "text", "title": "text"}
    name = "sentences"

    def __init__(self, count: int = 40) -> None:
        self.ids = 7 * np.arange(count)
        self.splits = Splits(np.arange(count), {}, {})

    def read(self, column: str, rows: Rows) -> list[str]:
        return [f"{column} {'red ' * (row % 7)}{row}" for row in rows.tolist()]

    def present(self, column: str, rows: Rows) -> np.ndarray:
        return np.ones(len(rows), bool) if column == "text" else rows % 3 > 0


class Counted:
    """Rows that a model was asked to embed, by column; the last part may be given up by a stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[str, int] = {}
        original = TowerMethod.embed_prepared

        def counted(model: TowerMethod, column: str, prepared: Tensor, head: str = "default") -> Tensor:
            self.rows[column] = self.rows.get(column, 0) + len(prepared)
            return original(model, column, prepared, head)

        monkeypatch.setattr(TowerMethod, "embed_prepared", counted)


def whole(vectors: Vectors, modality: str) -> np.ndarray:
    read = [vectors.read(part) for part in vectors.parts if part.name.startswith(modality)]
    return np.concatenate([numbers for numbers, _ in read])


def stops_after(count: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let writing parts end with an error once so many have been written."""
    original, written = parquet.write_table, [0]

    def write(*arguments: Any, **options: Any) -> None:
        if written[0] == count:
            raise error
        written[0] += 1
        original(*arguments, **options)

    monkeypatch.setattr(parquet, "write_table", write)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_embedded_in_order_as_the_model_sees_them(
    dtype: str, pairs: Path, reference: str, tmp_path: Path
) -> None:
    vectors = cp.embed(reference, pairs, tmp_path / "vectors", dtype=dtype, batch_size=5)  # type: ignore[arg-type]
    model = cp.load(reference)
    data = load_any(str(pairs), inputs=model.inputs)
    rows = np.arange(len(data))
    about = vectors.about
    assert (about.model, about.fingerprint, about.data) == (reference, model.fingerprint, str(pairs))
    assert (about.modalities, about.width, about.dtype, about.shares_space) == (
        ("image", "text"),
        8,
        dtype,
        True,
    )
    assert len(vectors) == 2 * len(data)
    assert len(vectors.parts) == 10
    for column in ("image", "text"):
        expected = model.embed(column, data.read(column, rows)).numpy()
        difference = np.abs(whole(vectors, column).astype(np.float32) - expected).max()
        assert difference < (1e-6 if dtype == "float32" else 1e-3)
    table = vectors.table()
    own = table[: len(data)]
    assert table.columns == ["id", "key", "modality", "split", "text", "group"]
    assert table["modality"].to_list() == ["image"] * len(data) + ["text"] * len(data)
    assert own["id"].to_list() == data.ids.tolist()
    assert own["key"].to_list() == [f"{row}.png" for row in rows]
    assert own["text"].to_list() == data.read("text", rows)
    names = data.labels["group"].names
    assert own["group"].to_list() == [names[value] for value in data.labels["group"].values]
    for side, of_side in data.splits.sides.items():
        assert set(own["split"][of_side]) == {side.partition(":")[0]}


def test_every_column_that_both_have_and_only_where_a_row_has_it(texts_alone: str, tmp_path: Path) -> None:
    tower = cp.load(texts_alone).tower("text")
    model, data = Pretrained({"text": tower, "title": tower}), Sentences()
    vectors = cp.embed(model, data, tmp_path, batch_size=4)
    assert vectors.about.modalities == ("text", "title")
    assert not vectors.about.shares_space
    rows = {"text": np.arange(40), "title": np.array([row for row in range(40) if row % 3])}
    for column, there in rows.items():
        expected = model.embed(column, data.read(column, there)).numpy()
        assert np.allclose(whole(vectors, column), expected, atol=1e-6)
        assert vectors.table().filter(modality=column)["id"].to_list() == data.ids[there].tolist()
        assert vectors.table().filter(modality=column)["text"].to_list() == data.read(column, there)
    chosen = cp.embed(model, data, tmp_path / "one", modalities=["title"], limit=10)
    assert chosen.about.modalities == ("title",)
    assert chosen.table()["id"].to_list() == [7 * row for row in (1, 2, 4, 5, 7, 8)]


def test_a_column_without_any_value_has_no_vectors(
    texts_alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Sentences(20)
    monkeypatch.setattr(data, "present", lambda column, rows: rows > 15)
    vectors = cp.embed(texts_alone, data, tmp_path)
    assert vectors.counts == (0, 4)
    assert vectors.read(vectors.parts[0])[0].shape == (0, 16)
    assert vectors.table()["id"].to_list() == [7 * row for row in range(16, 20)]


def test_texts_of_one_number_of_tokens_go_together(
    texts_alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []
    original = TowerMethod.embed_prepared

    def seen(model: TowerMethod, column: str, prepared: Tensor, head: str = "default") -> Tensor:
        shapes.append(tuple(prepared.shape))
        return original(model, column, prepared, head)

    monkeypatch.setattr(TowerMethod, "embed_prepared", seen)
    data = Sentences(16)
    texts = [
        "a",
        "unspeakably",
        *["red red"] * 6,
        *["a red blue car"] * 8,
    ]  # a word that is not known is one token
    monkeypatch.setattr(data, "read", lambda column, rows: [texts[row] for row in rows])
    cp.embed(texts_alone, data, tmp_path, modalities=["text"], batch_size=8)
    assert shapes == [(8, 6), (8, 4)]


def test_a_tower_that_reads_every_place_gets_every_place(tmp_path: Path) -> None:
    model = cp.load(f"transformers:{foreign.siglip(tmp_path / 'siglip')}")
    data = Sentences(16)
    vectors = cp.embed(model, data, tmp_path / "vectors", batch_size=5)
    expected = model.embed("text", data.read("text", np.arange(16))).numpy()
    assert np.allclose(whole(vectors, "text"), expected, atol=1e-6)


def test_a_label_that_is_called_like_a_column_gets_another_name(texts_alone: str, tmp_path: Path) -> None:
    data = Sentences(4)
    data.labels = {"score": Classes(("low", "high"), np.array([1, -1, 0, 1]))}  # type: ignore[misc]
    table = cp.embed(texts_alone, data, tmp_path).table()
    assert table["label_score"].to_list() == ["high", None, "low", "high"]


def _rows_of_a_shop(folder: Path) -> list[dict[str, str]]:
    """Write 24 pictures; return a row for each, with free text in columns of many names."""
    folder.mkdir()
    rows = []
    for n in range(24):
        Image.new("RGB", (8, 8), (9 * n, 0, 200 - 3 * n)).save(folder / f"{n}.png")
        rows.append(
            {
                "file_name": f"{n}.png",
                "text": f"a picture {n}",
                "split": (*["train"] * 4, "validation", "test")[n % 6],
                "photographer": ("Ann", "Bob")[n % 2],
                "note": f"bought in street {n}" if n else "",
                "score": f"grade {n}",
                "label_score": f"mark {n}",
                "shop": "the same",
            }
        )
    return rows


def _as_csv(folder: Path, rows: list[dict[str, str]]) -> str:
    pl.DataFrame(rows).write_csv(folder / "goods.csv")
    return str(folder / "goods.csv")


def _as_jsonl(folder: Path, rows: list[dict[str, str]]) -> str:
    (folder / "goods.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "goods.jsonl")


def _as_parquet(folder: Path, rows: list[dict[str, str]]) -> str:
    pl.DataFrame(rows).write_parquet(folder / "goods.parquet")
    return str(folder / "goods.parquet")


def _as_folder(folder: Path, rows: list[dict[str, str]]) -> str:
    pl.DataFrame(rows).write_csv(folder / "metadata.csv")
    return str(folder)


def _as_texts_beside(folder: Path, rows: list[dict[str, str]]) -> str:
    for row in rows:
        told = {name: value for name, value in row.items() if name != "file_name"}
        (folder / row["file_name"]).with_suffix(".json").write_text(json.dumps(told))
    return str(folder)


def _as_shards(folder: Path, rows: list[dict[str, str]]) -> str:
    (folder / "shards").mkdir()
    for start in range(0, 24, 8):
        with tarfile.open(folder / "shards" / f"{start:05}.tar", "w") as tar:
            for row in rows[start : start + 8]:
                name = row["file_name"].removesuffix(".png")
                told = {key: value for key, value in row.items() if key != "file_name"}
                for ending, content in (
                    ("png", (folder / f"{name}.png").read_bytes()),
                    ("json", json.dumps(told).encode()),
                ):
                    member = tarfile.TarInfo(f"{name}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return str(folder / "shards")


def _as_index(folder: Path, rows: list[dict[str, str]]) -> str:
    data_index(_as_shards(folder, rows), folder / "index", jobs=1)
    return str(folder / "index")


def _as_index_of_a_table(folder: Path, rows: list[dict[str, str]]) -> str:
    data_index(_as_csv(folder, rows), folder / "index", jobs=1)
    return str(folder / "index")


@pytest.mark.parametrize(
    "written",
    [
        _as_csv,
        _as_jsonl,
        _as_parquet,
        _as_folder,
        _as_texts_beside,
        _as_shards,
        _as_index,
        _as_index_of_a_table,
    ],
)
def test_columns_that_are_no_labels_come_along(
    written: Callable[[Path, list[dict[str, str]]], str],
    reference: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = _rows_of_a_shop(tmp_path / "goods")
    vectors = cp.embed(reference, written(tmp_path / "goods", rows), tmp_path / "vectors")
    assert len({tuple(parquet.read_schema(part).names) for part in vectors.parts}) == 1
    table = vectors.table()
    assert len(table) == 48
    named = {row["text"]: row for row in rows}
    others = {"photographer": "photographer", "shop": "shop"}
    others |= {"note": "note", "label_score": "label_score", "label_label_score": "score"}
    for row in table.iter_rows(named=True):
        told = named[row["text"]]
        assert {name: row[name] or "" for name in others} == {name: told[own] for name, own in others.items()}
    cp.index(vectors, tmp_path / "made")
    asked = ["search", str(tmp_path / "made"), "a picture", "--where", "note LIKE '%street 1_'", "--k", "30"]
    assert main([*asked, "--json"]) == 0
    found = capsys.readouterr().out
    assert [found.count(f'"bought in street {n}"') for n in range(24)] == [0] * 10 + [1] * 10 + [0] * 4


@pytest.mark.parametrize("written", [_as_shards, _as_index])
def test_shards_and_index_of_them_have_vectors_of_the_same_files(
    written: Callable[[Path, list[dict[str, str]]], str], reference: str, tmp_path: Path
) -> None:
    rows = _rows_of_a_shop(tmp_path / "goods")
    listed = cp.embed(reference, _as_csv(tmp_path / "goods", rows), tmp_path / "listed")
    vectors = cp.embed(reference, written(tmp_path / "goods", rows), tmp_path / "vectors")
    for modality in ("image", "text"):
        found, expected = (_by_text(each, modality) for each in (vectors, listed))
        assert found.keys() == expected.keys()
        assert all(np.abs(found[text] - expected[text]).max() < 1e-6 for text in expected)
    sides = vectors.table().select("text", "split").unique().rows()
    assert sorted(sides) == sorted((row["text"], row["split"]) for row in rows)


def _by_text(vectors: Vectors, modality: str) -> dict[str, np.ndarray]:
    """Return the vectors of a modality by the texts of their rows."""
    texts = vectors.table().filter(pl.col("modality") == modality)["text"]
    return dict(zip(texts, whole(vectors, modality), strict=True))


def test_columns_of_several_sources_stand_beside_each_other(reference: str, tmp_path: Path) -> None:
    rows = _rows_of_a_shop(tmp_path / "goods")
    others = [{**row, "photographer": f"somebody {n}", "note": row["shop"]} for n, row in enumerate(rows)]
    both = f"{_as_csv(tmp_path / 'goods', rows)} + {_as_jsonl(tmp_path / 'goods', others)}"
    table = cp.embed(reference, both, tmp_path / "vectors", modalities=["text"]).table()
    assert table["note"].to_list() == [row["note"] or None for row in rows] + ["the same"] * 24
    assert table["photographer"].to_list() == ["Ann", "Bob"] * 12 + [None] * 24
    assert table["goods.jsonl photographer"].to_list() == [None] * 24 + [f"somebody {n}" for n in range(24)]


def test_vectors_table_whose_other_columns_changed_not_gone_with(reference: str, tmp_path: Path) -> None:
    rows = _rows_of_a_shop(tmp_path / "goods")
    table = _as_csv(tmp_path / "goods", rows)
    cp.embed(reference, table, tmp_path / "vectors", modalities=["text"])
    cp.embed(reference, table, tmp_path / "vectors", modalities=["text"])
    rows[3]["note"] = "sold"
    _as_csv(tmp_path / "goods", rows)
    with pytest.raises(ValueError, match="was made of other data"):
        cp.embed(reference, table, tmp_path / "vectors", modalities=["text"])


@pytest.mark.parametrize("kind", INDEX_KINDS.names())
def test_numbers_are_compared_as_numbers(kind: str, texts_alone: str, tmp_path: Path) -> None:
    data, prices = Sentences(5), Numbers(np.array([2.5, 10.0, np.nan, 9.0, 3.0]))
    data.labels = {"price": prices}  # type: ignore[misc] # a property, here of this one data set
    vectors = cp.embed(texts_alone, data, tmp_path / "vectors", modalities=["text"])
    assert vectors.table()["price"].to_list() == [2.5, 10.0, None, 9.0, 3.0]
    made = cp.index(vectors, tmp_path / "index", kind=kind)
    (found,) = made.nearest(vectors.read(vectors.parts[0])[0][:1], 5, where="price > 2.75")
    assert sorted(found.rows["price"].to_list()) == [3.0, 9.0, 10.0]  # as texts, 10.0 would come before 2.75
    data.ids = data.ids + 1000
    data.labels = {"price": Classes(("low", "high"), np.array([1, 1, 0, 1, 0]))}  # type: ignore[misc]
    others = cp.embed(texts_alone, data, tmp_path / "others", modalities=["text"])
    with pytest.raises(ValueError, match="price is numbers in the index and texts in the vectors"):
        made.add(others)


@pytest.mark.parametrize("written", [0, 1, 3, 5, 6, 9])
def test_what_is_stopped_goes_on_and_no_part_is_embedded_twice(
    written: int, pairs: Path, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "vectors"
    with monkeypatch.context() as stopping:
        stops_after(written, StopRequest(), stopping)
        with pytest.raises(StopRequest):
            cp.embed(reference, pairs, out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()} if out.exists() else {}
    assert len(before) == written
    counted, heard = Counted(monkeypatch), Heard()
    vectors = cp.embed(reference, pairs, out, listener=heard)
    whole_parts = [name.partition("-")[0] for name in before]
    for column in ("image", "text"):
        assert counted.rows.get(column, 0) == 70 - min(16 * whole_parts.count(column), 70)
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in out.iterdir()}.items()
    fresh = cp.embed(reference, pairs, tmp_path / "fresh")
    assert fresh.table().equals(vectors.table())
    assert np.allclose(whole(fresh, "image"), whole(vectors, "image"), atol=1e-6)
    counted.rows.clear()
    assert len(cp.embed(reference, pairs, out)) == 140
    assert counted.rows == {}


def test_what_is_left_of_a_killed_process_is_swept_away(pairs: Path, reference: str, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    cp.embed(reference, pairs, out)
    left = out / next(f".{path.name}" for path in out.iterdir())
    import socket

    left = left.with_name(f"{left.name}.{socket.gethostname()}.4194305.1.part")
    left.write_bytes(b"half")
    (out / "image-00002-of-00005.parquet").unlink()
    assert len(cp.embed(reference, pairs, out)) == 140
    assert not left.exists()
    assert {path.suffix for path in out.iterdir()} == {".parquet"}


def test_a_full_disk_leaves_what_is_whole(
    pairs: Path,
    reference: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "vectors"
    with monkeypatch.context() as full:
        stops_after(2, OSError(errno.ENOSPC, "No space left on device"), full)
        assert main(["embed", reference, str(pairs), "--out", str(out)]) == 1
    part = out / "image-00002-of-00005.parquet"
    last = capsys.readouterr().err.strip().splitlines()[-1]
    full_disk = r"No space left on device \([\d.]+ \wB are free there\)"
    told = f"counterpoint embed: {re.escape(str(part))}: {full_disk}: free some space there, or choose another folder"
    assert re.fullmatch(told, last)
    assert sorted(path.name for path in out.iterdir()) == [f"image-0000{n}-of-00005.parquet" for n in (0, 1)]
    assert main(["embed", reference, str(pairs), "--out", str(out)]) == 0
    assert len(Vectors.open(out)) == 140


def test_a_folder_that_cannot_be_written(pairs: Path, reference: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to .*file/vectors: .*choose another folder with --out"):
        cp.embed(reference, pairs, tmp_path / "file" / "vectors")


def changed(reference: str, folder: Path) -> str:
    """Copy a model and change one of its weights."""
    shutil.copytree(reference.partition(":")[2], folder)
    state = load_file(folder / "model.safetensors")
    state["text_projection.weight"][0, 0] += 1e-3
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return f"transformers:{folder}"


def test_vectors_begun_other_weights_or_data_not_gone_on_with(
    pairs: Path, reference: str, tmp_path: Path
) -> None:
    out = tmp_path / "vectors"
    began = cp.embed(reference, pairs, out, limit=20).about
    (out / "text-00001-of-00002.parquet").unlink()
    other = changed(reference, tmp_path / "other")
    prints = f"{began.fingerprint}, not transformers:.*other of fingerprint {cp.load(other).fingerprint}"
    with pytest.raises(
        ValueError, match=f"made by another model: transformers:.*clip of fingerprint {prints}"
    ):
        cp.embed(other, pairs, out, limit=20)
    folder = shutil.copytree(pairs.parent, tmp_path / "pairs")
    text = (folder / "metadata.csv").read_text()
    (folder / "metadata.csv").write_text(text.replace("small red square", "small red box"))
    with pytest.raises(
        ValueError, match=f"made of other data: {pairs} of fingerprint {began.data_fingerprint}, not"
    ):
        cp.embed(reference, folder / "metadata.csv", out, limit=20)
    with pytest.raises(ValueError, match="made with limit 20, not None; give another folder, or delete"):
        cp.embed(reference, pairs, out)
    with pytest.raises(ValueError, match="made with dtype float32, not float16"):
        cp.embed(reference, pairs, out, limit=20, dtype="float16")
    (folder / "metadata.csv").write_text(text)
    assert len(cp.embed(reference, folder / "metadata.csv", out, limit=20)) == 40, "the same data, moved"


def test_a_damaged_part_is_named_and_a_foreign_file_too(pairs: Path, reference: str, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    part = cp.embed(reference, pairs, out).parts[3]
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(
        ValueError, match=f"{part.name} is damaged .it is no whole Parquet file: .*: delete it"
    ):
        cp.embed(reference, pairs, out)
    part.unlink()
    pl.DataFrame({"a": [1]}).write_parquet(out / "other.parquet")
    with pytest.raises(ValueError, match=r"other.parquet is damaged .it is no part that counterpoint embed"):
        cp.embed(reference, pairs, out)


def test_vectors_are_not_put_among_other_files(pairs: Path, reference: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cat.png").write_bytes(b"a picture")
    with pytest.raises(ValueError, match="mine holds other files than vectors: give another folder"):
        cp.embed(reference, pairs, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["cat.png"]


def test_broken_pictures_left_out_within_tolerance_and_listed(
    pairs: Path, reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(pairs.parent, tmp_path / "photos")
    (folder / "metadata.csv").unlink()
    (folder / "12.png").write_bytes((folder / "12.png").read_bytes()[:50])
    assert main(["embed", reference, str(folder), "--out", str(tmp_path / "vectors")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"left out: broken picture 1: {folder}/12.png: " in said
    ledger = next((tmp_path / "cache" / "left-out").glob("photos-*.csv"))
    assert f"all that was left out: {ledger}" in said
    assert "12.png" in ledger.read_text()
    vectors = Vectors.open(tmp_path / "vectors")
    assert len(vectors) == 69
    assert "12" not in {Path(key).stem for key in vectors.table()["key"]}
    assert vectors.table()["text"].null_count() == 69
    (folder / "70.png").write_bytes(b"")
    assert main(["embed", reference, str(folder), "--out", str(tmp_path / "more")]) == 1
    assert "2 of 71 examples cannot be used" in capsys.readouterr().err
    assert main(["embed", reference, f"{folder},broken=0.1", "--out", str(tmp_path / "more")]) == 0
    assert len(Vectors.open(tmp_path / "more")) == 69


def _shards_to_train_on(folder: Path) -> tuple[ShardedData, list[Path]]:
    """Return data over an index, and the shards of its first rows."""
    data = load_any(str(folder))
    assert isinstance(data, ShardedData)
    return data, [Path(data.index.shards[n].location) for n in np.flatnonzero(data.shards).tolist()]


def test_what_is_broken_or_lost_of_an_index_has_no_vectors(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "index"
    data_index(write_shards(tmp_path / "shards", broken=range(3, 120, 40)), folder, jobs=1)
    every = cp.embed(reference, f"{folder},broken=0.1", tmp_path / "every")
    assert {int(key[-5:]) for key in every.table()["key"]} == {*range(120)} - {*range(3, 120, 40)}
    _, (first, *_) = _shards_to_train_on(folder)
    first.unlink()
    assert main(["embed", reference, str(folder), "--out", str(tmp_path / "no")]) == 1
    words = f"{first} is not there any more: bring it back, or run counterpoint data index"
    assert words in " ".join(capsys.readouterr().err.split())
    caplog.clear()
    some = cp.embed(reference, f"{folder},broken=0.2", tmp_path / "some")
    for column in ("image", "text"):
        assert any(f"left out of the vectors of {column}: 10 × {words}" in line for line in caplog.messages)
        expected = _by_text(every, column)
        found = _by_text(some, column)
        lost = {
            text for text, key in every.table().select("text", "key").rows() if key.startswith(first.name)
        }
        assert len(lost) in (9, 10)
        assert found.keys() == expected.keys() - lost
        assert all(np.abs(found[text] - expected[text]).max() < 1e-6 for text in found)


def test_more_than_may_be_broken_ends_embedding_with_the_reason(reference: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "index", tmp_path / "vectors"
    data_index(write_shards(tmp_path / "shards"), folder, jobs=1)
    data, (first, second, *_) = _shards_to_train_on(folder)
    first.unlink()
    second.unlink()
    reason = f"10 × {first} is not there any more: bring it back, or run counterpoint data index .*; 6 × {second} .*"
    with pytest.raises(
        ValueError, match=f"more than 1 % of the 120 rows cannot be embedded: {reason}--broken SHARE"
    ):
        cp.embed(reference, data, out)
    assert not list(out.glob("*.parquet"))
    data.broken = 0.3
    with pytest.MonkeyPatch.context() as stopping:
        stops_after(1, StopRequest(), stopping)
        with pytest.raises(StopRequest):
            cp.embed(reference, data, out)
    data.broken = 0.15
    with pytest.raises(ValueError, match=f"more than 15 % .*: 4 × {second} .*; 16 of parts that are written"):
        cp.embed(reference, data, out)


def test_files_of_index_opened_once_for_pictures_and_captions(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    data_index(write_shards(tmp_path / "shards"), folder, jobs=1)
    data, _ = _shards_to_train_on(folder)
    opened = Counter[object]()
    shards = type(data._open)
    original = shards.bytes_of
    monkeypatch.setattr(
        shards, "bytes_of", lambda self, file, shard: opened.update([file]) or original(self, file, shard)
    )
    vectors = cp.embed(reference, data, tmp_path / "vectors", modalities=("image",), batch_size=8)
    assert set(opened.values()) == {1}
    assert len(opened) == int(data.shards.sum())
    assert vectors.table()["text"].null_count() == 0


def test_files_are_decoded_once_for_the_model_alone(
    pairs: Path, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterpoint.data.pictures import squares as pictures

    forms: list[object] = []
    original = pictures.decode_sized
    monkeypatch.setattr(
        pictures, "decode_sized", lambda data, form, *rest: forms.append(form) or original(data, form, *rest)
    )
    folder = shutil.copytree(pairs.parent, tmp_path / "pairs")
    cp.embed(reference, folder, tmp_path / "vectors", modalities=("image",))
    assert forms == [cp.load(reference).inputs["image"].fit] * 70  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"modalities": ["image"]},
            "embeds text alone: it has no image embeddings; name a model that has some",
        ),
        ({"modalities": ["sound"]}, "unknown modality of .*'sound'.*known: image, text"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"data": Sentences(0)}, "sentences has no row to embed"),
        ({"data": "photos"}, "embeds text, and .*photos has image: there is nothing that it can embed"),
    ],
)
def test_what_cannot_be_embedded_says_why(
    arguments: dict[str, Any], message: str, pairs: Path, texts_alone: str, tmp_path: Path
) -> None:
    if arguments.get("data") == "photos":
        (tmp_path / "photos").mkdir()
        for row in range(3):
            Image.new("RGB", (9, 9), (row, 0, 0)).save(tmp_path / "photos" / f"{row}.png")
        arguments = {"data": tmp_path / "photos"}
    with pytest.raises(ValueError, match=message) as error:
        cp.embed(texts_alone, out=tmp_path / "vectors", **{"data": pairs, **arguments})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "vectors").exists()
    assert isinstance(error.value, UnknownNameError) == ("unknown" in message)


def test_embeddings_that_are_no_numbers_are_not_written(reference: str, tmp_path: Path) -> None:
    model = cp.load(reference)
    with torch.no_grad():
        next(parameter for name, parameter in model.named_parameters() if "text_projection" in name)[0, 0] = (
            torch.nan
        )
    with pytest.raises(
        ValueError, match="16 of 16 text embeddings are NaN or infinite, that of '1000' first"
    ):
        cp.embed(model, TinyData(), tmp_path / "vectors", modalities=["text"])
    assert not (tmp_path / "vectors").exists()


class ShortOfMemory:
    """A model's memory for at most so many rows."""

    def __init__(self, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[int] = []
        original = TowerMethod.embed_prepared

        def limited(model: TowerMethod, column: str, prepared: Tensor, head: str = "default") -> Tensor:
            self.asked.append(len(prepared))
            if len(prepared) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return original(model, column, prepared, head)

        monkeypatch.setattr(TowerMethod, "embed_prepared", limited)


def test_batch_halved_where_memory_is_used_up_and_is_told_once(
    pairs: Path,
    reference: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole_ones = cp.embed(reference, pairs, tmp_path / "one")
    short = ShortOfMemory(3, monkeypatch)
    with caplog.at_level(logging.INFO, "counterpoint"):
        halved = cp.embed(reference, pairs, tmp_path / "two")
    for column in ("image", "text"):
        assert np.allclose(whole(whole_ones, column), whole(halved, column), atol=1e-6)
    assert [record.getMessage() for record in caplog.records] == [
        "there is not enough memory for 16 rows at once: going on with fewer"
    ]
    assert max(short.asked[-30:]) <= 3, "batches are made smaller, not only halved again and again"
    ShortOfMemory(0, monkeypatch)
    with pytest.raises(RuntimeError, match="not enough memory to embed a single row: free some"):
        cp.embed(reference, pairs, tmp_path / "three")


def test_other_errors_of_a_model_are_its_own(
    pairs: Path, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(TowerMethod, "embed_prepared", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        cp.embed(reference, pairs, tmp_path / "vectors")


class Device:
    """A device on which a batch takes some time, by a clock of its own."""

    def __init__(self, seconds: Callable[[int], float], memory: int = 10**9) -> None:
        self.now, self.seconds, self.memory = 0.0, seconds, memory

    def __call__(self, rows: int) -> None:
        if rows > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.now += self.seconds(rows)


@pytest.mark.parametrize(
    ("seconds", "memory", "size"),
    [
        (lambda rows: 0.001 + rows * 1e-5, 10**9, 1024),  # most of the time goes into beginning
        (lambda rows: rows * 1e-4, 10**9, 16),  # a larger batch gains nothing
        (lambda rows: 0.001 + rows * 1e-4, 10**9, 128),
        (lambda rows: 0.001 + rows * 1e-5, 300, 256),
        (lambda rows: 0.2 + rows * 1e-1, 10**9, 16),  # one batch takes long already
    ],
)
def test_a_batch_size_is_found_by_trial(
    seconds: Callable[[int], float], memory: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(seconds, memory)
    monkeypatch.setattr("time.perf_counter", lambda: device.now)
    found = BatchSize()
    found.try_out(device, 10**6, "image")
    assert found.now == size
    given = BatchSize(7)
    given.try_out(device, 10**6, "image")
    assert given.now == 7


def test_a_trial_embeds_rows_of_the_data(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterpoint.serving.embedding.batch_size._MOST", 16)
    plain = cp.embed(reference, TinyData(), tmp_path / "plain", batch_size=16)
    counted = Counted(monkeypatch)
    tried = cp.embed(reference, TinyData(), tmp_path / "tried")
    assert counted.rows == {"image": 70 + 32, "text": 70 + 32}
    for column in ("image", "text"):
        assert np.allclose(whole(plain, column), whole(tried, column), atol=1e-6)


def test_a_trial_takes_a_part_that_has_values(
    texts_alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterpoint.serving.embedding.batch_size._MOST", 4)
    data = Sentences(20)
    monkeypatch.setattr(data, "present", lambda column, rows: rows > 15)
    assert cp.embed(texts_alone, data, tmp_path / "some").counts == (0, 4)
    monkeypatch.setattr(data, "present", lambda column, rows: rows < 0)
    assert cp.embed(texts_alone, data, tmp_path / "none").counts == (0, 0)


def test_half_precision_is_near_and_stated(reference: str, tmp_path: Path) -> None:
    exact = cp.embed(reference, TinyData(), tmp_path / "exact")
    near = cp.embed(reference, TinyData(), tmp_path / "near", precision="bf16-mixed")
    assert near.about.precision == "bf16-mixed"
    difference = np.abs(whole(exact, "image") - whole(near, "image")).max()
    assert 0 < difference < 0.05


def test_progress_says_how_fast_and_how_much_is_waiting(reference: str, tmp_path: Path) -> None:
    heard = Heard()
    cp.embed(reference, TinyData(), tmp_path / "vectors", listener=heard)
    cp.embed(reference, TinyData(), tmp_path / "vectors", listener=heard)
    first, again = heard.ends[:2], heard.ends[2:]
    assert all("done (70 rows, " in end and " rows/s, waiting " in end for end in first)
    assert again == ["image: done (70 rows)", "text: done (70 rows)"]


def test_memory_does_not_grow_with_the_rows(
    texts_alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = 512
    model = cp.load(texts_alone)
    monkeypatch.setattr(type(model), "width", property(lambda _: width))
    monkeypatch.setattr(
        TowerMethod, "embed_prepared", lambda _, __, rows, head="": torch.ones(len(rows), width)
    )

    def peak(count: int) -> int:
        tracemalloc.start()
        cp.embed(model, Sentences(count), tmp_path / str(count), modalities=["text"], batch_size=16)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(32)
    few, many = peak(320), peak(960)
    assert many - few < 640 * width * 4 / 4, "a quarter of the vectors of the further rows"


def test_what_is_made_ahead_comes_in_order_with_its_errors() -> None:
    made: list[int] = []

    def numbers(fails: bool) -> Any:
        for number in range(6):
            made.append(number)
            yield number
        if fails:
            raise ValueError("no more")

    with PrefetchIterator(numbers(False), most=2) as items:
        assert list(items) == [*range(6)]
    seen: list[int] = []
    with pytest.raises(ValueError, match="no more"), PrefetchIterator(numbers(True), most=1) as items:
        seen.extend(items)
    made.clear()
    with PrefetchIterator(numbers(False), most=2) as items:
        assert next(iter(items)) == 0
    assert made == [*range(len(made))]
    assert len(made) <= 4, "the thread ends with the block, and what it has made waits"
    assert not items._thread.is_alive()


def test_data_is_told_apart_by_all_that_it_holds(pairs: Path) -> None:
    data, same = TinyData(), TinyData()
    both = ("image", "text")
    assert data.identity(both) == same.identity(both)
    others: Sequence[Callable[[TinyData], object]] = [
        lambda it: setattr(it, "ids", it.ids + 1),
        lambda it: setattr(it, "splits", Splits(it.splits.train[1:], it.splits.validation, it.splits.test)),
        lambda it: setattr(it, "labels", {**it.labels, "size": it.labels["gender"]}),
        lambda it: setattr(it, "captions", lambda row: ("other",)),
        lambda it: setattr(it, "_pictures", 255 - it._pictures),
    ]
    found = {data.identity(both)}
    for change in others:
        other = TinyData()
        change(other)
        found.add(other.identity(both))
    assert len(found) == 1 + len(others)
    assert load_any(str(pairs)).identity(both) == load_any(str(pairs), 96).identity(both)
    assert load_any("scenes:basic").identity(both) == load_any("scenes:basic").identity(both)
    assert load_any("scenes:basic").identity(both) != load_any("scenes:basic,seed=3").identity(both)
    other = TinyData()
    other._pictures = 255 - other._pictures
    assert other.identity(("text",)) == data.identity(("text",)), "pictures that are not looked at may change"


def test_few_captioned_pictures_are_embedded_without_test_split(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    for row in range(3):
        Image.new("RGB", (24, 24), (80 * row, 0, 0)).save(tmp_path / "new" / f"{row}.png")
        (tmp_path / "new" / f"{row}.txt").write_text(f"red {row}")
    assert main(["embed", reference, str(tmp_path / "new"), "--out", str(tmp_path / "vectors")]) == 0
    assert "6 vectors (image and text)" in capsys.readouterr().out
    assert main(["train", "clip", "--data", str(tmp_path / "new"), "--out", str(tmp_path / "run")]) == 1
    assert "the split 'test' is empty" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
