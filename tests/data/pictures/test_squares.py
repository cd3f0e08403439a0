"""The decoded pictures in the cache: each decoded once, right after every accident, and never in memory as a whole."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from counterpoint import files as files_module
from counterpoint.data import progress
from counterpoint.data.cache import CacheError
from counterpoint.data.pictures import cache as picture_cache
from counterpoint.data.pictures import squares as pictures
from counterpoint.data.pictures.decode import DecodedSquare, decode, decode_sized, side_of
from counterpoint.data.pictures.squares import DecodedPictures
from counterpoint.data.sources import Asset
from counterpoint.types import Fit

SIZE, COUNT = 8, 12


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERPOINT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path: Path, cache: Path) -> list[Path]:
    return [draw(tmp_path / f"{number}.png", number) for number in range(COUNT)]


def assets(paths: list[Path]) -> list[Asset]:
    return [Asset.of(path) for path in paths]


def draw(path: Path, number: int) -> Path:
    rng = np.random.default_rng(number)
    Image.fromarray(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes to which something was decoded, in order."""
    sizes: list[int] = []

    def counted(data: bytes, form: int | Fit, most: int) -> DecodedSquare:
        sizes.append(side_of(form))
        return decode_sized(data, form, most)

    monkeypatch.setattr(pictures, "decode_sized", counted)
    return sizes


def right(found: DecodedPictures, paths: list[Path]) -> bool:
    whole = np.stack([decode(path.read_bytes(), found.size) for path in paths])
    return bool((found.read(np.arange(len(paths))).numpy() == whole).all())


def test_a_picture_is_decoded_once(paths: list[Path], decoded: list[int], tmp_path: Path) -> None:
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert len(decoded) == COUNT
    more = [draw(tmp_path / "new.png", 99), *reversed(paths)]
    shutil.copy(paths[0], tmp_path / "same.png")
    assert right(DecodedPictures(assets([*more, tmp_path / "same.png"]), SIZE), [*more, paths[0]])
    assert len(decoded) == COUNT + 1


def test_picture_that_is_none_is_remembered_and_the_others_stay(
    paths: list[Path], decoded: list[int]
) -> None:
    paths[3].write_bytes(b"not a picture")
    paths[5].unlink()
    for _ in range(2):
        found = DecodedPictures(assets(paths), SIZE)
        assert found.unreadable == {
            3: "broken picture: not a picture of a kind that is read",
            5: "broken picture: No such file or directory",
        }
        assert right_but(found, paths, {3, 5})
        assert len(decoded) == COUNT - 1


def right_but(found: DecodedPictures, paths: list[Path], unreadable: set[int]) -> bool:
    rows = [row for row in range(len(paths)) if row not in unreadable]
    whole = np.stack([decode(paths[row].read_bytes(), SIZE) for row in rows])
    return bool((found.read(np.array(rows)).numpy() == whole).all())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    np.save(path, np.zeros((COUNT, 3, SIZE, SIZE), np.uint8))


def another_shape(path: Path) -> None:
    np.save(path, np.zeros((COUNT, SIZE), np.float32))


def gone(path: Path) -> None:
    path.unlink()


def junk(path: Path) -> None:
    path.with_suffix(".json").write_text("[]")


def half(path: Path) -> None:
    beside = path.with_suffix(".json")
    beside.write_text(beside.read_text()[:50])


def less(path: Path) -> None:
    beside = path.with_suffix(".json")
    plain = json.loads(beside.read_text())
    beside.write_text(json.dumps(plain | {"digests": plain["digests"][:-1]}))


@pytest.mark.parametrize("harm", [cut, emptied, foreign, another_shape, gone, junk, half, less])
def test_a_damaged_file_is_noticed_and_made_again(
    paths: list[Path], decoded: list[int], cache: Path, harm: Callable[[Path], None]
) -> None:
    DecodedPictures(assets(paths), SIZE)
    (block,) = cache.rglob("*.npy")
    harm(block)
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert len(decoded) == 2 * COUNT
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert len(decoded) == 2 * COUNT


def test_a_cache_that_was_copied_is_as_good(paths: list[Path], decoded: list[int], cache: Path) -> None:
    DecodedPictures(assets(paths), SIZE)
    shutil.move(cache, cache.with_name("moved"))
    shutil.copytree(cache.with_name("moved"), cache, copy_function=shutil.copyfile)
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert len(decoded) == COUNT


