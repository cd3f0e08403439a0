"""Copies of shards that lie elsewhere: whole, fetched once, of bounded size, asked for again where a store fails."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from counterpoint.cli.common.files import FileOptions
from counterpoint.data.cache import SIZE, CacheError, size_of
from counterpoint.data.sharded import copies as module
from counterpoint.data.sharded.copies import Copies, ShardPrefetcher, UnreachableFileError
from counterpoint.data.sources import Shard

STORE = fsspec.filesystem("memory")


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put six shards of a thousand bytes into a store; nobody waits for it."""
    for number in range(6):
        STORE.pipe(f"/shards/{number}.tar", bytes([number]) * 1000)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    yield
    STORE.rm("/shards", recursive=True)


def shard(number: int, state: str = "as it was") -> Shard:
    return Shard(f"{number}.tar", f"memory://shards/{number}.tar", "webdataset", state)


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "copies", most=3000)


def served(monkeypatch: pytest.MonkeyPatch, answer: Callable[[int, str, str], Any]) -> list[str]:
    """Let an answer, which hears how many requests came before, serve files; return what is asked for."""
    asked: list[str] = []
    real = type(STORE).get_file

    def get_file(self: Any, remote: str, local: str, **_: Any) -> None:
        asked.append(remote)
        if answer(len(asked) - 1, remote, local) is None:
            real(self, remote, local)

    monkeypatch.setattr(type(STORE), "get_file", get_file)
    return asked


def held(copies: Copies) -> set[str]:
    return {path.name for path in copies.folder.glob("[!.]*/[!.]*")}


