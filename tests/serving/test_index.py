"""An index is made, added to, opened and searched; one that is not whole is refused with the command that makes it."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
from pathlib import Path

import faiss
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import counterpoint as cp
from counterpoint.data.pictures.single import raw_pictures
from counterpoint.execution import InUseError, leased
from counterpoint.files import DamagedFileError, NewerFormatError
from counterpoint.registry import MissingPackageError, UnknownNameError, require
from counterpoint.serving import INDEX_KINDS, Index, Vectors, index
from counterpoint.serving.indexing import index as _index
from counterpoint.serving.indexing.kinds import _faiss, lancedb
from counterpoint.serving.indexing.storage import IndexManifest, LocalStorage
from fixtures import foreign
from fixtures.vectors_folder import unit_vectors, write_vectors

KINDS = INDEX_KINDS.names()
TEXTS = ["a red car", "a blue car on a red road", "car"]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    write_vectors(tmp_path / "vectors")
    return tmp_path / "vectors"


def same(one: Index, other: Index) -> bool:
    """Compare two indexes by what they find."""
    queries = unit_vectors(4, 4, 7)
    pairs = zip(one.nearest(queries, len(one)), other.nearest(queries, len(other)), strict=True)
    return one.table.equals(other.table) and all(a.rows.equals(b.rows) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_says_what_it_is_and_is_opened_as_it_was_made(
    kind: str, vectors: Path, tmp_path: Path
) -> None:
    made = index(vectors, tmp_path / "index", kind=kind)
    assert (made.kind, len(made), made.map) == (kind, 20, None)
    assert made.about == Vectors.open(vectors).about
    assert made.table.equals(Vectors.open(vectors).table())
    opened = Index.open(tmp_path / "index")
    assert (opened.kind, opened.about) == (kind, made.about)
    assert same(opened, made)


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"lancedb"}))
def test_an_index_in_memory(kind: str, vectors: Path, tmp_path: Path) -> None:
    made = index(Vectors.open(vectors), kind=kind)
    assert same(made, index(vectors, tmp_path / "index", kind=kind))
    write_vectors(tmp_path / "more", ids=np.arange(10))
    made.add(tmp_path / "more")
    assert len(made) == 40


def test_the_kind_is_exact_up_to_a_number_and_a_graph_above(
    vectors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index(vectors).kind == "exact"
    monkeypatch.setattr(_index, "EXACT_UP_TO", 19)
    assert index(vectors).kind == "hnsw"


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_added_once(kind: str, vectors: Path, tmp_path: Path) -> None:
    more = unit_vectors(30, 4, 3)
    write_vectors(tmp_path / "more", {"image": more}, ids=np.arange(30))
    made = index(vectors, tmp_path / "index", kind=kind)
    before = made.nearest(more[:2], 3)
    reader = Index.open(tmp_path / "index")
    made.add(tmp_path / "more")
    made.add(tmp_path / "more")
    made.add(vectors)
    assert len(made) == 50
    assert same(Index.open(tmp_path / "index"), made)
    assert [one.rows["id"][0] for one in made.nearest(more, 1)] == [*range(30)]
    for one, other in zip(reader.nearest(more[:2], 3), before, strict=True):  # open before: as it was
        assert one.rows.equals(other.rows)
    assert (
        len(index(vectors, tmp_path / "index")) == 50
    )  # the same command adds what is missing, and nothing is


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"lancedb"}))
def test_command_after_killed_one_writes_files_of_the_same_names(
    kind: str, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    out, whole = tmp_path / "index", tmp_path / "whole"
    index(vectors, whole, kind=kind)
    with monkeypatch.context() as killed:
        killed.setattr("counterpoint.serving.indexing.storage.write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            index(vectors, out, kind=kind)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()} - {"index.json"}
    index(vectors, out, kind=kind)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}


def test_what_is_added_must_fit(vectors: Path, tmp_path: Path) -> None:
    made = index(vectors, tmp_path / "index")
    write_vectors(tmp_path / "other", fingerprint="e" * 32, ids=np.arange(10))
    with pytest.raises(
        ValueError, match=f"another model than the index: tiny of fingerprint {'e' * 32}, not tiny of"
    ):
        made.add(tmp_path / "other")
    with pytest.raises(ValueError, match=f"fingerprint {'f' * 32}"):
        index(tmp_path / "other", tmp_path / "index")
    write_vectors(tmp_path / "again", {"text": unit_vectors(3, 4, 9)}, ids=np.array([1, 102, 2]))
    with pytest.raises(
        ValueError, match="1 row of the vectors are in the index already, the first of id 102"
    ):
        made.add(tmp_path / "again")
    write_vectors(
        tmp_path / "photos", {"text": unit_vectors(3, 4, 9)}, data="photos", ids=np.array([1, 102, 2])
    )
    with pytest.raises(ValueError, match="in the index for rows of other data, the first of id 102"):
        made.add(tmp_path / "photos")
    with pytest.raises(
        ValueError, match="is an index of kind exact, not hnsw: give another folder, or delete it"
    ):
        index(vectors, tmp_path / "index", kind="hnsw")
    assert len(made) == len(Index.open(tmp_path / "index")) == 20


@pytest.mark.parametrize("kind", ["exact", "lancedb"])
def test_two_that_add_at_once_lose_nothing(kind: str, vectors: Path, tmp_path: Path) -> None:
    """An index knows when another process writes it, and when one has changed it since it was opened."""
    for name, first in {"second": 200, "third": 300}.items():
        write_vectors(tmp_path / name, ids=np.arange(first, first + 10))
    where = tmp_path / "made"
    with leased(where), pytest.raises(InUseError, match="in use by process"):
        index(vectors, where, kind=kind)
    made = index(vectors, where, kind=kind)
    other = Index.open(where)
    with leased(where), pytest.raises(InUseError, match="in use by process"):
        made.add(tmp_path / "second")
    made.add(tmp_path / "second")
    with pytest.raises(ValueError, match="another process has changed"):
        other.add(tmp_path / "third")
    index(tmp_path / "third", where)
    ids = Index.open(where).table["id"].unique(maintain_order=True).to_list()
    assert ids == [*range(100, 110), *range(200, 210), *range(300, 310)]


def test_an_index_is_opened_while_another_process_adds_to_it(
    vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_vectors(tmp_path / "second", ids=np.arange(200, 210))
    made, read = index(vectors, tmp_path / "made"), LocalStorage.table
    added: list[IndexManifest] = []

    def reading(self: LocalStorage, record: IndexManifest) -> pl.DataFrame:
        if not added:
            added.append(record)
            made.add(tmp_path / "second")
        return read(self, record)

    monkeypatch.setattr(LocalStorage, "table", reading)
    assert len(Index.open(tmp_path / "made")) == len(made) > added[0].rows
    next((tmp_path / "made").glob("table-*")).unlink()
    with pytest.raises(DamagedFileError):
        Index.open(tmp_path / "made")


def test_labels_that_some_vectors_lack_are_null(vectors: Path, tmp_path: Path) -> None:
    write_vectors(tmp_path / "more", {"image": unit_vectors(3, 4, 9)}, ids=np.arange(3))
    made = index(tmp_path / "more", tmp_path / "index")
    plain = made.table.drop("colour")
    made.table = plain
    made.add(vectors)
    assert made.table["colour"].null_count() == 3 + 4
    assert len(made.nearest(unit_vectors(1, 4, 0), 20, where="colour IS NULL")[0]) == 7


@pytest.mark.parametrize("way", ["pca", "tsne"])
def test_a_map_is_the_same_every_time_and_drawn_anew(way: str, tmp_path: Path) -> None:
    write_vectors(tmp_path / "vectors", {"image": unit_vectors(40, 8, 0), "text": unit_vectors(30, 8, 1)})
    made = index(tmp_path / "vectors", tmp_path / "index", map=way)  # type: ignore[arg-type] # one of two
    assert made.map == Index.open(tmp_path / "index").map == way
    assert made.table.select("x", "y").null_count().row(0) == (0, 0)
    later = index(tmp_path / "vectors", tmp_path / "later")
    assert "x" not in later.table.columns
    assert index(tmp_path / "vectors", tmp_path / "later", map=way).table.equals(made.table)  # type: ignore[arg-type] # as above
    write_vectors(tmp_path / "more", {"image": unit_vectors(5, 8, 5)}, ids=np.arange(5))
    made.add(tmp_path / "more")
    assert made.table["x"].len() - made.table["x"].null_count() == 75
    with pytest.raises(UnknownNameError, match="unknown column 'x'"):
        made.nearest(unit_vectors(1, 8, 0), where="x > 0")


def test_the_map_of_principal_components(tmp_path: Path) -> None:
    """Vectors around two directions of each modality have the same two places, modality by modality."""
    ends = np.repeat(np.eye(6, dtype=np.float32)[:2], 10, 0)
    shifted = np.repeat(np.eye(6, dtype=np.float32)[2:4], 10, 0)
    write_vectors(tmp_path / "vectors", {"image": ends, "text": shifted + 1})
    placed = index(tmp_path / "vectors", map="pca").table
    pictures = placed.filter(modality="image")["x"].to_numpy()
    assert np.ptp(pictures[:10]) < 1e-6
    assert abs(pictures[0] + pictures[10]) < 1e-6  # on both sides of the middle
    assert abs(pictures[0]) > 0.4


def test_a_large_map_leaves_rows_out(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterpoint.serving.indexing import coordinates

    monkeypatch.setattr(coordinates, "MOST", 12)
    placed = index(vectors, map="tsne").table
    assert placed["x"].null_count() == 8
    assert not placed["x"].is_nan().any()


# What is refused


@pytest.mark.parametrize("k", [0, -1, 21, True])
def test_k_is_a_number_of_rows(k: int, vectors: Path) -> None:
    message = "k is 21, and the index has 20 rows" if k == 21 else "k must be a whole number of at least 1"
    with pytest.raises(ValueError, match=message):
        index(vectors).nearest(unit_vectors(1, 4, 0), k)


def test_fewer_rows_than_k_may_fulfil_the_condition(vectors: Path) -> None:
    found = index(vectors).nearest(unit_vectors(2, 4, 0), 20, where="split = 'test'", modality="image")
    assert [len(one) for one in found] == [2, 2]
    assert [row["split"] for row in found[0]] == ["test", "test"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "the condition is empty"),
        ("  ", "the condition is empty"),
        ("splot = 'train'", r"unknown column 'splot': did you mean 'split'\?"),
        ("split = train", "unknown column 'train'.*a text stands in single quotes: 'train'"),
        ('split = "train"', "unknown column 'train'.*a text stands in single quotes: 'train'"),
        ("split = 'train", "no SQL condition: a quote is not closed"),
        ("split = 'train' AND", "no SQL condition"),
        ("split = 'a', id = 1", "no SQL condition"),
        ("id", "is no condition, which is true or false: it gives Int64"),
        ("id + 1", "is no condition"),
        ("1", "is no condition"),
        ("id = 'seven'", "no SQL condition"),
        ("SELECT 1", "more than a condition: SELECT"),
        ("id IN (SELECT id FROM self)", "more than a condition: SELECT"),
        ("EXISTS (SELECT 1)", "calls EXISTS"),
        ("id = 1; DROP TABLE vectors", "more than a condition: ';'"),
        ("id = 1 -- and more", "more than a condition: '--'"),
        ("id = 1 /* and */", "more than a condition: '/[*]'"),
        ("read_csv('/etc/passwd') = 1", "calls read_csv"),
        ("now() > '2020-01-01'", "calls now"),
        ("max(id) = id", "calls max"),
        ("count(*) > 1", "calls count"),
        ("row_number() OVER () = 1", "calls row_number"),
        ("columns('.*') = 1", "calls columns"),
        ("id = 1 AS x", "more than a condition: AS"),
        ("vector = 1", "unknown column 'vector'"),
        ("\0", "no SQL condition"),
    ],
)
@pytest.mark.parametrize("kind", ["exact", "lancedb"])
def test_more_or_less_than_a_condition(
    where: str, message: str, kind: str, vectors: Path, tmp_path: Path
) -> None:
    made = index(vectors, tmp_path / "index", kind=kind)
    with pytest.raises(ValueError, match=message) as error:
        made.nearest(unit_vectors(1, 4, 0), 3, where=where)
    assert "\n" not in str(error.value)
    assert len(made.nearest(unit_vectors(1, 4, 0), 20)[0]) == 20


@pytest.mark.parametrize(
    "query", [np.zeros((1, 4)), np.full((1, 4), np.nan), np.ones((1, 5)), np.array([[1, np.inf, 0, 0]])]
)
def test_queries_without_a_direction_or_of_another_width(query: np.ndarray, vectors: Path) -> None:
    with pytest.raises(ValueError, match=r"has no direction|queries must be \(m, 4\)"):
        index(vectors).nearest(query, 3)


def test_a_modality_that_is_not_there(vectors: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown modality of the index 'images': did you mean 'image'\?"
    ):
        index(vectors).nearest(unit_vectors(1, 4, 0), 3, modality="images")


def test_a_kind_that_is_none_and_packages_that_are_missing(
    vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown kind of index 'hnws': did you mean 'hnsw'\?"):
        index(vectors, kind="hnws")

    def missing(package: str, extra: str) -> object:
        raise MissingPackageError(f"{package}: {extra}")

    for kind, wanted in (("hnsw", "faiss: index"), ("ivf", "faiss: index"), ("lancedb", "lancedb: lance")):
        for module in (_faiss, lancedb):
            monkeypatch.setattr(module, "require", missing)
        with pytest.raises(MissingPackageError, match=wanted):
            index(vectors, tmp_path / kind, kind=kind)
        assert not (tmp_path / kind / "index.json").exists()


def test_places_that_hold_something_else(vectors: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"there is no index at .*: make one with counterpoint index VECTORS"
    ):
        Index.open(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"is no index: it has no index.json"):
        Index.open(vectors)
    with pytest.raises(ValueError, match=r"is no index: it has no index.json"):
        index(vectors, vectors)
    with pytest.raises(
        ValueError, match="kind exact is kept in a folder, not at s3://bucket/db; give --kind"
    ):
        index(vectors, "s3://bucket/db", kind="exact")
    with pytest.raises(ValueError, match="kind lancedb is in a database: say where"):
        index(vectors, kind="lancedb")
    with pytest.raises(ValueError, match=r"\ALanceDB cannot open nowhere://db: .*nowhere'\Z"):
        index(vectors, "nowhere://db")
    with pytest.raises(FileNotFoundError, match="make some with counterpoint embed"):
        index(tmp_path / "gone", tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_folder_that_cannot_be_written(vectors: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "index", Path("/proc/index")):
        with pytest.raises(OSError, match=rf"^cannot write to {out}: .*; choose another folder with --out$"):
            index(vectors, out)


FILES = {"exact": "vectors-0001.npy", "hnsw": "hnsw-0001.faiss", "ivf": "ivf-0001.faiss"}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
@pytest.mark.parametrize("of", ["vectors", "table", "record"])
def test_truncated_index_is_refused_with_command_that_makes_it(
    kind: str, share: float, of: str, vectors: Path, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    index(vectors, out, kind=kind)
    file = out / {"vectors": FILES[kind], "table": "table-0001.parquet", "record": "index.json"}[of]
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    for again in (lambda: Index.open(out), lambda: index(vectors, out)):
        with pytest.raises(DamagedFileError, match=f"{file.name} is damaged") as error:
            again()
        assert f"delete {out}" in str(error.value) or "delete it" in str(error.value)
        made = "VECTORS" if of == "record" else str(vectors)
        assert f"counterpoint index {made} --out {out}" in str(error.value)
    file.unlink()
    if of != "record":
        with pytest.raises(DamagedFileError, match="it is missing"):
            Index.open(out)
    shutil.rmtree(out)
    assert len(index(vectors, out, kind=kind)) == 20


@pytest.mark.parametrize("kind", [*FILES, "lancedb"])
def test_an_index_of_other_contents_is_refused(kind: str, vectors: Path, tmp_path: Path) -> None:
    """The vectors' file, or the database, is another index's."""
    write_vectors(tmp_path / "few", {"image": unit_vectors(7, 4, 3)})
    one, other = tmp_path / "one", tmp_path / "other"
    index(vectors, one, kind=kind)
    index(tmp_path / "few", other, kind=kind)
    if kind == "lancedb":
        shutil.rmtree(one / "vectors.lance")
        shutil.copytree(other / "vectors.lance", one / "vectors.lance")
    else:
        shutil.copy(other / FILES[kind], one / FILES[kind])
        record = json.loads((one / "index.json").read_text())
        record["files"][FILES[kind]] = json.loads((other / "index.json").read_text())["files"][FILES[kind]]
        (one / "index.json").write_text(json.dumps(record))
    with pytest.raises(DamagedFileError, match=r"7 vectors of 4, not 20|not 20 of 4 numbers|holds 7 vectors"):
        Index.open(one)


def test_a_lost_database_and_changed_bytes_of_the_table(vectors: Path, tmp_path: Path) -> None:
    index(vectors, tmp_path / "lance", kind="lancedb")
    shutil.rmtree(tmp_path / "lance" / "vectors.lance")
    with pytest.raises(DamagedFileError, match="it has no table 'vectors'"):
        Index.open(tmp_path / "lance")
    index(vectors, tmp_path / "cut", kind="lancedb")
    (data,) = (tmp_path / "cut" / "vectors.lance" / "data").iterdir()
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(DamagedFileError, match=r"LanceDB cannot read its table: .*counterpoint index"):
        Index.open(tmp_path / "cut")
    index(vectors, tmp_path / "exact")
    table = tmp_path / "exact" / "table-0001.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    with pytest.raises(DamagedFileError, match="its content is not what was written"):
        Index.open(tmp_path / "exact")


@pytest.mark.parametrize("kind", FILES)
def test_a_changed_byte_of_the_vectors_is_refused(kind: str, vectors: Path, tmp_path: Path) -> None:
    index(vectors, tmp_path / "index", kind=kind)
    file = tmp_path / "index" / FILES[kind]
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        DamagedFileError, match=f"{file.name} is damaged .its content is not what was written"
    ):
        Index.open(tmp_path / "index")


@pytest.mark.parametrize("name", ["../other/{}", "/{}", "part/{}"])
@pytest.mark.parametrize("of", ["files", "table"])
def test_a_record_names_files_of_its_own_folder_alone(
    name: str, of: str, vectors: Path, tmp_path: Path
) -> None:
    index(vectors, tmp_path / "index")
    file = tmp_path / "index" / "index.json"
    record = json.loads(file.read_text())
    if of == "table":
        record["table"] = name.format(record["table"])
    else:
        record["files"] = {name.format(file): entry for file, entry in record["files"].items()}
    file.write_text(json.dumps(record))
    with pytest.raises(DamagedFileError, match="must be the name of a file in the folder of the index"):
        Index.open(tmp_path / "index")


def test_a_later_format_is_told_as_such(vectors: Path, tmp_path: Path) -> None:
    index(vectors, tmp_path / "index")
    record = tmp_path / "index" / "index.json"
    record.write_text(record.read_text().replace('"format": 1', '"format": 99', 1))
    with pytest.raises(NewerFormatError):
        Index.open(tmp_path / "index")


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_a_full_disk_leaves_what_was_there(
    kind: str, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = index(vectors, tmp_path / "index", kind=kind)
    write_vectors(tmp_path / "more", {"image": unit_vectors(5, 4, 5)}, ids=np.arange(5))

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        patched.setattr(faiss, "write_index", full)
        with pytest.raises(OSError, match="No space left on device"):
            made.add(tmp_path / "more")
    assert len(made) == len(Index.open(tmp_path / "index")) == 20
    made.add(tmp_path / "more")
    assert len(Index.open(tmp_path / "index")) == 25


def test_a_database_at_an_address(vectors: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    where = f"file://{tmp_path / 'db'}"
    made = index(vectors, where, kind="lancedb", map="pca")
    assert capfd.readouterr().err == ""  # LanceDB warns where a table is made otherwise
    opened = Index.open(where)
    assert same(opened, made)
    assert (opened.map, opened.about) == ("pca", made.about)
    write_vectors(tmp_path / "more", {"image": unit_vectors(5, 4, 5)}, ids=np.arange(5))
    opened.add(tmp_path / "more")
    assert same(Index.open(where), opened)
    assert len(opened) == 25
    mine = require("lancedb", "lance").connect(tmp_path / "mine")
    mine.create_table("vectors", [{"mine": 1}])
    with pytest.raises(ValueError, match="has a table 'vectors' that is no index: give another database"):
        index(vectors, f"file://{tmp_path / 'mine'}")
    assert mine.open_table("vectors").count_rows() == 1
    with pytest.raises(FileNotFoundError, match="there is no index at file://"):
        Index.open(f"file://{tmp_path / 'nothing'}")


def test_what_a_stopped_command_left_in_a_database_is_not_found(vectors: Path, tmp_path: Path) -> None:
    made = index(vectors, tmp_path / "index", kind="lancedb")
    table = require("lancedb", "lance").connect(tmp_path / "index").open_table("vectors")
    extra = table.to_arrow().slice(0, 3)
    place = extra.schema.get_field_index("position_in_index")
    table.add(extra.set_column(place, "position_in_index", [[20, 21, 22]]))
    opened = Index.open(tmp_path / "index")
    assert same(opened, made)
    write_vectors(tmp_path / "more", {"image": unit_vectors(5, 4, 5)}, ids=np.arange(5))
    opened.add(tmp_path / "more")
    assert len(opened.nearest(unit_vectors(1, 4, 0), 25)[0].rows.select("id", "modality").unique()) == 25


# Queries


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"transformers:{foreign.clip(tmp_path_factory.mktemp('model'))}"


def picture(seed: int, *shape: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8))


PICTURES = [picture(0, 45, 80), picture(1, 60, 33), picture(2, 40, 40)]


@pytest.fixture(scope="module")
def pairs(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of three pictures and their texts, by a model that is loaded by its name."""
    loaded = cp.load(model)
    made = {
        "image": loaded.embed("image", raw_pictures(PICTURES, loaded.inputs["image"])).numpy(),
        "text": loaded.embed("text", TEXTS).numpy(),
    }
    folder = tmp_path_factory.mktemp("pairs") / "vectors"
    write_vectors(folder, made, model=model, fingerprint=loaded.fingerprint, texts=TEXTS)
    return folder