def test_what_came_out_of_an_archive_is_not_read_to_be_checked(
    paths: list[Path], decoded: list[int], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DecodedPictures(assets(paths), SIZE)
    (block,) = cache.rglob("*.npy")
    seconds = block.stat().st_mtime_ns // 10**9 * 10**9
    os.utime(block, ns=(seconds, seconds))
    monkeypatch.setattr(picture_cache, "_check", lambda pixels: "read")
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert len(decoded) == COUNT


def test_a_full_cache_serves_where_nothing_can_be_written(
    paths: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DecodedPictures(assets(paths[:-1]), SIZE)

    @contextmanager
    def read_only(path: Path) -> Iterator[Path]:
        raise OSError(errno.EROFS, "Read-only file system")
        yield path

    monkeypatch.setattr(files_module, "writing", read_only)
    found = DecodedPictures(assets(paths[:-1]), SIZE)
    assert right(found, paths[:-1])
    assert not found._map(0).flags.writeable
    found.read(np.array([0]))[:] = 0  # what is given out is the caller's own
    assert right(found, paths[:-1])
    with pytest.raises(CacheError, match="COUNTERPOINT_CACHE"):
        DecodedPictures(assets(paths), SIZE)


@pytest.mark.parametrize(("stop", "lost"), [(KeyboardInterrupt, 0), (RuntimeError, 3)])
def test_what_is_decoded_before_the_end_stays(
    paths: list[Path],
    decoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
    lost: int,
) -> None:
    """Ctrl-C keeps everything; a kill, all whole blocks: here of four pictures."""
    monkeypatch.setattr(picture_cache, "_BYTES", 4 * 3 * SIZE * SIZE)
    monkeypatch.setattr(pictures, "_AT_ONCE", 1)
    read = Asset.read_bytes

    def stopping(asset: Asset) -> bytes:
        if asset.file == str(paths[7]):
            raise stop
        return read(asset)

    with monkeypatch.context() as patched:
        patched.setattr(Asset, "read_bytes", stopping)
        with pytest.raises(stop):
            DecodedPictures(assets(paths), SIZE)
    assert len(decoded) == 7
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert len(decoded) == COUNT + lost


def test_pictures_stay_on_disk(paths: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = 3 * SIZE * SIZE
    monkeypatch.setattr(picture_cache, "_BYTES", 4 * one)
    found = DecodedPictures(assets(paths), SIZE)
    assert [np.load(path, mmap_mode="r").nbytes for path in cache.rglob("*.npy")] == [4 * one] * 3
    assert right(found, paths)
    assert len(pickle.dumps(found.formed(8 * SIZE))) < 8 * 8 * one  # all twelve in less than one takes
    assert right(pickle.loads(pickle.dumps(found)), paths)


def test_another_size_is_decoded_from_the_files(paths: list[Path], decoded: list[int]) -> None:
    small = DecodedPictures(assets(paths), SIZE)
    large = small.formed(2 * SIZE)
    assert right(large, paths)
    assert decoded == [SIZE] * COUNT + [2 * SIZE] * COUNT
    assert right(small.formed(2 * SIZE), paths)
    assert len(decoded) == 2 * COUNT
    draw(paths[4], 77)
    with pytest.raises(ValueError, match=r"4\.png changed while it was in use"):
        small.formed(3 * SIZE)


def test_each_way_to_a_square_has_a_place_of_its_own(paths: list[Path], decoded: list[int]) -> None:
    forms = [SIZE, Fit(SIZE, SIZE, "squash"), Fit(SIZE, SIZE, "squash", "bilinear"), Fit(SIZE - 2, SIZE)]
    forms += [Fit(SIZE, SIZE, "longest"), Fit(SIZE, SIZE, "longest", fill=(9, 9, 9))]
    for _ in range(2):
        for form in forms:
            found = DecodedPictures(assets(paths), form).read(np.arange(COUNT)).numpy()
            assert (found == np.stack([decode(path.read_bytes(), form) for path in paths])).all()
    assert len(decoded) == COUNT * len(forms)


def test_what_a_killed_writer_left_goes_at_once(paths: list[Path], cache: Path) -> None:
    DecodedPictures(assets(paths), SIZE)
    (block,) = cache.rglob("*.npy")
    writer = subprocess.Popen([sys.executable, "-c", ""])
    writer.wait()
    left = block.with_name(f".{block.name}.{files_module._HOST}.{writer.pid}.1.part")
    left.write_bytes(b"half a block")
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert not left.exists()


@pytest.mark.parametrize(("patience", "shown"), [(-1.0, True), (60.0, False)])
def test_long_work_has_a_bar(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, patience: float, shown: bool
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=screen, force_terminal=True))
    monkeypatch.setattr(progress, "_PATIENCE", patience)
    DecodedPictures(assets(paths), SIZE)
    assert ("Reading 12 pictures" in screen.getvalue()) == shown


def test_a_cache_that_is_emptied_meanwhile_is_done_without(paths: list[Path], cache: Path) -> None:
    found = DecodedPictures(assets(paths), SIZE)
    shutil.rmtree(cache)
    assert right(found, paths)


BYTES = 3 * SIZE**2  # of a picture


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_cache, "_BYTES", 4 * BYTES)
    monkeypatch.setattr(pictures, "_AT_ONCE", 2)


def taken(cache: Path) -> int:
    return sum(path.stat().st_size for path in (cache / "pictures").glob("*/*.npy"))


def test_cache_without_room_decodes_pictures_when_they_asked_for(
    paths: list[Path], decoded: list[int], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE_SIZE", "100")
    found = DecodedPictures(assets(paths), SIZE)
    assert decoded == []
    assert right(found, paths)
    assert right(pickle.loads(pickle.dumps(found)), paths)
    assert len(decoded) == 2 * COUNT
    assert right(found.formed(2 * SIZE), paths)
    assert decoded[2 * COUNT :] == [2 * SIZE] * COUNT
    assert taken(cache) == 0


@pytest.mark.usefixtures("small_blocks")
def test_the_cache_keeps_what_there_is_room_for(
    paths: list[Path], decoded: list[int], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE_SIZE", str(6 * BYTES))
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert len(decoded) == COUNT  # six to be kept, six as they were asked for
    decoded.clear()
    monkeypatch.delenv("COUNTERPOINT_CACHE_SIZE")
    assert right(DecodedPictures(assets(paths), SIZE), paths)
    assert len(decoded) == COUNT - 6


@pytest.mark.usefixtures("small_blocks")
def test_pictures_that_nobody_used_for_a_day_make_room(
    paths: list[Path], decoded: list[int], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first, second, third = paths[:4], paths[4:8], paths[8:]
    for part in (first, second):
        DecodedPictures(assets(part), SIZE)
    blocks = {path: path.with_suffix(".json") for path in (cache / "pictures").glob("*/*.npy")}
    assert len(blocks) == 2
    for beside in blocks.values():
        os.utime(beside, (0, 0))
    DecodedPictures(assets(first), SIZE)  # and with that they are in use
    monkeypatch.setenv("COUNTERPOINT_CACHE_SIZE", str(sum(path.stat().st_size for path in blocks)))
    decoded.clear()
    found = DecodedPictures(assets(third), SIZE)
    assert len(decoded) == 4
    assert right(found, third)
    assert right(DecodedPictures(assets(first), SIZE), first)
    assert len(decoded) == 4
    assert right(DecodedPictures(assets(second), SIZE), second)
    assert len(decoded) == 8


def test_what_is_no_picture_is_known_without_room_too(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE_SIZE", "100")
    cut(paths[3])
    paths[5].write_text("no picture")
    found = DecodedPictures(assets(paths), SIZE)
    assert found.unreadable.keys() == {3, 5}
    assert right_but(found, paths, {3, 5})
    assert found.formed(2 * SIZE).read(np.array([0, 4])).shape == (2, 3, 2 * SIZE, 2 * SIZE)


def test_a_file_that_changed_is_not_shown_as_another_picture(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOINT_CACHE_SIZE", "100")
    found = DecodedPictures(assets(paths), SIZE)
    draw(paths[0], 77)
    with pytest.raises(ValueError, match="changed while it was in use: run the same command again"):
        found.read(np.array([0]))
