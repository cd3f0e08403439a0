"""Data that differ in one part have fingerprints that differ in that part alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterpoint.data.fingerprint import PARTS, bytes_of
from counterpoint.data.listed.pairs import Pairs
from counterpoint.data.synthetic.scenes.shards import read, write
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.raw import Waves
from fixtures.files import write_pairs
from fixtures.tiny import TinyData


def _column(name: str, row: int, value: object) -> Callable[[Path], None]:
    def change(table: Path) -> None:
        frame = pl.read_csv(table)
        values = frame[name].to_list()
        values[row] = value
        frame.with_columns(pl.Series(name, values)).write_csv(table)

    return change


def _picture(table: Path) -> None:
    path = table.parent / pl.read_csv(table)["file_name"][0]
    picture = Image.open(path).convert("RGB")
    red, *others = picture.getpixel((0, 0))
    picture.putpixel((0, 0), (red ^ 1, *others))  # and no other look, by which a row may leak
    picture.save(path)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("ids", _column("id", 0, 999_999)),
        ("splits", _column("split", 0, "test")),  # of training until then
        ("captions", _column("text", 0, "something else")),
        ("pictures", _picture),
        ("labels", _column("group", 0, "angular")),
    ],
)
def test_each_part_is_told_apart(part: str, change: Callable[[Path], None], tmp_path: Path) -> None:
    table = write_pairs(tmp_path / "pairs")
    pl.read_csv(table).with_row_index("id").write_csv(table)
    before = Pairs(table, 24).fingerprint
    change(table)
    after = Pairs(table, 24).fingerprint
    assert {name for name in PARTS if before.parts[name] != after.parts[name]} == {part}
    column = {"ids": "id", "splits": "split"}.get(part, part)
    changed = before.rows[column] != after.rows[column]
    assert changed.sum() == 1
    assert changed[0]


def test_a_copy_is_the_same_data(tmp_path: Path) -> None:
    table = write_pairs(tmp_path / "pairs")
    shutil.copytree(table.parent, tmp_path / "copy")
    first, second = Pairs(table, 24).fingerprint, Pairs(tmp_path / "copy" / table.name, 24).fingerprint
    assert first.parts == second.parts
    assert first.rows.equals(second.rows)


def test_data_without_files_are_told_by_their_pictures() -> None:
    first, second = TinyData(), TinyData()
    second._pictures = second._pictures.clone()
    second._pictures[3, 0, 5, 5] ^= 1
    assert first.fingerprint.parts["captions"] == second.fingerprint.parts["captions"]
    assert first.fingerprint.parts["pictures"] != second.fingerprint.parts["pictures"]
    assert np.flatnonzero(
        first.fingerprint.rows["pictures"] != second.fingerprint.rows["pictures"]
    ).tolist() == [3]


def test_scenes_in_a_folder_are_known_by_their_files(tmp_path: Path) -> None:
    world = Scenes.parse("scenes:basic,train=6,test=3,validation=3,pixels=24")
    for _ in write(world, tmp_path / "a"):
        pass
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = read(tmp_path / "a").fingerprint.parts
    assert read(tmp_path / "b").fingerprint.parts == before
    shard = next((tmp_path / "b").glob("train*.tar"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    assert read(tmp_path / "b").fingerprint.parts != before


def test_sound_told_by_samples_and_rate_and_not_by_it_padded_to() -> None:
    short, long = np.ones(3, np.float32), np.ones(5, np.float32)
    alone, beside = Waves.of([short], 8), Waves.of([short, long], 8)
    assert bytes_of(alone) == bytes_of(beside[0]) != bytes_of(beside[1])
    assert bytes_of(alone) != bytes_of(Waves.of([short], 9))
    assert bytes_of(beside) != bytes_of(beside[::-1])
