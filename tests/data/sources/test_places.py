"""Several files by one word: braces, globs, lists; addresses; the error where some are not there."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

from counterpoint.data.source import load, located, rooted, short_name
from counterpoint.data.sources import Ledger, read, shards
from counterpoint.registry import MissingPackageError
from fixtures.files import bitmap, write_shard


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))


def write(path: Path, numbers: range) -> None:
    if path.suffix == ".tar":
        write_shard(path, numbers)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for k in numbers:
        (path.parent / f"{k}.bmp").write_bytes(bitmap(k))
    pl.DataFrame(
        {"file_name": [f"{k}.bmp" for k in numbers], "text": [f"caption {k}" for k in numbers]}
    ).write_csv(path)


@pytest.fixture(params=["tar", "csv"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "it" / f"{number:02d}.{request.param}", range(10 * number, 10 * number + 10))
    return tmp_path / "it"


def test_several_files_by_one_word(folder: Path) -> None:
    (first, *others) = sorted(p for p in folder.iterdir() if p.suffix != ".bmp")
    suffix = first.suffix
    (folder / "list.txt").write_text(f"# mine\n{first.name}\n\n{{01..02}}{suffix}\n")
    words = [
        f"{folder}/{{00..02}}{suffix}",
        f"{folder}/0*{suffix}",
        f"@{folder}/list.txt",
        f"file://{folder}/0?{suffix}",
        *([str(folder)] if suffix == ".tar" else []),
    ]
    for word in words:
        assert [shard.name for shard in shards(word, Ledger())] == [p.name for p in (first, *others)]
        found = read(word, Ledger())
        assert found.frame["text"].to_list() == [[f"caption {k}"] for k in range(30)]
        assert [asset.read_bytes() for asset in found.assets("image")] == [bitmap(k) for k in range(30)]
        assert len(load(word, 6)) == 30


@pytest.mark.parametrize("listed", [2, 40])
def test_names_in_braces_may_be_longer_than_a_file_s_name(
    folder: Path, listed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    names = [p.name for p in sorted(folder.iterdir()) if p.suffix != ".bmp"]
    word = f"{{{','.join([*names, *[names[-1]] * (listed * 2)])}}}"
    assert [shard.name for shard in shards(word, Ledger())] == names
    assert len(load(word, 6)) == 30
    assert len(f"runs/{short_name(word)}-clip-0") < 255
    assert short_name(word) != short_name(f"{word[:-1]},x}}")


def test_what_is_not_there_is_one_line(folder: Path) -> None:
    suffix = next(p.suffix for p in folder.iterdir() if p.suffix != ".bmp")
    (folder / "list.txt").write_text(f"03{suffix}\n")
    (folder / "empty.txt").write_text("\n# none\n")
    for word, message in (
        (
            f"{folder}/{{00..05}}{suffix}",
            rf"{{00\.\.05}}{suffix}: 3 of 6 files are not there, the first .*/03{suffix}",
        ),
        (f"{folder}/9*{suffix}", rf"9\*{suffix} matches no file"),
        (f"@{folder}/list.txt", rf"list\.txt: 1 of 1 files are not there, the first .*/03{suffix}"),
        (f"@{folder}/none.txt", "there is no list of files .*/none.txt"),
    ):
        with pytest.raises(FileNotFoundError, match=message) as told:
            load(word)
        assert "\n" not in str(told.value)
    with pytest.raises(ValueError, match=r"empty\.txt lists no files"):
        load(f"@{folder}/empty.txt")
    assert len(read(f"{folder}/{{00,00}}{suffix}", Ledger())) == 10


def test_a_pattern_is_found_from_elsewhere_and_names_a_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = next(p.suffix for p in folder.iterdir() if p.suffix != ".bmp")
    for pattern in (f"{{00..02}}{suffix}", f"0*{suffix}"):
        assert located(f"it/{pattern},broken=0.1", str(folder.parent)) == f"{folder}/{pattern},broken=0.1"
        assert "/" not in short_name(f"{folder}/{pattern}")
    monkeypatch.chdir(folder)
    (folder / "list.txt").write_text(f"00{suffix}\n")
    assert rooted("@list.txt") == f"@{folder}/list.txt"
    assert rooted(f"{{00..02}}{suffix}") == f"{folder}/{{00..02}}{suffix}"


def test_a_pattern_that_changed_is_read_anew(folder: Path) -> None:
    suffix = next(p.suffix for p in folder.iterdir() if p.suffix != ".bmp")
    word = f"{folder}/*{suffix}"
    before = load(word, 6)
    assert load(word, 6) is before
    write(folder / f"03{suffix}", range(30, 40))
    assert len(load(word, 6)) == 40


def test_tables_called_after_splits_are_of_them(tmp_path: Path) -> None:
    for number, side in enumerate(("train", "test")):
        write(tmp_path / "it" / f"{side}.csv", range(20 * number, 20 * number + 20))
    data = load(f"{tmp_path}/it/{{train,test}}.csv", 6)
    assert data.splits.test["held out"].tolist() == list(range(20, 40))


def test_tables_downloader_left_beside_shards_not_taken_for_data(tmp_path: Path) -> None:
    for number in range(2):
        write_shard(tmp_path / f"{number}.tar", range(4 * number, 4 * number + 4))
        pl.DataFrame({"url": ["a"], "key": ["0"], "caption": ["x"]}).write_parquet(
            tmp_path / f"{number}.parquet"
        )
    assert [shard.name for shard in shards(str(tmp_path), Ledger())] == ["0.tar", "1.tar"]


def test_an_address_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(
        MissingPackageError, match=r"gs://bucket/0\.tar: .*pip install 'counterpoint\[cloud\]'"
    ):
        load("gs://bucket/0.tar")
    with pytest.raises(OSError, match=r"nosuch://bucket/0\.tar cannot be read: .*[Pp]rotocol"):
        load("nosuch://bucket/0.tar")
