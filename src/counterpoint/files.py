"""One way to write files, which are whole or not there, and one way to read them, with errors that name the file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from .room import unwritten

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

FORMAT = 1
"""Version of the folders of runs and studies; a file of a later version is refused."""
MANIFEST = "manifest.json"
"""File of a folder that `writing_folder` wrote: the size and the digest of every other file in it."""

_ABANDONED = 3600.0
"""Seconds after which an unfinished file of an unknown writer, or of one on another machine, counts as left behind."""
_HOST = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:40] or "-"
_PART = re.compile(r"\..+\.(?P<host>[A-Za-z0-9-]+)\.(?P<process>\d+)\.\d+\.part")
_writing: set[Path] = set()
"""Unfinished files that this process has in hand."""


class DamagedFileError(ValueError):
    """A file that is missing, or cannot be what it should be.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path} is damaged ({reason}): {remedy}")
        self.path, self.reason, self.remedy = path, reason, remedy

    def __reduce__(self) -> tuple[type[DamagedFileError], tuple[Path, str, str]]:
        return type(self), (self.path, self.reason, self.remedy)


class NewerFormatError(ValueError):
    """A file of a later version; the message says so."""


# Writing


@contextmanager
def writing(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` when the block ends well, and goes when it does not.

    The content is on the disk before the name is, and the name before this returns. The last step is one rename, so a
    reader finds a whole file or none, and two processes that write the same file at once do no harm.

    Args:
        path: of the file.
        size: about how many bytes it takes, where that is known beforehand: a full disk is told with it.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full; it names ``path``, and what was there before
            is intact.
    """
    with _part_of(path, size) as part:
        yield part
        _sync(part)
        part.replace(path)
        _sync(path.parent)


@contextmanager
def writing_folder(path: Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``path`` with a manifest when the block ends well, or goes.

    Args:
        path: of the folder.
        size: as for `writing`.

    Raises:
        OSError: as for `writing`.
    """
    with _part_of(path, size) as part:
        part.mkdir()
        yield part
        inside = sorted(part.rglob("*"))
        files = {p.relative_to(part).as_posix(): p for p in inside if p.is_file()}
        manifest = _Manifest(
            files={
                name: _Entry(bytes=p.stat().st_size, digest=digest_of_file(p)) for name, p in files.items()
            }
        )
        (part / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for path_inside in (*inside, part / MANIFEST, part):
            _sync(path_inside)
        put_in_place(part, path)


def put_in_place(part: Path, path: Path) -> None:
    """Give a folder that is whole its name; what had the name before goes."""
    if path.exists():
        shutil.rmtree(path)
    part.replace(path)
    _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a text file as a whole."""
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file as a whole."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_table(path: Path, frame: pl.DataFrame) -> None:
    """Replace a Parquet file as a whole."""
    with writing(path, int(frame.estimated_size())) as part:
        frame.write_parquet(part)


def write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a YAML file as a whole; its first and last line are marks, so that a part of it is known as such."""
    write_text(path, yaml.safe_dump(dict(value), sort_keys=False, explicit_start=True, explicit_end=True))


def sweep(folder: Path) -> None:
    """Remove the unfinished files and folders that dead processes left in a folder."""
    for left in folder.glob(".*.part"):
        if not _abandoned(left):
            continue
        with suppress(OSError):  # another process may have removed it first
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


@contextmanager
def _part_of(path: Path, size: int) -> Iterator[Path]:
    """Yield the unfinished form of a file or a folder, which is gone afterwards unless it was renamed."""
    _make(path.parent)
    sweep(path.parent)
    part = path.parent / f".{path.name}.{_HOST}.{os.getpid()}.{time.monotonic_ns()}.part"
    _writing.add(part)
    try:
        yield part
    except Exception as error:  # some libraries tell of a full disk in errors of their own
        # A write that fails names no file at all, or one that is gone by now.
        named = error.filename if isinstance(error, OSError) else None
        if named is not None and part.name not in str(named):
            raise
        written = sum(file.lstat().st_size for file in (part, *part.rglob("*")) if file.is_file())
        _remove(part)
        told = unwritten(error, path, size, written)
        if told is error:
            raise
        raise told from error
    finally:
        _remove(part)
        _writing.discard(part)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    part.unlink(missing_ok=True)


def _abandoned(part: Path) -> bool:
    """Return True where no process can still be writing."""
    named = _PART.fullmatch(part.name)
    if named is None or named["host"] != _HOST:
        with suppress(FileNotFoundError):
            return time.time() - part.stat().st_mtime > _ABANDONED
        return False
    process = int(named["process"])
    return part not in _writing if process == os.getpid() else not _alive(process)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def _make(folder: Path) -> None:
    """Make a folder and those above it, each known to the one above before anything is in it."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some network file systems cannot do this for a folder
            raise
    finally:
        os.close(handle)


# Reading


def read_json(path: Path, form: type[T], remedy: str) -> T:
    """Read a JSON file in a form: a pydantic model or a dataclass.

    Args:
        path: of the file.
        form: what its content must be.
        remedy: what the user can do about a damaged one.

    Raises:
        DamagedFileError: if it is missing, is no JSON, or its content has another form.
        NewerFormatError: if a later version wrote it.
    """
    try:
        plain = json.loads(_text(path, remedy))
    except json.JSONDecodeError as error:
        raise DamagedFileError(path, f"it is no JSON: {error}", remedy) from None
    return formed(path, plain, form, remedy)


def parse_yaml(text: str) -> Any:
    """Return what a YAML text holds, by libyaml, which is ten times as fast, where PyYAML has it.

    >>> parse_yaml("steps: 3")
    {'steps': 3}
    """
    return yaml.load(text, Loader=yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)


def read_yaml(path: Path, form: type[T], remedy: str) -> T:
    """Read a YAML file in a form; see `read_json`. One that ``write_yaml`` wrote must have its last line.

    Raises:
        DamagedFileError: as for `read_json`.
        NewerFormatError: as for `read_json`.
    """
    text = _text(path, remedy)
    if text.startswith("---") and not text.rstrip().endswith("\n..."):
        raise DamagedFileError(path, "its end is missing", remedy)
    try:
        plain = parse_yaml(text)
    except yaml.YAMLError as error:
        raise DamagedFileError(path, f"it is no YAML: {' '.join(str(error).split())}", remedy) from None
    return formed(path, plain, form, remedy)


def formed(path: Path, plain: Any, form: type[T], remedy: str) -> T:
    """Return a file's content in its form.

    Raises:
        DamagedFileError: as for `read_json`.
        NewerFormatError: as for `read_json`.
    """
    if isinstance(plain, dict) and isinstance(written := plain.get("format"), int) and written > FORMAT:
        raise NewerFormatError(
            f"{path} was written by a newer counterpoint (format {written}); upgrade to read it"
        )
    try:
        return TypeAdapter(form).validate_python(plain)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DamagedFileError(path, f"{field}: {first['msg']}" if field else first["msg"], remedy) from None


def read_table(path: Path, columns: Mapping[str, Any], remedy: str) -> pl.DataFrame:
    """Read a Parquet file that must have some columns of given types.

    Raises:
        DamagedFileError: if it is missing, is no Parquet file, or lacks a column.
    """
    import polars as pl

    try:
        with path.open("rb") as file:  # a path's brackets would be taken for a pattern
            frame = pl.read_parquet(file)
    except FileNotFoundError:
        raise DamagedFileError(path, "it is missing", remedy) from None
    except pl.exceptions.PolarsError as error:
        raise DamagedFileError(path, f"it is no Parquet file: {str(error).splitlines()[0]}", remedy) from None
    for name, kind in columns.items():
        if frame.schema.get(name) != kind:
            state = f"of type {frame.schema[name]}" if name in frame.schema else "missing"
            raise DamagedFileError(path, f"its column {name} is {state}", remedy)
    return frame


def files_within(folder: Path) -> list[Path]:
    """Return the files of a folder and of those within; what goes meanwhile is in it or is not.

    Before Python 3.13, `Path.rglob` fails where a folder goes while it is listed.

    >>> files_within(Path("no/such/folder"))
    []
    """
    return sorted(Path(top, name) for top, _, names in os.walk(folder) for name in names)


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest of a folder's checkpoints, each a folder ``step-N``; None where there is none."""
    return next(iter(checkpoints_in(folder)), None)


def checkpoints_in(folder: Path) -> list[Path]:
    """Return a folder's checkpoints, the newest first; folders of any other name are none."""
    checkpoints = [p for p in folder.glob("step-*") if re.fullmatch(r"step-\d+", p.name) and p.is_dir()]
    return sorted(checkpoints, key=lambda p: int(p.name.removeprefix("step-")), reverse=True)


def run_of(folder: Path) -> Path:
    """Return the folder of a run, given that or the folder of one of its checkpoints.

    >>> run_of(Path("runs/first/checkpoint/step-0000100")) == run_of(Path("runs/first")) == Path("runs/first")
    True
    """
    return folder.parent.parent if folder.parent.name == "checkpoint" else folder


def check_manifest(folder: Path, remedy: str, names: Collection[str] = ()) -> None:
    """Check files of a folder against its manifest.

    Args:
        folder: what `writing_folder` wrote.
        remedy: what the user can do about a damaged file.
        names: of the files that must be there; those that the manifest lists unless given.

    Raises:
        DamagedFileError: for a file that is missing or has another content.
    """
    listed = read_json(folder / MANIFEST, _Manifest, remedy).files
    for name in names or listed:
        file = folder / name
        if not file.is_file():
            raise DamagedFileError(file, "it is missing", remedy)
        entry = listed.get(name)
        if entry is None:
            raise DamagedFileError(file, f"{MANIFEST} does not list it", remedy)
        if file.stat().st_size != entry.bytes:
            raise DamagedFileError(file, f"it has {file.stat().st_size:,} of {entry.bytes:,} bytes", remedy)
        if digest_of_file(file) != entry.digest:
            raise DamagedFileError(file, "its content is not what was written", remedy)


def digest_of_file(path: Path) -> str:
    """Return a digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    bytes: int
    digest: str


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    files: dict[str, _Entry]


def _text(path: Path, remedy: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DamagedFileError(path, "it is missing", remedy) from None
    except UnicodeDecodeError:
        raise DamagedFileError(path, "it is no text", remedy) from None
