"""Records: cells by column, of any modality, with gaps; and what shards say before they are opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from counterpoint.data.sources import Asset, Ledger, Record, Records, shards

COLUMNS = {"image": "image", "image after": "image", "audio": "audio", "text": "text", "text de": "text"}


def examples() -> list[Record]:
    before, after = Asset("a/1.png"), Asset("s.tar", "1.after.png", 512, 90)
    return [
        Record(
            {"image": before, "image after": after, "text": ("a cat", "one cat")}, "1", labels={"kind": "cat"}
        ),
        Record(
            {"image": before, "audio": Asset("1.wav"), "text": None},
            "2",
            "7",
            "train",
            "both",
            where="t, row 2",
        ),
        Record(
            {"audio": Asset("p.parquet", "audio", 3), "text de": ("eine Katze",)}, "3", labels={"kind": "dog"}
        ),
    ]


def test_record_of_several_columns_of_one_modality_comes_back_as() -> None:
    records = Records.collect(examples(), COLUMNS)
    assert [
        {name: cell for name, cell in record.cells.items() if cell is not None} for record in records
    ] == [{name: cell for name, cell in record.cells.items() if cell is not None} for record in examples()]
    assert [(r.key, r.id, r.split, r.group, dict(r.labels), r.where) for r in records] == [
        (r.key, r.id, r.split, r.group, dict(r.labels), r.where) for r in examples()
    ]
    assert {name: records.having(name).to_list() for name in [*COLUMNS, "series"]} == {
        "image": [True, True, False],
        "image after": [True, False, False],
        "audio": [False, True, True],
        "text": [True, False, False],
        "text de": [False, False, True],
        "series": [False, False, False],
    }
    assert list(records[:2].assets("image")) == [Asset("a/1.png")] * 2


def test_parts_of_other_columns_are_put_together_with_gaps() -> None:
    sounds = Records.collect([Record({"audio": Asset("1.wav")}, "1")], {"audio": "audio"})
    pairs = Records.collect([Record({"image": Asset("1.png"), "text": ("a",)}, "2")])
    both = Records.concat([sounds, pairs])
    assert dict(both.columns) == {"audio": "audio", "image": "image", "text": "text"}
    assert both[0].cells == {"audio": Asset("1.wav"), "image": None, "text": None}
    assert both[1].cells == {"audio": None, "image": Asset("1.png"), "text": ("a",)}
    drawn = Records.collect([], {"audio": "image"})
    with pytest.raises(ValueError, match="the column audio holds audio in one part, image in another"):
        Records.concat([sounds, drawn])


def test_a_column_cannot_have_the_name_of_a_fact() -> None:
    with pytest.raises(ValueError, match="a column cannot be called 'split'; give it another name"):
        Records.collect([], {"split": "text"})


def test_an_asset_reads_its_own_bytes_alone(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"0123456789")
    assert Asset.of(tmp_path / "it").read_bytes() == b"0123456789"
    assert Asset(str(tmp_path / "it"), "part", 3, 4).read_bytes() == b"3456"
    with pytest.raises(FileNotFoundError):
        Asset.of(tmp_path / "none").read_bytes()


def test_the_state_of_a_shard_changes_when_it_does_and_only_then(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / name).write_bytes(b"12")

    def states() -> list[str]:
        return [shard.state for shard in shards(str(tmp_path), Ledger())]

    before = states()
    assert states() == before
    (tmp_path / "b.parquet").write_bytes(b"123")
    assert [a == b for a, b in zip(before, states(), strict=True)] == [True, False]
    os.utime(tmp_path / "a.parquet", ns=(1, 1))
    assert states()[0] != before[0]
