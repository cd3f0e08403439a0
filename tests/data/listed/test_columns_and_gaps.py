"""Tables of several columns: which they are, what an empty cell is, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.io import wavfile

from counterpoint.data.base import Data
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.reporting import report
from counterpoint.data.source import load_any, with_columns
from counterpoint.data.sources import columns_of
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.raw import Series, Table, Waves, check_series, check_waves
from fixtures.files import bitmap

ROWS = 40


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for k in range(ROWS):
        (tmp_path / f"{k}.bmp").write_bytes(bitmap(k))
        wave = np.sin(np.arange(800) * (k + 1) / 50)
        wavfile.write(tmp_path / f"{k}.wav", 8000, (wave * 20000).astype(np.int16))


def opened(path: Path, *columns: str) -> Data:
    return load_any(with_columns(str(path), columns_of(columns)))


def rows(**columns: Any) -> list[dict[str, Any]]:
    """Return as many rows as there are files, each column made of the row's number."""
    return [{name: make(k) for name, make in columns.items()} for k in range(ROWS)]


def csv(folder: Path, table: Sequence[Mapping[str, Any]]) -> Path:
    pl.DataFrame(table).write_csv(folder / "it.csv")
    return folder / "it.csv"


SEVERAL = {
    "clip_path": lambda k: f"{k}.wav" if k % 4 else "",
    "picture": lambda k: f"{k}.bmp" if k % 3 else "",
    "note": lambda k: f"note number {k}" if k % 5 else "",
    "age": lambda k: 20 + k,
    "sex": lambda k: ("f", "m", "")[k % 3],
    "sepsis": lambda k: k % 2,
}


def test_several_columns_of_files_values_and_text(tmp_path: Path) -> None:
    said = ("audio=clip_path", "image=picture", "text=note", "table=age+sex")
    data = opened(csv(tmp_path, rows(**SEVERAL)), *said)
    assert isinstance(data, Pairs)
    assert set(data.columns.items()) == {(m, m) for m in ("audio", "image", "text", "table")}
    assert len(data) == ROWS
    every = np.arange(ROWS)
    assert data.present("audio", every).tolist() == [k % 4 > 0 for k in range(ROWS)]
    assert data.present("image", every).tolist() == [k % 3 > 0 for k in range(ROWS)]
    assert data.present("text", every).tolist() == [k % 5 > 0 for k in range(ROWS)]
    assert data.present("table", every).all()
    some = np.array([0, 1, 4, 10])
    waves = data.read("audio", some)
    assert isinstance(waves, Waves)
    assert check_waves(waves).lengths.tolist() == [1, 1600, 1, 1600]
    assert waves.samples[0, 0] == 0
    assert data.read("text", some) == ["", "note number 1", "note number 4", ""]
    assert data.read_training("text", some) == [("",), ("note number 1",), ("note number 4",), ("",)]
    pictures = data.read("image", some)
    assert [bool(picture.any()) for picture in pictures] == [False, True, True, True]
    larger = data.suited({"image": Square(12)}).read("image", some)
    assert larger.shape == (4, 3, 12, 12)
    table = data.read("table", np.array([0, 1, 2]))
    assert isinstance(table, Table)
    assert table.rows() == [{"age": "20", "sex": "f"}, {"age": "21", "sex": "m"}, {"age": "22", "sex": ""}]
    assert data.labels["sepsis"].names == ("0", "1")
    assert "age" not in data.labels
    assert "audio: sounds of clip_path, lacking in 10 rows" in data.findings()["columns"]


def test_what_is_there_is_read_as_in_data_without_gaps(tmp_path: Path) -> None:
    gaps = opened(csv(tmp_path, rows(**SEVERAL)), "audio=clip_path", "image=picture", "table=age")
    (tmp_path / "whole").mkdir()
    plain = [{"file_name": f"../{k}.bmp", "text": "a"} for k in range(ROWS)]
    whole = load_any(f"{csv(tmp_path / 'whole', plain)},outside=yes")
    there = np.flatnonzero(gaps.present("image", np.arange(ROWS)))
    assert (gaps.read("image", there) == whole.read("image", there)).all()


def test_columns_are_recognised_by_their_endings(tmp_path: Path) -> None:
    table = rows(
        image=lambda k: f"{k}.bmp", sound=lambda k: f"{k}.wav" if k else "", caption=lambda k: f"thing {k}"
    )
    data = opened(csv(tmp_path, table))
    assert dict(data.columns) == {"image": "image", "text": "text", "audio": "audio"}
    assert data.present("audio", np.arange(3)).tolist() == [False, True, True]
    without = [{name: cell for name, cell in row.items() if name != "sound"} for row in table]
    assert dict(opened(csv(tmp_path, without)).columns) == {"image": "image", "text": "text"}


