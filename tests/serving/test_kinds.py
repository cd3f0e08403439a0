"""Kinds of index: exact ones are brute force in float64, the others find nearly all of it, under any condition."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import lancedb.index as lance_index
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.serving import INDEX_KINDS, Index, index
from counterpoint.serving.indexing.kinds import _faiss, exact, lancedb
from counterpoint.serving.indexing.kinds._kind import VectorBlocks
from fixtures.vectors_folder import unit_vectors, write_vectors

KINDS = INDEX_KINDS.names()


def brute(
    vectors: np.ndarray, queries: np.ndarray, k: int, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines in float64 of the k nearest, the first of equals first; −∞ and −1 where there are fewer."""
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    scores[:, ~mask] = -np.inf
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(scores, rows, 1)
    return found, np.where(np.isfinite(found), rows, -1)


def clustered(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Vectors around twenty centres, which are the same for every seed."""
    centres, rng = np.random.default_rng(99).normal(size=(20, width)), np.random.default_rng(seed)
    drawn = centres[rng.integers(0, 20, count)] + 0.6 * rng.normal(size=(count, width))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=150)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    width=st.integers(1, 9),
    queries=st.integers(1, 5),
    k=st.integers(1, 30),
    share=st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0]),
    halves=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_exact_is_brute_force(
    counts: list[int], width: int, queries: int, k: int, share: float, halves: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, chunk = sum(counts), int(rng.integers(1, 20))
    vectors = unit_vectors(rows, width, seed)
    vectors[rng.integers(0, rows)] = vectors[0]  # equals are found in their order
    vectors = vectors.astype(np.float16 if halves else np.float32)
    mask = rng.random(rows) < share
    asked = unit_vectors(queries, width, seed + 1)
    with pytest.MonkeyPatch.context() as patched:
        for name in ("_FEWEST", "_MOST", "_HALVES", "_CELLS"):
            patched.setattr(exact, name, chunk)
        patched.setattr(exact, "_FIRST", 3)
        patched.setattr(exact, "_QUERIES", 2)
        scores, found = exact.nearest(np.split(vectors, np.cumsum(counts)[:-1]), asked, k, mask)
    k = min(k, rows)
    expected, right = brute(vectors, asked, k, mask)
    np.testing.assert_allclose(scores[:, :k], expected, rtol=0, atol=1e-6)
    there = right >= 0
    assert np.array_equal(found[:, :k] >= 0, there)
    own = np.einsum("md,mkd->mk", asked.astype(np.float64), vectors[found[:, :k]].astype(np.float64))
    np.testing.assert_allclose(own[there], expected[there], rtol=0, atol=1e-6)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in found)


def test_of_equal_scores_the_first_rows_count() -> None:
    vectors = np.tile(np.eye(4, dtype=np.float32), (3000, 1))
    scores, rows = exact.nearest([vectors], np.eye(4, dtype=np.float32)[1:2], 3)
    assert rows.tolist() == [[1, 5, 9]]
    assert scores.tolist() == [[1, 1, 1]]


@pytest.fixture(scope="module", params=KINDS)
def searched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index of every kind, of 3,000 vectors of pictures and 1,000 of texts, opened from its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    made = {"image": clustered(3000, 24), "text": clustered(1000, 24, 5)}
    write_vectors(folder / "vectors", made, parts=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_faiss, "_FEW", 100)
        index(folder / "vectors", folder / "index", kind=request.param)
        yield Index.open(folder / "index")


WHOLE = np.concatenate([clustered(3000, 24), clustered(1000, 24, 5)])
LONG = pl.col("key").str.len_chars() > 7
CONDITIONS: list[tuple[str | None, str | None, Callable[[pl.DataFrame], pl.Expr]]] = [
    (None, None, lambda _: pl.lit(True)),
    ("split = 'train'", None, lambda _: pl.col("split") == "train"),
    (
        "split = 'test' AND text LIKE 'text 1%'",
        None,
        lambda _: (pl.col("split") == "test") & pl.col("text").str.starts_with("text 1"),
    ),
    ("colour IS NULL", "text", lambda _: pl.col("colour").is_null() & (pl.col("modality") == "text")),
    (None, "image", lambda _: pl.col("modality") == "image"),
    (
        "split = 'train' OR split = 'test'",
        "image",
        lambda _: (pl.col("modality") == "image") & pl.col("split").is_in(["train", "test"]),
    ),
    ("NOT colour = 'red'", None, lambda _: pl.col("colour") == "blue"),  # a null is neither
    ("id IN (100, 101, 3000)", None, lambda _: pl.col("id").is_in([100, 101, 3000])),
    ("id < 0", None, lambda _: pl.lit(False)),
    ("\"colour\" = 'red' OR length(key) > 7", None, lambda _: (pl.col("colour") == "red") | LONG),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "modality", "holds"), CONDITIONS, ids=[f"{a} {b}" for a, b, _ in CONDITIONS]
)
def test_every_kind_finds_nearly_all_under_any_condition(
    where: str | None, modality: str | None, holds: Callable[[pl.DataFrame], pl.Expr], searched: Index
) -> None:
    queries, k = clustered(20, 24, 9), 12
    mask = np.broadcast_to(
        searched.table.select(holds(searched.table).fill_null(False).alias("m"))["m"].to_numpy(), 4000
    )
    expected, right = brute(WHOLE, queries, k, mask)
    found = searched.nearest(queries, k, where=where, modality=modality or "all")
    hits = 0
    for query, one in enumerate(found):
        best = expected[query][right[query] >= 0]
        assert len(one) == len(best)  # k results come if there are k
        rows = searched.table.with_row_index("row").join(one.rows, on=["id", "modality"], how="semi")["row"]
        assert mask[rows.to_numpy()].all()
        assert one.rows["score"].is_sorted(descending=True)
        scores = one.rows["score"].to_numpy()
        if searched.kind in ("exact", "lancedb"):
            np.testing.assert_allclose(scores, best, rtol=0, atol=1e-6)
        hits += int((scores >= best[-1] - 1e-6).sum()) if len(best) else 0
    assert hits >= 0.95 * (right >= 0).sum()


def test_few_chosen_rows_are_compared_exactly_by_every_kind(searched: Index) -> None:
    queries = clustered(5, 24, 9)
    mask = (searched.table["id"] < 150).to_numpy()
    expected, _ = brute(WHOLE, queries, 10, mask)
    for query, one in enumerate(searched.nearest(queries, where="id < 150")):
        np.testing.assert_allclose(one.rows["score"].to_numpy(), expected[query], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_found_by_texts_which_lie_apart_from_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The groups that are nearest to a text are of texts, and hold hardly a picture; FAISS has a graph of pictures."""

    def compared(*_: object) -> None:
        raise AssertionError("every vector is compared")

    if issubclass(INDEX_KINDS.get(kind), _faiss.FaissKind):
        monkeypatch.setattr(INDEX_KINDS.get(kind), "exactly", compared)
    monkeypatch.setattr(_faiss, "_FEW", 100)
    monkeypatch.setattr(lancedb, "_FLAT", 1000)
    monkeypatch.setattr(lance_index, "IvfFlat", partial(lance_index.IvfFlat, num_partitions=256))
    pictures, texts, queries = clustered(3000, 24), clustered(3000, 24, 5), clustered(20, 24, 9)
    pictures[:, 0], texts[:, 0], queries[:, 0] = 0.5, -0.5, -0.5
    write_vectors(tmp_path / "vectors", {"image": pictures, "text": texts})
    made = index(tmp_path / "vectors", tmp_path / "index", kind=kind)
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    for k in (1, 10):
        expected, _ = brute(pictures, queries, k, np.ones(3000, bool))
        found = np.stack([one.rows["score"].to_numpy() for one in made.nearest(queries, k, modality="image")])
        assert (found >= expected[:, -1:] - 1e-6).mean() >= 0.95


def test_lancedb_gives_as_many_as_there_where_they_are_far_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lancedb, "_FLAT", 1000)
    monkeypatch.setattr(lance_index, "IvfFlat", partial(lance_index.IvfFlat, num_partitions=64))
    vectors = np.concatenate([clustered(3000, 24), -clustered(50, 24, 5)])
    write_vectors(tmp_path / "vectors", {"image": vectors})
    made = index(tmp_path / "vectors", tmp_path / "index", kind="lancedb")
    for k, where, there in ((20, "id >= 3100", 20), (60, "id >= 3100", 50), (3050, None, 3050)):
        found = made.nearest(clustered(3, 24, 9), k, where=where)
        assert [len(one) for one in found] == [there] * 3