def as_file(shown: Image.Image) -> bytes:
    file = io.BytesIO()
    shown.save(file, "PNG")
    return file.getvalue()


def test_texts_and_pictures_find_themselves_and_each_other(pairs: Path, tmp_path: Path) -> None:
    made = index(pairs)
    (tmp_path / "picture.png").write_bytes(as_file(PICTURES[1]))
    for query, modality in (
        (TEXTS[1], "text"),
        (PICTURES[1], "image"),
        (as_file(PICTURES[1]), "image"),
        (tmp_path / "picture.png", "image"),
    ):
        found = made.search(query, 1, modality=modality)
        assert found.rows.row(0, named=True)["id"] == 101
        assert found.rows["score"][0] == pytest.approx(1, abs=1e-6)
    across = made.search(TEXTS[0], 3)
    assert across.rows.equals(made.search(TEXTS[0], 3, modality="image").rows)
    assert next(iter(made.search(TEXTS[0], 1, modality="all")))["modality"] == "text"
    expected = made.vectors(np.arange(3)) @ made.vectors(np.array([3]))[0]
    np.testing.assert_allclose(across.rows["score"].to_numpy(), np.sort(expected)[::-1], atol=1e-6)
    assert [row["modality"] for row in made.search(PICTURES[0], 3, modality="text")] == ["text"] * 3