def test_stands_beside_pictures_and_is_no_file_stays_no_column(tmp_path: Path) -> None:
    table = rows(
        file_name=lambda k: f"{k}.bmp",
        text=lambda k: f"thing {k}",
        url=lambda k: f"https://host/{k}.bmp",
        heard=lambda k: f"https://host/{k}.wav",
        thumbnail=lambda k: f"{k}.bmp",
        embedding=lambda k: [float(k), 1.0],
    )
    pl.DataFrame(table).write_parquet(tmp_path / "it.parquet")
    assert dict(opened(tmp_path / "it.parquet").columns) == {"image": "image", "text": "text"}


def test_two_columns_of_one_modality(tmp_path: Path) -> None:
    table = rows(
        question=lambda k: f"How do I do {k}?",
        answer=lambda k: f"Press the key {k}." if k else "",
        n=lambda k: k % 3,
    )
    asked = opened(csv(tmp_path, table), "question", "answer")
    assert dict(asked.columns) == {"question": "text", "answer": "text"}
    assert asked.read("answer", np.array([0, 1])) == ["", "Press the key 1."]
    assert set(asked.labels) == {"n"}
    assert dict(opened(csv(tmp_path, table)).columns) == {"question": "text", "answer": "text"}


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_whole_numbers_beyond_64_bits_are_numbers(ending: str, tmp_path: Path) -> None:
    table = rows(mass=lambda k: (k + 1) * 1e20, age=lambda k: k + 0.5)
    frame, path = pl.DataFrame(table), tmp_path / f"it.{ending}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[ending](path)
    read = opened(path, "table=mass+age").read("table", np.arange(ROWS))
    assert isinstance(read, Table)
    np.testing.assert_allclose(read.cells[:, 0].numpy(), np.arange(1, ROWS + 1) * 1e20, rtol=1e-6)


def test_lists_of_numbers_are_series(tmp_path: Path) -> None:
    def walk(k: int, scale: float) -> list[list[float]] | None:
        return (
            None
            if k == 3 and scale == 2
            else [[float(scale * k), 0.5], [0.0, float(k)], [1.0, 1.0]][: 2 + k % 2]
        )

    table = rows(
        wrist=lambda k: walk(k, 1), ankle=lambda k: walk(k, 2), activity=lambda k: ("run", "walk")[k % 2]
    )
    pl.DataFrame(table).write_parquet(tmp_path / "it.parquet")
    (tmp_path / "it.jsonl").write_text("\n\n".join(map(json.dumps, table)))
    for name in ("it.parquet", "it.jsonl"):
        data = opened(tmp_path / name, "wrist", "ankle")
        assert dict(data.columns) == {"wrist": "series", "ankle": "series"}
        series = data.read("ankle", np.array([2, 3, 39]))
        assert isinstance(series, Series)
        assert check_series(series).lengths.tolist() == [2, 1, 3]
        assert series.measured[2].tolist() == [[78.0, 0.5], [0.0, 39.0], [1.0, 1.0]]
        assert data.present("ankle", np.array([2, 3])).tolist() == [True, False]
        assert data.labels["activity"].names == ("run", "walk")
        assert data.columns == opened(tmp_path / name).columns


def test_a_list_that_is_no_array_is_one_broken_cell(tmp_path: Path) -> None:
    table = rows(wrist=lambda k: [[1, 2], [3]] if k == 5 else [[1, k], [3, 4]], act=lambda k: "ab"[k % 2])
    (tmp_path / "it.jsonl").write_text("\n".join(map(json.dumps, table)))
    data = load_any(f"{tmp_path / 'it.jsonl'},broken=0.1")
    assert len(data) == ROWS - 1
    told = (
        "it.jsonl, row 6, column wrist: no list of numbers, or of lists of as many numbers each, time first"
    )
    assert any(told in line for line in data.findings().values())


def test_lists_of_words_tags_numbers_may_have_marks_of_not_known(tmp_path: Path) -> None:
    table = rows(
        wrist=lambda k: [float(k), 0.5],
        look=lambda k: ["red", "round"] if k % 2 else ["red"],
        level=lambda k: "NA" if k % 9 == 0 else str(k % 3),
        crp=lambda k: "NA" if k % 9 == 0 else str(k / 7),
    )
    pl.DataFrame(table).write_parquet(tmp_path / "it.parquet")
    (tmp_path / "it.jsonl").write_text("\n".join(map(json.dumps, table)))
    for name in ("it.parquet", "it.jsonl"):
        data = load_any(str(tmp_path / name))
        assert dict(data.columns) == {"series": "series", "table": "table"}
        assert {it: label.names for it, label in data.labels.items()} == {
            "look": ("red", "round"),
            "level": ("0", "1", "2"),
        }
        assert data.labels["level"].values[:4].tolist() == [-1, 1, 2, 0]
        assert data.present("table", np.array([0, 1])).tolist() == [False, True]


