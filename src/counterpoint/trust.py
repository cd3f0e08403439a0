"""Trust in folders: which Python files may be imported, and whether addresses that a folder names may be opened.

A run, a study, vectors and an index are data, and may come from somebody else. They may name a Python file, such as a
loss. The file is imported only if one of these holds:

* The user named it, on the command line or in a call.
* Its digest is in the user's own list. A file enters the list when a command or a call of this user names and imports
  it. The list lies outside of all folders of results, and only its owner can write it.
* The user said ``--trust``, or ``trust=True``.

Child processes and jobs get the digests through the variable ``COUNTERPOINT_TRUST``.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

VARIABLE = "COUNTERPOINT_TRUST"
"""Variable with the digests of files that the user named, or `ALL`."""
ALL = "all"
OPTION = "--trust"

_PACKAGES = (
    Path(__file__).resolve().parent,
    Path(__file__).resolve().parent.with_name("counterpoint_reproductions"),
)
"""Folders of the packages of this distribution, whose files are trusted."""
_BOUNDARY = re.compile(r'[,=+"\s]')
_given: set[str] = set()
"""Digests of the files that the user of this process named."""
_everything: ContextVar[bool] = ContextVar("everything", default=False)
_offline: ContextVar[bool] = ContextVar("offline", default=False)


class UntrustedError(ValueError):
    """A folder names a Python file, or an address, that the user did not allow; the message says how to allow it."""


def given(*words: object) -> None:
    """Allow the Python files that the user's own words name, as they are now: ``FILE.py:NAME``, alone or in an option.

    Args:
        words: strings and paths, or lists of them; other objects name no file.
    """
    for word in words:
        if isinstance(word, str | os.PathLike):
            for file in _python_files(os.fspath(word)):
                with suppress(OSError):  # a file that is missing is reported where it is needed
                    _given.add(_digest(file.read_bytes()))
        elif isinstance(word, Sequence):
            given(*word)


@contextmanager
def everything(trust: bool = True) -> Iterator[None]:
    """Allow whatever a folder names in the block.

    Args:
        trust: False for a block in which nothing changes.
    """
    token = _everything.set(trust or _everything.get())
    try:
        yield
    finally:
        _everything.reset(token)


@contextmanager
def command(words: Iterable[str]) -> Iterator[None]:
    """Allow in the block what a command line names, and everything if it has `OPTION`."""
    words = [*words]
    given(*words)
    before = os.environ.get(VARIABLE)
    if OPTION in words:
        os.environ[VARIABLE] = ALL  # in the environment, as the command's threads and processes need it
    try:
        yield
    finally:
        if OPTION in words:
            del os.environ[VARIABLE]
            os.environ.update({} if before is None else {VARIABLE: before})


@contextmanager
def offline(now: bool = True) -> Iterator[None]:
    """Refuse addresses in the block, unless everything is allowed.

    Args:
        now: False for a block in which nothing changes.
    """
    token = _offline.set(now or _offline.get())
    try:
        yield
    finally:
        _offline.reset(token)


def environment() -> dict[str, str]:
    """Return the variables by which a child process, or a job on another machine, allows what this process allows."""
    if allows_everything():
        return {VARIABLE: ALL}
    digests = _given | _inherited()
    return {VARIABLE: " ".join(sorted(digests))} if digests else {}


def receive(variables: Mapping[str, str]) -> None:
    """Allow in this process what `environment` returned in another one, and no longer what it received before."""
    os.environ.pop(VARIABLE, None)
    os.environ.update(variables)


def allows_everything() -> bool:
    return _everything.get() or ALL in _inherited()


def trusted_source(file: Path) -> bytes:
    """Return the content of a Python file that may be run.

    Raises:
        UntrustedError: if it may not.
        OSError: if it cannot be read.
    """
    source = file.read_bytes()
    digest = _digest(source)
    if any(file.resolve().is_relative_to(package) for package in _PACKAGES):
        return source
    if digest in _given or digest in _inherited():
        _note(digest, file)
    elif not (allows_everything() or digest in _noted()):
        raise UntrustedError(
            f"{file} is Python code that a folder names, and no run of yours has used it as it is now: it "
            f"was not run. Read it; to allow it, repeat the command with {OPTION} (in Python, pass trust=True)"
        )
    return source


def is_offline() -> bool:
    """Return whether addresses are refused: in a block that is `offline`, unless everything is allowed."""
    return _offline.get() and not allows_everything()


def check_address(location: str) -> None:
    """Refuse to open an address where `is_offline`.

    Raises:
        UntrustedError: naming the address.
    """
    if is_offline():
        raise UntrustedError(
            f"{location} is an address that the index names: it was not opened. To allow it, give --data, or {OPTION}"
        )


def _python_files(text: str) -> Iterator[Path]:
    """Yield every path of a Python file that a text may name.

    >>> sorted(map(str, _python_files("--data=a.py:DATA,share=0.5")))
    ['--data=a.py', 'a.py']
    """
    starts = [0, *(match.end() for match in _BOUNDARY.finditer(text))]
    for end in (match.end() for match in re.finditer(r"\.py(?=:)", text)):
        yield from (Path(text[start:end]) for start in starts if start < end)


def _digest(source: bytes) -> str:
    return hashlib.blake2b(source, digest_size=32).hexdigest()


def _inherited() -> set[str]:
    return set(os.environ.get(VARIABLE, "").split())


def _list() -> Path:
    """Return the user's list, which is no cache: what is shared with others must not be trusted."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "counterpoint" / "python-files.txt"


def _noted() -> set[str]:
    """Return the digests of the user's list; none of a list that others can write."""
    try:
        with _list().open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return set()
            return {line.split(maxsplit=1)[0] for line in file if line.strip()}
    except (OSError, RuntimeError, UnicodeDecodeError):  # RuntimeError: the user has no home
        return set()


def _note(digest: str, file: Path) -> None:
    """Add a file to the user's list; where that cannot be written, a later command asks for `OPTION`."""
    if digest in _noted():
        return
    with suppress(OSError, RuntimeError):
        path = _list()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as opened:
            opened.write(f"{digest} {str(file)!r}\n")