def test_several_queries_of_both_kinds(pairs: Path) -> None:
    made = index(pairs)
    tensor = torch.from_numpy(np.asarray(PICTURES[2]).transpose(2, 0, 1).copy())
    queries = ["a car", PICTURES[0], "a road", PICTURES[1], tensor]
    for one, query in zip(made.search(queries, 6), queries, strict=True):
        alone = made.search(query, 6)
        np.testing.assert_allclose(one.rows["score"].to_numpy(), alone.rows["score"].to_numpy(), atol=1e-6)


@pytest.mark.parametrize("query", ["", "  \n", [], ["a car", ""]])
def test_an_empty_query(query: str | list[str], pairs: Path) -> None:
    with pytest.raises(ValueError, match=r"the query is empty|there is no query"):
        index(pairs).search(query, 3)


def test_files_that_are_no_pictures(pairs: Path, tmp_path: Path) -> None:
    made = index(pairs)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text.png cannot be read as a picture: not a picture of a kind"):
        made.search(tmp_path / "text.png", 3)
    with pytest.raises(FileNotFoundError, match="there is no picture"):
        made.search(tmp_path / "gone.png", 3)


def test_weights_changed_since_are_refused_by_both_fingerprints(
    pairs: Path, model: str, tmp_path: Path
) -> None:
    loaded = cp.load(model)
    write_vectors(tmp_path / "old", model=model, fingerprint="0" * 32)
    with pytest.raises(
        ValueError, match=f"its fingerprint is {loaded.fingerprint}, theirs {'0' * 32}; embed"
    ):
        index(tmp_path / "old").search("a car", 3)