def test_a_shard_is_fetched_once_and_keeps_its_name(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = served(monkeypatch, lambda *_: None)
    first, second = copies.local(shard(2)), copies.local(shard(2))
    assert first == second
    assert Path(first.location).name == "2.tar"
    assert Path(first.location).read_bytes() == bytes([2]) * 1000
    assert (first.state, first.source) == (shard(2).state, "webdataset")
    assert len(asked) == 1


def test_address_with_long_signature_has_copy_of_shard_s_name(copies: Copies) -> None:
    signed = Shard("2.tar", f"https://host/2.tar?X-Amz-Signature={'a/b' * 100}", "webdataset", "")
    assert copies.path(signed).name == "2.tar"
    assert copies.path(signed).parent != copies.path(replace(signed, location="https://host/2.tar")).parent


def test_a_shard_that_changed_is_fetched_again(copies: Copies) -> None:
    before = copies.local(shard(1))
    STORE.pipe("/shards/1.tar", b"other")
    assert Path(copies.local(shard(1, "changed")).location).read_bytes() == b"other"
    assert Path(before.location).read_bytes() == bytes([1]) * 1000


def test_what_lies_here_or_is_named_by_a_table_is_not_copied(copies: Copies) -> None:
    for place in ("/data/0.tar", "s3://bucket/pairs.csv"):
        here = Shard("0", place, "table", "")
        assert copies.local(here) is here
    assert not copies.folder.exists()


def test_copies_that_were_used_least_recently_make_room(copies: Copies) -> None:
    for age, number in enumerate((0, 1, 2)):
        path = Path(copies.local(shard(number)).location)
        os.utime(path, (100 + age, 100 + age))
    copies.local(shard(0))  # used again
    copies.local(shard(3))
    assert held(copies) == {"0.tar", "2.tar", "3.tar"}
    assert len(list(copies.folder.glob("[!.]*"))) == 3


def test_a_shard_larger_than_all_copies_may_be_is_refused(copies: Copies) -> None:
    STORE.pipe("/shards/5.tar", bytes(4000))
    with pytest.raises(
        CacheError, match=r"5\.tar has 4,000 bytes, and copies may take 3,000: allow more with --cache-size"
    ):
        copies.local(shard(5))


def test_a_store_that_fails_or_serves_half_is_asked_again(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)

    def answer(before: int, remote: str, local: str) -> Any:
        if before == 0:
            raise ConnectionError("reset by peer")
        if before < 3:
            return Path(local).write_bytes(bytes(500))
        return None

    asked = served(monkeypatch, answer)
    assert Path(copies.local(shard(4)).location).read_bytes() == bytes([4]) * 1000
    assert len(asked) == 4
    assert len(waits) == 3
    assert all(0.5 * 2**k <= wait <= 1.5 * 2**k for k, wait in enumerate(waits))


def test_store_never_serves_named_and_nothing_half_written_stays(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(monkeypatch, lambda _, remote, local: Path(local).write_bytes(bytes(7)))
    with pytest.raises(
        UnreachableFileError,
        match=r"memory://shards/4\.tar was asked for 6 times .* 7 of 1,000 bytes were served",
    ):
        copies.local(shard(4))
    assert held(copies) == set()
    assert not list(copies.folder.rglob("*.part"))


def test_a_shard_that_is_not_there_is_not_asked_for_again(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = served(monkeypatch, lambda *_: None)
    with pytest.raises(FileNotFoundError, match=r"memory://shards/9\.tar"):
        copies.local(shard(9))
    assert asked == []


def test_a_full_disk_says_how_much_is_needed_where(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int, remote: str, local: str) -> Any:
        Path(local).write_bytes(bytes(100))
        raise OSError(errno.ENOSPC, "No space left on device", local)

    asked = served(monkeypatch, full)
    with pytest.raises(
        CacheError, match=r"no room for memory://shards/0\.tar \(1,000 bytes\) in .*copies: No space left"
    ):
        copies.local(shard(0))
    assert len(asked) == 1
    assert held(copies) == set()
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(CacheError, match="whose disk has 10 left"):
        copies.local(shard(0))


def test_processes_that_need_one_shard_fetch_it_once(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    began, goes_on = threading.Event(), threading.Event()

    def slow(*_: Any) -> Any:
        began.set()
        goes_on.wait(10)

    asked = served(monkeypatch, slow)
    threads = [threading.Thread(target=copies.local, args=(shard(0),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    began.wait(10)
    goes_on.set()
    for thread in threads:
        thread.join()
    assert len(asked) == 1


def test_shards_fetched_ahead_soonest_first_and_fails_is_left(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    asked = served(monkeypatch, lambda *_: None)
    ahead = ShardPrefetcher(copies)
    for _ in range(3):
        ahead.fetch([shard(3), shard(9), shard(1)])
    for thread in ahead._threads:
        thread.join(10)
    assert [Path(name).name for name in asked] == ["3.tar", "1.tar"]


def test_known_of_shard_made_once_and_again_where_it_is_damaged(copies: Copies) -> None:
    made: list[int] = []

    def make() -> pl.DataFrame:
        made.append(1)
        return pl.DataFrame({"text": [["a", "b"], []], "size": [3, None]})

    first, second = (copies.cached(shard(0), "known.arrow", make) for _ in range(2))
    assert first.equals(second)
    assert len(made) == 1
    copies.cached(shard(0, "changed"), "known.arrow", make)
    assert len(made) == 2
    (copies.path(shard(0)).with_name("known.arrow")).write_bytes(b"ARROW1 no more")
    assert copies.cached(shard(0), "known.arrow", make).equals(first)
    assert len(made) == 3


def test_is_little_is_kept_without_look_at_all_copies_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    copies = Copies(tmp_path, 1_000_000)
    monkeypatch.setattr(copies, "_make_room", looks.append)
    for number in range(40):
        copies.cached(shard(number), "known.arrow", lambda: pl.DataFrame({"number": range(100)}))
    size = looks[0]
    assert all(each == size for each in looks)
    assert len(looks) == 1 + 39 // (10_000 // size + 1)


def test_what_is_known_of_shards_keeps_within_the_bounds_too(copies: Copies) -> None:
    for number in range(8):
        copies.cached(shard(number), "known.arrow", lambda: pl.DataFrame({"number": range(100)}))
    sizes = [path.stat().st_size for path in copies.folder.glob("[!.]*/[!.]*")]
    assert 0 < sum(sizes) <= 3000
    assert len(sizes) < 8


@pytest.mark.parametrize("written", ["", "many", "10 potatoes", "-5GB"])
def test_sizes_that_are_none(written: str) -> None:
    with pytest.raises(ValueError, match="is no size; write it like 50GB"):
        size_of(written)


def test_the_command_line_says_what_copies_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIZE, "1GB")
    assert Copies.usual().most == 10**9
    assert FileOptions(cache_size="2 MB").of("shards") == "shards"
    assert Copies.usual().most == 2 * 10**6
    with pytest.raises(ValueError, match="is no size"):
        FileOptions(cache_size="much").of("shards")
