"""Vectors on disk: what is written is read again, by others too, and what is not whole is refused by its name."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from pyarrow import parquet

from counterpoint.files import DamagedFileError, NewerFormatError
from counterpoint.serving import Vectors
from counterpoint.serving.vectors import write_part
from fixtures.vectors_folder import unit_vectors, write_vectors

COLUMNS = ["id", "key", "modality", "split", "text", "colour"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_written_is_read_again(dtype: str, tmp_path: Path) -> None:
    made = {"image": unit_vectors(10, 4, 0), "text": unit_vectors(7, 4, 1)}
    about = write_vectors(tmp_path, made, parts=3, dtype=dtype)
    vectors = Vectors.open(tmp_path)
    assert vectors.about == about
    assert len(vectors) == 17
    assert vectors.counts == (4, 3, 3, 3, 2, 2)
    assert [part.name for part in vectors.parts][2:4] == [
        "image-00002-of-00003.parquet",
        "text-00000-of-00003.parquet",
    ]
    read, tables = zip(*map(vectors.read, vectors.parts), strict=True)
    whole = np.concatenate([*made.values()]).astype(dtype)
    assert np.array_equal(np.concatenate(read), whole)
    assert pl.concat(tables).equals(vectors.table())
    assert vectors.table().columns == COLUMNS
    assert vectors.table(["text", "id"]).columns == ["text", "id"]
    assert vectors.table()["id"].to_list() == [*range(100, 110), *range(100, 107)]
    assert vectors.table()["colour"].null_count() == 3


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_others_read_it(dtype: str, tmp_path: Path) -> None:
    made = {"image": unit_vectors(10, 4, 0), "text": unit_vectors(10, 4, 1)}
    write_vectors(tmp_path, made, dtype=dtype)
    exact = dtype == "float32"
    rows = duckdb.sql(
        f"SELECT id, array_cosine_similarity(vector::FLOAT[4], {made['text'][3].tolist()}::FLOAT[4]) AS score "
        f"FROM '{tmp_path}/*.parquet' WHERE modality = 'text' ORDER BY score DESC LIMIT 1"
    ).fetchall()
    assert rows == [(103, pytest.approx(1, abs=1e-6 if exact else 1e-3))]
    frame = pl.read_parquet(f"{tmp_path}/*.parquet")
    assert frame.schema["vector"] == pl.Array(pl.Float32 if exact else pl.Float16, 4)
    assert frame.columns == [*COLUMNS[:3], "vector", *COLUMNS[3:]]
    assert np.array_equal(frame.filter(modality="image")["vector"].to_numpy(), made["image"].astype(dtype))
    table = parquet.read_table(tmp_path)
    assert table.num_rows == 20
    assert np.array_equal(np.stack(table["vector"].to_numpy()[10:]), made["text"].astype(dtype))


def test_no_vectors(tmp_path: Path) -> None:
    for folder, reason in ((tmp_path, "holds no vectors"), (tmp_path / "gone", "is no folder")):
        with pytest.raises(
            FileNotFoundError, match=f"{reason}: make some with counterpoint embed MODEL DATA"
        ):
            Vectors.open(folder)


@pytest.mark.parametrize(("name", "count"), [("image-00001-of-00002", 1), ("text-*", 2)])
def test_a_missing_part_is_named_with_the_command_that_makes_it(
    name: str, count: int, tmp_path: Path
) -> None:
    write_vectors(tmp_path, limit=10, dtype="float16")
    gone = sorted(tmp_path.glob(f"{name}.parquet"))
    assert len(gone) == count
    for path in gone:
        path.unlink()
    missing = gone[0].name if count == 1 else "text-00000-of-00001.parquet"
    with pytest.raises(
        DamagedFileError, match=f"{missing} is damaged .it is missing.: make it again: counterpoint "
    ) as e:
        Vectors.open(tmp_path)
    words = "embed tiny shapes --modality image text --dtype float16 --limit 10 --out"
    assert f"{words} {tmp_path}" in str(e.value)


@pytest.mark.parametrize("kept", [0, 3, 0.5, 0.999])
def test_a_truncated_part_is_refused(kept: float, tmp_path: Path) -> None:
    write_vectors(tmp_path)
    part = sorted(tmp_path.glob("*.parquet"))[1]
    whole = part.read_bytes()
    part.write_bytes(whole[: int(kept if kept == 3 else kept * len(whole))])
    with pytest.raises(DamagedFileError, match=f"{part.name} is damaged .it is no whole Parquet file"):
        Vectors.open(tmp_path)


def test_changed_bytes_are_found_when_they_are_read(tmp_path: Path) -> None:
    vectors = unit_vectors(500, 8, 0)
    write_vectors(tmp_path, {"image": vectors}, parts=1)
    part = next(tmp_path.glob("*.parquet"))
    content = part.read_bytes()
    at = content.index(vectors[200].tobytes())
    part.write_bytes(content[:at] + bytes(32) + content[at + 32 :])
    opened = Vectors.open(tmp_path)
    with pytest.raises(DamagedFileError, match=f"{part.name} is damaged"):
        opened.read(part)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fingerprint": "e"}, f"another model: tiny of fingerprint e, not tiny of fingerprint {'f' * 32}"),
        ({"data_fingerprint": "0"}, f"other data: shapes of fingerprint 0, not shapes of fingerprint {'d' * 32}"),
        ({"width": 5}, "width 5, not 4"),
        ({"dtype": "float16"}, "dtype float16, not float32"),
        ({"modalities": ("image", "text")}, "modalities image, text, not image"),
        ({"precision": "bf16-mixed"}, "precision bf16-mixed, not 32"),
        ({"limit": 3}, "limit 3, not None"),
    ],
)  # fmt: skip
def test_parts_of_another_origin_are_refused(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    write_vectors(tmp_path / "one", {"image": unit_vectors(4, 4, 0)})
    write_vectors(
        tmp_path / "two", {"image": unit_vectors(4, int(str(changed.get("width", 4))), 0)}, **changed
    )
    shutil.copy(tmp_path / "two" / "image-00001-of-00002.parquet", tmp_path / "one")
    with pytest.raises(ValueError, match=f"image-00001-of-00002.parquet was made .*{message}"):
        Vectors.open(tmp_path / "one")


def test_data_and_model_may_have_moved(tmp_path: Path) -> None:
    write_vectors(tmp_path / "one")
    write_vectors(tmp_path / "two", data="/elsewhere/shapes", model="/elsewhere/tiny")
    shutil.copy(tmp_path / "two" / "image-00001-of-00002.parquet", tmp_path / "one")
    assert Vectors.open(tmp_path / "one").about.data == "shapes"


def test_parts_of_two_counts_and_files_of_others_are_refused(tmp_path: Path) -> None:
    write_vectors(tmp_path)
    write_vectors(tmp_path, parts=3)
    with pytest.raises(
        ValueError, match=r"image vectors of several commands \(2, 3 parts\): delete it, and make"
    ):
        Vectors.open(tmp_path)
    for path in tmp_path.glob("*-of-00003.parquet"):
        path.unlink()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "mine.parquet")
    with pytest.raises(
        DamagedFileError, match=r"mine.parquet is damaged .it is no part that counterpoint embed wrote"
    ):
        Vectors.open(tmp_path)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(broken: float, tmp_path: Path) -> None:
    vectors = unit_vectors(6, 4, 0)
    vectors[4, 2] = broken
    write_vectors(tmp_path, {"image": vectors})
    opened = Vectors.open(tmp_path)
    assert len(opened.read(opened.parts[0])[0]) == 3
    with pytest.raises(
        DamagedFileError, match=r"image-00001-of-00002.parquet is damaged .1 of its vectors are NaN or"
    ):
        opened.read(opened.parts[1])


def test_a_later_format_is_told_as_such(tmp_path: Path) -> None:
    write_vectors(tmp_path, format=99)
    with pytest.raises(NewerFormatError, match="was written by a newer counterpoint"):
        Vectors.open(tmp_path)


def test_a_modality_of_any_name_and_a_path_of_any_signs(tmp_path: Path) -> None:
    folder = tmp_path / "of [mine] *"
    write_vectors(folder, {"a/b c": unit_vectors(4, 4, 0)})
    vectors = Vectors.open(folder)
    assert [part.name for part in vectors.parts] == [f"a%2Fb%20c-0000{i}-of-00002.parquet" for i in (0, 1)]
    assert vectors.table()["modality"].unique().to_list() == ["a/b c"]


def test_a_full_disk_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = write_vectors(tmp_path / "one")
    vectors = Vectors.open(tmp_path / "one")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full)
    path = tmp_path / "two" / vectors.parts[0].name
    with pytest.raises(OSError, match="No space left on device") as error:
        write_part(path, about, *vectors.read(vectors.parts[0]))
    assert error.value.filename == str(path)
    assert list(path.parent.iterdir()) == []