def test_a_model_without_a_name_is_given(pairs: Path, model: str, tmp_path: Path) -> None:
    loaded = cp.load(model)
    write_vectors(
        tmp_path / "mine",
        {"image": unit_vectors(9, loaded.width, 0)},
        model="",
        fingerprint=loaded.fingerprint,
        shares_space=True,
    )
    made = index(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"set it \(index.model = model\)"):
        made.search("a car", 3)
    made.model = loaded
    assert len(made.search("a car", 3)) == 3
    write_vectors(tmp_path / "other", model="", fingerprint="0" * 32)
    with pytest.raises(
        ValueError, match=f"this model is not the model .*{loaded.fingerprint}, theirs {'0' * 32}"
    ):
        index(tmp_path / "other").model = loaded


def test_modalities_that_share_no_space(model: str, tmp_path: Path) -> None:
    sentences = f"sentence-transformers:{foreign.sentences(tmp_path / 'model')}"
    loaded = cp.load(sentences)
    vectors = loaded.embed("text", TEXTS).numpy()
    write_vectors(
        tmp_path / "texts", {"text": vectors}, model=sentences, fingerprint=loaded.fingerprint, texts=TEXTS
    )
    made = index(tmp_path / "texts")
    assert made.search(TEXTS[2], 1).rows["text"].to_list() == [TEXTS[2]]
    with pytest.raises(ValueError, match="embeds text alone, and cannot search by image"):
        made.search(PICTURES[0], 1)
    loaded = cp.load(model)
    both = {name: unit_vectors(4, loaded.width, seed) for seed, name in enumerate(("image", "text"))}
    write_vectors(tmp_path / "apart", both, model=model, fingerprint=loaded.fingerprint, shares_space=False)
    apart = index(tmp_path / "apart")
    for query, own, other in (("a car", "text", "image"), (PICTURES[0], "image", "text")):
        for modality in ("all", other):
            with pytest.raises(ValueError, match=f"{own} and {other} share no space in this model"):
                apart.search(query, 2, modality=modality)  # type: ignore[call-overload] # a text or a picture
        assert len(apart.search(query, 2, modality=own)) == 2  # type: ignore[call-overload] # as above


