"""Files are written whole and read with errors that name them; what dead processes leave is removed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from polars.exceptions import ComputeError
from pydantic import BaseModel, ConfigDict

from counterpoint import files
from counterpoint.files import (
    DamagedFileError,
    NewerFormatError,
    check_manifest,
    checkpoints_in,
    read_json,
    read_table,
    read_yaml,
    sweep,
    write_json,
    write_text,
    write_yaml,
    writing,
    writing_folder,
)


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int = 1
    name: str
    count: int = 0


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "missing": lambda _: b"-",
    "empty": lambda _: b"",
    "half": lambda content: content[: len(content) // 2],
    "all but the last line": lambda content: content[: content.rstrip().rfind(b"\n") + 1],
    "junk": lambda _: b"\xff\xfe\x00junk",
    "[]": lambda _: b"[]",
    "null": lambda _: b"null",
    "an unknown key": lambda _: b'{"name": "a", "nmae": "b"}',
    "a wrong type": lambda _: b'{"name": "a", "count": "many"}',
    "a wrong format": lambda _: b'{"name": "a", "format": "x"}',
    "no name": lambda _: b'{"count": 3}',
}


@pytest.mark.parametrize("damage", SPOILT)
@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_a_damaged_file_is_named_with_what_to_do(kind: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / f"form.{kind}"
    content = {"name": "a", "count": 3}
    (write_json if kind == "json" else write_yaml)(path, content)
    read = read_json if kind == "json" else read_yaml
    assert read(path, Form, "do this") == Form(name="a", count=3)
    path.write_bytes(SPOILT[damage](path.read_bytes()))
    if damage == "missing":
        path.unlink()
    with pytest.raises(DamagedFileError) as told:
        read(path, Form, "do this")
    message = str(told.value)
    assert message.startswith(f"{path} is damaged (")
    assert message.endswith("): do this")
    assert "\n" not in message


def test_a_file_of_a_newer_version_is_not_damaged(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"format": 2, "name": "a", "new": 1})
    with pytest.raises(NewerFormatError, match=r"a\.json was written by a newer counterpoint \(format 2\)"):
        read_json(tmp_path / "a.json", Form, "")


def test_yaml_of_older_versions_has_no_marks(tmp_path: Path) -> None:
    write_text(tmp_path / "a.yaml", "name: a\n")
    assert read_yaml(tmp_path / "a.yaml", Form, "").name == "a"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\xff\xfejunk", b"[]", b"null"])
def test_a_table_that_is_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a[1].parquet"
    path.write_bytes(content)
    with pytest.raises(
        DamagedFileError, match=r"a\[1\]\.parquet is damaged \(it is no Parquet file.*\): do this$"
    ):
        read_table(path, {"a": pl.Int64}, "do this")


def test_a_table_with_other_columns(tmp_path: Path) -> None:
    pl.DataFrame({"a": ["x"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DamagedFileError, match="its column a is of type String"):
        read_table(tmp_path / "a.parquet", {"a": pl.Int64}, "")
    with pytest.raises(DamagedFileError, match="its column b is missing"):
        read_table(tmp_path / "a.parquet", {"b": pl.Int64}, "")
    with pytest.raises(DamagedFileError, match="it is missing"):
        read_table(tmp_path / "b.parquet", {"b": pl.Int64}, "")


def test_content_is_on_disk_before_name_and_its_name_before_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name.split(".")[-1])
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_text(tmp_path / "folder" / "a", "text")
    assert done == [tmp_path.name, "part", "rename", "folder"]
    done.clear()
    with writing_folder(tmp_path / "folder" / "b") as part:
        (part / "tensors").write_bytes(b"x")
    assert done == ["tensors", "json", "part", "rename", "folder"]


def _fails(part: Path) -> None:
    part.write_text("new")
    raise ZeroDivisionError


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "a") as part:
        _fails(part)
    with pytest.raises(ZeroDivisionError), writing_folder(tmp_path / "b") as part:
        _fails(part / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_what_dead_process_left_goes_when_folder_is_next_opened(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from counterpoint.files import writing, writing_folder\n"
        "with writing(Path(sys.argv[1]) / 'a') as part, writing_folder(Path(sys.argv[1]) / 'b') as folder:\n"
        "    part.write_text('half'); (folder / 'c').write_text('half'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert len(list(tmp_path.iterdir())) == 2
    with writing(tmp_path / "own") as own:
        own.write_text("in hand")
        others = tmp_path / f".x.other-machine.{os.getpid()}.1.part"
        living = tmp_path / f".x.{files._HOST}.{os.getppid()}.1.part"
        earlier = tmp_path / f".x.{files._HOST}.{os.getpid()}.1.part"  # of a process of the same number
        for path in (others, living, earlier):
            path.touch()
        sweep(tmp_path)
        assert set(tmp_path.iterdir()) == {own, others, living}
        os.utime(others, (0, 0))
        sweep(tmp_path)
        assert set(tmp_path.iterdir()) == {own, living}


def test_a_manifest_knows_every_file(tmp_path: Path) -> None:
    with writing_folder(tmp_path / "a") as part:
        (part / "x").write_bytes(b"xx")
        (part / "y").write_bytes(b"yy")
    check_manifest(tmp_path / "a", "")
    assert set(json.loads((tmp_path / "a" / "manifest.json").read_text())["files"]) == {"x", "y"}
    (tmp_path / "a" / "x").write_bytes(b"xy")
    check_manifest(tmp_path / "a", "", ("y",))
    with pytest.raises(DamagedFileError, match=r"a/x is damaged \(its content"):
        check_manifest(tmp_path / "a", "")
    (tmp_path / "a" / "x").unlink()
    with pytest.raises(DamagedFileError, match=r"a/x is damaged \(it is missing"):
        check_manifest(tmp_path / "a", "")


def test_checkpoints_are_ordered_by_number(tmp_path: Path) -> None:
    for name in ("step-9", "step-10", "step-11.bak", "step-", "step-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-12").touch()
    assert [p.name for p in checkpoints_in(tmp_path)] == ["step-10", "step-9"]
    assert checkpoints_in(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("fails", "text"),
    [
        (lambda part: OSError(errno.EROFS, "Read-only file system"), "Read-only file system: '{path}'"),
        (lambda part: OSError(errno.EIO, "Input/output error", str(part)), "Input/output error: '{path}'"),
        (lambda part: OSError("Input/output error (os error 5)"), "Input/output error: '{path}'"),
        (lambda part: OSError(errno.ENOENT, "No such file or directory", "other"), "directory: 'other'"),
        (lambda part: OSError("cannot identify image file"), "cannot identify image file"),
    ],
    ids=["no name", "of the part", "of a library", "of another file", "no number"],
)
def test_a_write_that_fails_names_the_file(
    fails: Callable[[Path], OSError], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    with pytest.raises(OSError, match=re.escape(text.format(path=path))), writing(path) as part:
        raise fails(part)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("No space left on device (os error 28)"),
        ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
        OSError("200000 requested and 32752 written"),
        RuntimeError("write error in index.faiss: 12 != 40 (No space left on device)"),
    ],
    ids=["the system", "polars", "polars in its own words", "numpy", "faiss"],
)
@pytest.mark.parametrize(
    ("size", "takes"), [(3 * 2**20, "about 3 MB"), (0, "more than 5 KB")], ids=["known", "unknown"]
)
def test_full_disk_is_told_with_room_that_is_needed_and_there(
    error: Exception, size: int, takes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.parquet"
    write_text(path, "before")

    def fill(part: Path) -> None:
        part.write_bytes(bytes(5 * 2**10))
        raise error

    def disk(folder: Path) -> SimpleNamespace:
        assert not list(folder.glob(".*.part")), "what is removed counts as free"
        return SimpleNamespace(free=2 * 2**20)

    monkeypatch.setattr(shutil, "disk_usage", disk)
    with pytest.raises(OSError, match="No space left") as caught, writing(path, size) as part:
        fill(part)
    assert caught.value.strerror == f"No space left on device (it takes {takes}, and 2 MB are free there)"
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "before"


def test_a_quota_is_told_without_what_the_disk_has(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="exceeded") as caught, writing(tmp_path / "a", 3 * 2**20):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert caught.value.strerror == f"{os.strerror(errno.EDQUOT)} (it takes about 3 MB)"
