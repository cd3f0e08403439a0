"""A copy of a run's folder elsewhere (``--sync URL``), for machines that vanish with their disks.

Files that a run has finished are copied behind it: its checkpoints, its numbers, and what says which run it is. The
URL is one that ``fsspec`` knows. A checkpoint counts there when its last file does, ``trainer.json``.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ...execution import leased
from ...files import checkpoints_in, files_within, put_in_place, writing
from ...reasons import reason
from ...registry import MissingPackageError
from ..run import OtherRunError, Run
from ..sharing.distributed import first_alone
from .checkpoint import KEPT, TRAINER

PAUSE = 5.0
"""Seconds between two looks for what is new."""
_CHECKPOINTS = "checkpoint"


class CopyError(RuntimeError):
    """A run's folder could not be copied; the message says from where or to where."""


@contextmanager
def copied(folder: Path, url: str) -> Iterator[None]:
    """Begin from a copy where the folder holds no run, and keep the copy up in the block; at its end it is whole.

    Args:
        folder: of a run; leased by this process.
        url: of the copy, such as ``s3://bucket/runs/a``; ``""`` for none.

    Warns:
        UserWarning: where the copy cannot be kept up, once; the run goes on, and is copied when it can be.

    Raises:
        CopyError: if the copy cannot be reached when the block begins, or is not whole at its end.
        MissingPackageError: without the package that such a URL needs.
    """
    if not url:
        yield
        return
    # The others train from what the first has fetched.
    with first_alone() as first:
        if first:
            copy = Copy(folder, url)
            with leased(folder):
                copy.fetch()
    if not first:
        yield
        return
    ended = threading.Event()
    follower = threading.Thread(target=_follow, args=(copy, ended), name="sync", daemon=True)
    follower.start()
    try:
        yield
    except BaseException:
        _stop(follower, ended)
        try:
            copy.keep_up()
        except CopyError as error:  # the reason for the end of the block is what the user is to read
            warnings.warn(str(error), stacklevel=2)
        raise
    _stop(follower, ended)
    copy.keep_up()


def _stop(follower: threading.Thread, ended: threading.Event) -> None:
    ended.set()
    follower.join()


def _follow(copy: Copy, ended: threading.Event) -> None:
    warned = False
    while not ended.wait(PAUSE):
        try:
            copy.keep_up()
            warned = False
        except CopyError as error:
            if not warned:
                warnings.warn(f"{error}; it is tried again", stacklevel=2)
            warned = True


class Copy:
    """Copy of a run's folder at a URL."""

    def __init__(self, folder: Path, url: str) -> None:
        import fsspec

        self.folder, self.url = folder, url.rstrip("/")
        try:
            self.system, root = fsspec.url_to_fs(self.url)
        except ImportError as error:
            raise MissingPackageError(f"{url}: {error}; run: pip install 'counterpoint[cloud]'") from error
        except ValueError as error:
            raise CopyError(f"--sync {url}: {error}") from error
        self.root = PurePosixPath(root)
        here = self.folder.resolve()
        if "file" in self.system.protocol and here in (there := Path(root).resolve(), *there.parents):
            # Of which each copy would hold another one.
            raise CopyError(f"--sync {url} is within the run's own folder {folder}: give another place")
        self._copied: dict[str, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Copy the run here where the folder holds none: its files, and its newest checkpoints that are whole.

        Raises:
            CopyError: if it cannot be reached, or the bucket is not there.
            OtherRunError: where the copy is one of another run than the folder's.
        """
        with self._copy_errors("read"):
            # A store would make a bucket of any name, that of a slip of the pen too.
            if not self.system.exists(self.root.parts[0]):
                raise FileNotFoundError(f"there is no {self.root.parts[0]}")
            if not self.system.exists(str(self.root / "recipe.yaml")):
                return
        if (self.folder / "recipe.yaml").exists():
            with tempfile.TemporaryDirectory() as directory:
                with self._copy_errors("read"):
                    self._get("recipe.yaml", Path(directory) / "recipe.yaml")
                try:
                    Run.read(self.folder).check(Path(directory))
                except OtherRunError:
                    raise OtherRunError(
                        f"{self.url} holds a copy of another run than {self.folder}: choose another --sync"
                    ) from None
            return
        with self._copy_errors("read"):
            every = self._names()
            names = [name for name in every if not name.startswith(f"{_CHECKPOINTS}/")]
            whole = [step for step in self._steps() if f"{_CHECKPOINTS}/{step}/{TRAINER}" in every]
            for step in whole[-KEPT:]:
                target = self.folder / _CHECKPOINTS / step
                part = target.with_name(f".{step}.copy.part")
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(parents=True)
                for name in self._names(f"{_CHECKPOINTS}/{step}"):
                    self._get(name, part / name.rpartition("/")[2])
                put_in_place(part, target)
            # The file that makes the folder a run's comes last: what breaks off here begins anew.
            for name in sorted(names, key=lambda name: name == "recipe.yaml"):
                with writing(self.folder / name) as part:
                    self._get(name, part)

    def keep_up(self) -> None:
        """Copy what is new there, and remove checkpoints that are gone here."""
        with self._copy_errors("write"):
            for path in sorted(files_within(self.folder), key=lambda path: path.name == TRAINER):
                inside = path.relative_to(self.folder)
                unfinished = any(name.startswith(".") and name != ".metadata" for name in inside.parts)
                try:
                    if not unfinished:
                        self._put(path, inside.as_posix())
                except FileNotFoundError:
                    # A checkpoint may be forgotten while it is copied; a bucket that is not there is told.
                    if path.exists():
                        raise
            # Looked for after the copying: one that came meanwhile may be there already.
            kept = {path.name for path in checkpoints_in(self.folder / _CHECKPOINTS)}
            if kept:
                for step in sorted(set(self._steps()) - kept):
                    self.system.rm(str(self.root / _CHECKPOINTS / step), recursive=True)

    def _put(self, path: Path, name: str) -> None:
        state = path.stat().st_mtime_ns, path.stat().st_size
        if self._copied.get(name) == state:
            return
        there = self.root / name
        self.system.makedirs(str(there.parent), exist_ok=True)
        self.system.put_file(str(path), str(there))
        self._copied[name] = state

    def _get(self, name: str, path: Path) -> None:
        self.system.get_file(str(self.root / name), str(path))

    def _names(self, inside: str = "") -> list[str]:
        """Return the names of all files there, below the root."""
        self.system.invalidate_cache()
        root = self.root / inside
        if not self.system.exists(str(root)):
            return []
        paths = self.system.find(str(root))
        return [
            PurePosixPath("/", path).relative_to(PurePosixPath("/", self.root)).as_posix() for path in paths
        ]

    def _steps(self) -> list[str]:
        return sorted({name.split("/")[1] for name in self._names(_CHECKPOINTS)})

    @contextmanager
    def _copy_errors(self, deed: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each store has its own
            raise CopyError(
                f"cannot {deed} the copy of {self.folder} at {self.url}: {reason(error)}"
            ) from error