def test_an_index_of_both_modalities_in_one_graph_is_made_again(tmp_path: Path) -> None:
    """Versions before had one graph for all."""
    write_vectors(tmp_path / "pictures", {"image": unit_vectors(30, 8, 0)})
    write_vectors(tmp_path / "both", {"image": unit_vectors(30, 8, 0), "text": unit_vectors(30, 8, 1)})
    index(tmp_path / "pictures", tmp_path / "one", kind="hnsw")
    index(tmp_path / "both", tmp_path / "two", kind="hnsw")
    record = json.loads((tmp_path / "two" / "index.json").read_text())
    record["files"] = json.loads((tmp_path / "one" / "index.json").read_text())["files"]
    (tmp_path / "two" / "index.json").write_text(json.dumps(record))
    with pytest.raises(
        DamagedFileError, match=r"1 file of FAISS for 2 modalities.*make it again: counterpoint index"
    ):
        Index.open(tmp_path / "two")


@pytest.mark.parametrize("column", ["key", "id", "modality"])
def test_vectors_without_column_that_names_rows_are_refused(
    column: str, vectors: Path, tmp_path: Path
) -> None:
    part = sorted(vectors.glob("*.parquet"))[1]
    parquet.write_table(parquet.read_table(part).drop_columns([column]), part)
    with pytest.raises(DamagedFileError, match=f"it has no column '{column}'"):
        index(vectors, tmp_path / "index")
    assert not (tmp_path / "index" / "index.json").exists()