def test_a_category_that_no_training_row_has_is_unknown_and_told(tmp_path: Path) -> None:
    table = rows(
        sex=lambda k: "x" if k == 39 else "fm"[k % 2],
        bmi=lambda k: 20.5 + k,
        split=lambda k: ("train", "validation", "test")[max(0, k - 37)],
    )
    data = opened(csv(tmp_path, table), "table=sex+bmi")
    assert data.read("table", np.array([38, 39])).rows() == [
        {"sex": "f", "bmi": "58.5"},
        {"sex": "", "bmi": "59.5"},
    ]
    assert "sex: x (1)" in data.findings()["categories of no training row, read as unknown"]


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({}, ("table=agee+sex",), r"no column 'agee' for the table; found \[.*\]; did you mean 'age'\?$"),
        ({}, ("clip_pth",), r"no column 'clip_pth'; found \[.*\]; did you mean 'clip_path'\?$"),
        ({}, ("audio=clip_path", "clip_path"), "'clip_path' is named for two things"),
        (
            {"age": lambda k: "inf" if k == 7 else str(k)},
            ("table=age+sex",),
            r"it\.csv, row 8: age is inf, beyond 3\.4e\+38, the largest number that is read",
        ),
        (
            {"age": lambda k: 1e300 if k == 7 else float(k)},
            ("table=age+sex",),
            r"it\.csv, row 8: age is 1e\+?300, beyond 3\.4e\+38",
        ),
        (
            {"age": lambda k: "old" if k == 7 else str(k)},
            ("table=age+sex",),
            r"row 8: age holds 'old', which is no number, and the others are: mend or empty the cell",
        ),
        (
            {"split": lambda k: "train" if k < 30 else "test", "note": lambda k: f"n {k}" if k < 30 else ""},
            ("text=note", "table=age"),
            r"no row of the split 'test: held out' has a value in the column text \(of 10 rows\): .*--columns table",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    change: Mapping[str, Any], columns: Sequence[str], message: str, tmp_path: Path
) -> None:
    path = csv(tmp_path, [dict(row) for row in rows(**{**SEVERAL, **change})])
    with pytest.raises(ValueError, match=message):
        opened(path, *columns)


def test_a_row_that_lacks_everything_is_counted_and_named(tmp_path: Path) -> None:
    table = rows(**SEVERAL)
    table[8] |= {"clip_path": "", "picture": "", "note": ""}
    path = csv(tmp_path, table)
    data = opened(path, "audio=clip_path", "image=picture", "text=note")
    assert len(data) == ROWS - 2  # 0 and 8
    told = report(f"{path},columns=audio:clip_path+image:picture+text:note").sections["columns"]
    lacking = {line.name: re.findall(r"lacking in (\d+) rows", line.text) for line in told}
    absent = {
        column: str(int((~data.present(column, np.arange(len(data)))).sum())) for column in data.columns
    }
    assert lacking == {column: [count] for column, count in absent.items()}
    (said,) = [
        line for title, line in data.findings().items() if title == "passed over: nothing in any column"
    ]
    assert re.fullmatch(r"2: .*it\.csv, row 1; .*it\.csv, row 9", said)


def test_a_file_that_is_broken_or_not_there_is_lost_and_no_gap(tmp_path: Path) -> None:
    (tmp_path / "2.wav").write_bytes(b"RIFF")
    table = rows(**SEVERAL)
    data = opened(csv(tmp_path, table), "audio=clip_path", "image=picture", "table=age")
    assert len(data) == ROWS - 1
    assert any(title.startswith("lost: broken file") for title in data.findings())
    (tmp_path / "5.bmp").unlink()
    with pytest.raises(ValueError, match=r"2 × no such file \(.*, row 6: 5\.bmp; row 41: 5\.bmp\)"):
        opened(csv(tmp_path, [*table, table[5]]), "audio=clip_path", "image=picture", "table=age")


def test_gaps_do_not_part_what_belongs_together(tmp_path: Path) -> None:
    table = rows(**SEVERAL)
    table += [row | {"note": "another"} for row in table]
    data = opened(csv(tmp_path, table), "audio=clip_path", "image=picture", "table=age")
    side = np.empty(len(table), dtype=object)
    for name, of_side in data.splits.sides.items():
        side[of_side] = name
    assert (side[:ROWS] == side[ROWS:]).all()
    assert len(set(side)) == 3


def test_a_folder_of_pictures_with_sounds_beside_some(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    for k in range(ROWS):
        (tmp_path / f"{k}.bmp").rename(tmp_path / "it" / f"{k:02}.bmp")
        (tmp_path / "it" / f"{k:02}.txt").write_text(f"number {k}")
        if k % 3:
            (tmp_path / f"{k}.wav").rename(tmp_path / "it" / f"{k:02}.wav")
    data = load_any(str(tmp_path / "it"))
    assert dict(data.columns) == {"image": "image", "text": "text", "audio": "audio"}
    assert len(data) == ROWS
    assert data.present("audio", np.arange(4)).tolist() == [False, True, True, False]


def test_rows_lack_all_values_of_table_are_not_bound_by_that(tmp_path: Path) -> None:
    age = {k: "" if k < 60 else str(k) for k in range(300)}
    table = [{"note": f"note number {k}", "age": value, "weight": value} for k, value in age.items()]
    data = opened(csv(tmp_path, table), "text=note", "table=age+weight")
    assert "large sets of linked rows" not in data.findings()
    assert all(not data.present("table", rows).all() for rows in data.splits.sides.values())
