from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from counterpoint.data.cache import CacheError, blocks_in, cache_folder, writing


def test_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COUNTERPOINT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "counterpoint"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "counterpoint"
    monkeypatch.setenv("COUNTERPOINT_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"


def test_a_block_that_goes_while_they_are_counted_is_none(tmp_path: Path) -> None:
    (tmp_path / "64").mkdir()
    (tmp_path / "64" / "here.npy").write_bytes(b"12345")
    (tmp_path / "64" / "here.json").write_text("{}")
    # Is listed, and cannot be asked for its size.
    (tmp_path / "64" / "gone.npy").symlink_to(tmp_path / "nowhere")
    assert blocks_in(tmp_path) == {tmp_path / "64" / "here.npy": 5}


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "table"
    with writing(target) as part:
        part.write_bytes(b"half")
        assert not target.exists()
        assert part.parent == target.parent  # a rename across file systems would not be atomic
        part.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, interruption: type[BaseException]) -> None:
    target = tmp_path / "table"
    target.write_bytes(b"old")

    def interrupted() -> None:
        with writing(target) as part:
            part.write_bytes(b"new, but")
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_abandoned_parts_are_swept_and_fresh_ones_kept(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".table.1-1.part", tmp_path / ".table.2-2.part"
    old.touch()
    fresh.touch()
    os.utime(old, (1, 1))
    with writing(tmp_path / "table") as part:
        part.touch()
    assert not old.exists()
    assert fresh.exists()


def test_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # even root cannot make a folder below a file
    with (
        pytest.raises(CacheError, match=r"cannot write .*file/sub/table.*set COUNTERPOINT_CACHE"),
        writing(tmp_path / "file" / "sub" / "table"),
    ):
        pass


def test_disk_fills_up_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "table"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        with writing(target) as part:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the kernel refuses to write more
            part.write_bytes(bytes(2000))

    try:
        with pytest.raises(CacheError, match="cannot write"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