def test_as_many_as_there_are(searched: Index) -> None:
    """Even an approximate index gives all rows, where all are asked for."""
    found = searched.nearest(clustered(1, 24, 9), 4000)[0]
    assert found.rows.select("id", "modality").n_unique() == 4000


def test_a_row_finds_itself_and_gives_its_vector(searched: Index) -> None:
    rows = np.array([3, 2999, 3500])
    vectors = searched.vectors(rows)
    np.testing.assert_allclose(vectors, WHOLE[rows], rtol=0, atol=1e-6)
    for row, one in zip(rows, searched.nearest(vectors, 1), strict=True):
        assert one.rows["score"][0] == pytest.approx(1, abs=1e-6)
        assert one.rows.select("id", "modality").row(0) == searched.table.select("id", "modality").row(row)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_orthogonal_vectors(kind: str, dtype: str, tmp_path: Path) -> None:
    """A query finds its own direction with cosine 1, and every other with 0."""
    write_vectors(tmp_path / "vectors", {"image": 3 * np.eye(8, dtype=np.float32)}, dtype=dtype)
    made = index(tmp_path / "vectors", tmp_path / "index", kind=kind)
    for one, row in zip(made.nearest(5 * np.eye(8), 8), range(8), strict=True):
        assert one.rows["id"][0] == 100 + row
        np.testing.assert_allclose(one.rows["score"].to_numpy(), [1] + [0] * 7, rtol=0, atol=1e-6)


