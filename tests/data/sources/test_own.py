"""A source of one's own: a class in a file of Python, as a loss of one's own is."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoint.data.source import load, load_any, located, records_of
from counterpoint.data.sources import Ledger
from counterpoint.trust import given
from fixtures.files import bitmap

SOURCE = '''
from pathlib import Path

from counterpoint.data.sources import Asset, Record, Records, Shard, Source


class Mine(Source):
    """Bitmaps whose caption is their number."""

    def recognises(self, written):
        return True

    def shards(self, written, options, ledger):
        home = Path(__file__).parent / "pictures"
        return [Shard(part.name, str(part), "", str(part.stat().st_mtime_ns)) for part in sorted(home.iterdir())]

    def open(self, shard, ledger):
        files = sorted(Path(shard.location).iterdir())
        sides = {"0": "train", "1": "validation", "2": "test"}
        return Records.collect(
            Record({"image": Asset.of(file), "text": (f"number {file.stem}",)}, file.stem, split=sides[shard.name])
            for file in files
        )
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    for part in range(3):
        (tmp_path / "pictures" / str(part)).mkdir(parents=True)
        for k in range(4):
            (tmp_path / "pictures" / str(part) / f"{4 * part + k:02d}.bmp").write_bytes(bitmap(4 * part + k))
    (tmp_path / "my_source.py").write_text(SOURCE)
    return tmp_path / "my_source.py"


def test_a_source_of_ones_own_is_read_as_any_other(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(f"{file}:Mine", 6)
    assert [data.captions(row)[0] for row in range(12)] == [f"number {k:02d}" for k in range(12)]
    assert {side: rows.tolist() for side, rows in data.splits.sides.items()} == {
        "train": [0, 1, 2, 3],
        "validation: held out": [4, 5, 6, 7],
        "test: held out": [8, 9, 10, 11],
    }
    monkeypatch.chdir(file.parent)
    assert len(load("./my_source.py:Mine,broken=0.1", 6)) == 12
    assert located("my_source.py:Mine", None) == "my_source.py:Mine"


def test_records_of_source_of_ones_can_those_of_object_cannot(file: Path) -> None:
    records = records_of(f"{file}:Mine", Ledger())
    assert records is not None
    assert len(records) == 12
    with file.open("a") as code:
        code.write('\n\nfrom counterpoint.data.source import load\n\nMADE = load("digits")\n')
    given(f"{file}:MADE")
    assert records_of(f"{file}:MADE", Ledger()) is None


def test_a_source_that_is_not_there_is_named_with_those_that_are(file: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown data in .*my_source\.py 'Mien': did you mean 'Mine'\?"):
        load_any(f"{file}:Mien")


def test_a_source_without_shards_is_refused(file: Path) -> None:
    for part in (file.parent / "pictures").iterdir():
        part.rename(file.parent / f"gone-{part.name}")
    with pytest.raises(ValueError, match=r"my_source\.py:Mine holds nothing that can be read"):
        load_any(f"{file}:Mine")