def test_lancedb_makes_an_index_of_many_and_finds_nearly_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lancedb, "_FLAT", 1000)
    write_vectors(tmp_path / "vectors", {"image": clustered(3000, 24)})
    made = index(tmp_path / "vectors", tmp_path / "index", kind="lancedb")
    assert made._vectors.table.list_indices()  # type: ignore[attr-defined] # of this kind
    queries = clustered(20, 24, 9)
    expected, _ = brute(clustered(3000, 24), queries, 10, np.ones(3000, bool))
    found = np.stack([one.rows["score"].to_numpy() for one in made.nearest(queries)])
    assert (found >= expected[:, -1:] - 1e-6).mean() >= 0.9


def test_lancedb_given_few_large_batches_keeps_in_one_file_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lancedb, "_BATCH", 500)
    sizes: list[list[int]] = []
    reader = lancedb._reader

    def counted(additions: VectorBlocks) -> pa.RecordBatchReader:
        batches = [*reader(additions)]
        sizes.append([len(batch) for batch in batches])
        return pa.RecordBatchReader.from_batches(batches[0].schema, batches)

    monkeypatch.setattr(lancedb, "_reader", counted)
    write_vectors(tmp_path / "vectors", {"image": clustered(1800, 8)}, parts=60)  # of 30 rows each
    write_vectors(tmp_path / "more", {"image": clustered(300, 8, 1)}, parts=30, ids=np.arange(300) + 5000)
    made = index(tmp_path / "vectors", tmp_path / "index", kind="lancedb")
    made.add(tmp_path / "more")
    assert sizes == [[510, 510, 510, 270], [300]]
    assert made._vectors.table.stats()["fragment_stats"]["num_fragments"] == 2  # type: ignore[attr-defined] # of this kind


def test_a_database_without_its_rows_is_named_with_what_mends_it(tmp_path: Path) -> None:
    where = f"file://{tmp_path}/db"
    write_vectors(tmp_path / "vectors", {"image": clustered(40, 8)})
    index(tmp_path / "vectors", where, kind="lancedb")
    shutil.rmtree(tmp_path / "db" / "vectors_rows.lance")
    with pytest.raises(
        ValueError, match=rf"{where} is damaged \(its table vectors_rows is missing\): .* {where}"
    ):
        Index.open(where)


def test_no_queries_have_no_results(searched: Index) -> None:
    for where in (None, "id < 150", "id >= 0"):
        assert searched.nearest(np.empty((0, 24), np.float32), 3, where=where) == []


def test_lancedb_says_that_a_name_may_have_no_dot(tmp_path: Path) -> None:
    table = pl.DataFrame({"id": [1], "modality": ["image"], "camera.name": ["a"]})
    additions = VectorBlocks(table, 4, "float32", lambda: iter([unit_vectors(1, 4, 0)]))
    with pytest.raises(ValueError, match=r"no column whose name has a dot, as camera\.name: rename it"):
        lancedb.LanceDB.build(additions, str(tmp_path / "made"))
