"""Files by what users write for them: paths, ``file://``, ``s3://`` and other URLs, patterns, lists of files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from ....registry import MissingPackageError
from ....trust import check_address

_GLOB = re.compile(r"[*?\[]")
_MARKS = (
    "ETag",
    "etag",
    "blob_id",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
)  # of a changed file, by store


class MissingFilesError(FileNotFoundError):
    """Some files are not there.

    Args:
        message: naming the first, and how many they are.
        locations: of all that are not there.
    """

    def __init__(self, message: str, locations: Iterable[str]) -> None:
        super().__init__(message)
        self.locations = frozenset(locations)


def is_url(location: str) -> bool:
    """Return whether a location is not on this machine's disks.

    >>> is_url("s3://bucket/0.tar"), is_url("file:///data/0.tar"), is_url("/data/0.tar")
    (True, False, False)
    """
    return bool(re.match(r"(?!file:)[a-z][a-z0-9+.-]*://", location))


def is_pattern(written: str) -> bool:
    """Return whether a text stands for several files: braces, a glob, ``@list.txt``; an existing file's name does not.

    >>> is_pattern("shards/{000..099}.tar"), is_pattern("@shards.txt"), is_pattern("shards/000.tar")
    (True, True, False)
    """
    marked = written.startswith("@") or "{" in written or _is_glob(written)
    return marked and not os.path.exists(written)


def leads_out(name: str) -> bool:
    """Return whether the name of a file, as a data set states it, leads out of the folder that it is named from.

    >>> leads_out("train2017/1.jpg"), leads_out("../1.jpg"), leads_out("/home/1.jpg")
    (False, True, True)
    """
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def seen_from(folder: str, path: str) -> str:
    """Return a path, or a pattern, from the root, where it was written as seen from a folder; a URL as it is."""
    if is_url(path):
        return path
    listed = "@" if path.startswith("@") and is_pattern(path) else ""
    return f"{listed}{os.path.abspath(os.path.join(folder, path.removeprefix(listed)))}"


def suffix_of(written: str) -> str:
    """Return the suffix, in small letters, of the file or of the files that a text stands for.

    >>> suffix_of("s3://bucket/{000..099}.TAR"), suffix_of("https://host/pairs.csv?raw=true"), suffix_of("photos")
    ('.tar', '.csv', '')
    >>> suffix_of("{first.tar,second.tar}")
    '.tar'
    """
    if written.startswith("@") and is_pattern(written):
        first = next(iter(_lines(Path(written[1:]))), "")
        return suffix_of(first)
    if written.endswith("}") and is_pattern(written):  # the suffix is inside of the braces
        from braceexpand import braceexpand

        with suppress(ValueError):  # braces that are not closed are told of when they are expanded
            written = next(iter(braceexpand(written)), written)
    return PurePosixPath(name_of(written).lower()).suffix


def name_of(location: str) -> str:
    """Return the name of a file; what an address of the web asks besides, a signature say, is none of it.

    >>> name_of("s3://bucket/0.tar"), name_of("https://host/0.tar?signature=a/b")
    ('0.tar', '0.tar')
    """
    return PurePosixPath(location.partition("?")[0] if location.startswith("http") else location).name


def files_of(*written: str) -> dict[str, str]:
    """Return the files that a user's words stand for, in order and each once, with a text that changes when one does.

    Args:
        written: each a path or a URL; with braces (``{000..099}``, all of which must be there), with ``*``, ``?``,
            ``[…]`` (whatever matches, by name), or the name of a list after ``@``: a file with one such text a line,
            paths seen from its folder.

    Raises:
        MissingFilesError: if a file is not there.
        FileNotFoundError: if a pattern matches nothing.
        OSError: if a store cannot be reached.
        MissingPackageError: for a URL whose package is not installed.
    """
    return _states(written[0], [file for word in written for file in _expanded(word)])


def inside(folder: str) -> list[str]:
    """Return the files right in a folder of a store, which is written with a slash at its end; none of other places."""
    if not (is_url(folder) and folder.endswith("/")):
        return []
    with reaching(folder):
        store, path = _store(folder)
        store.invalidate_cache(path)
        return sorted(str(store.unstrip_protocol(each)) for each in store.ls(path, detail=False))


def opened(location: str) -> Any:
    """Open a file of a path or a URL to be read, as bytes.

    Raises:
        OSError: if it cannot be opened.
    """
    if not is_url(location):
        return open(location, "rb")
    with reaching(location):
        store, path = _store(location)
        return store.open(path, "rb")


def sought(location: str) -> Any:
    """Open a file of a store of which some parts are read, and no more bytes than are asked for.

    Raises:
        OSError: if it cannot be opened.
    """
    if location.startswith("http"):  # a server of the web may know no parts of files
        return opened(location)
    with reaching(location):
        store, path = _store(location)
        return store.open(path, "rb", cache_type="none")


def size_of(location: str) -> int:
    """Return the bytes of a file.

    Raises:
        OSError: if it is not there.
    """
    with reaching(location):
        store, path = _store(location)
        return int(store.size(path))


def part_of(location: str, offset: int = 0, size: int | None = None) -> bytes:
    """Read some bytes of a file; all that follow an offset unless their number is given."""
    if not is_url(location):
        with open(location, "rb") as file:
            file.seek(offset)
            return file.read(size)
    with reaching(location):
        store, path = _store(location)
        if size is None:
            return bytes(store.cat_file(path, start=offset or None))
        part = bytes(store.cat_file(path, start=offset, end=offset + size))
    # A server that knows no parts of files sends the whole one.
    return part if len(part) <= size else part[offset : offset + size]


def sibling(location: str, name: str) -> str:
    """Return the location of a file that is named from the folder of another one."""
    if is_url(location):
        return f"{location.rpartition('/')[0]}/{name}"
    return f"{os.path.dirname(location) or '.'}{os.sep}{name}"


def below(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder in order, but hidden ones; a link back to a folder around it is not followed."""
    leading: dict[str, tuple[Path, ...]] = {os.fspath(folder): (folder.resolve(),)}
    for root, folders, names in os.walk(folder, followlinks=True):
        around, new = leading.pop(root), []
        for name in sorted(name for name in folders if not name.startswith(".")):
            path = os.path.join(root, name)
            link = os.path.islink(path)
            real = Path(os.path.realpath(path)) if link else around[-1] / name
            if not (link and any(each.is_relative_to(real) for each in around)):
                leading[path] = (*around, real)
                new.append(name)
        folders[:] = new
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def state_of(files: Iterable[str | os.PathLike[str]]) -> str:
    """Return a text that changes when one of some files does, or another is there."""
    hasher = blake2b(digest_size=8)
    for file in files:
        try:
            stat = os.stat(file)
        except OSError:
            stat = os.lstat(file)  # of a link to nothing, its own
        name = os.path.basename(file)
        hasher.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return hasher.hexdigest()


def short_names(locations: Iterable[str]) -> list[str]:
    """Return the shortest names of some files that tell them apart: as much of their paths as that takes.

    >>> short_names(["s3://a/x/0.tar", "s3://a/x/1.tar"]), short_names(["a/x/0.tar", "a/y/0.tar"])
    (['0.tar', '1.tar'], ['x/0.tar', 'y/0.tar'])
    """
    parts = [location.replace(os.sep, "/").split("/") for location in locations]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return list(locations)


@contextmanager
def reaching(location: str) -> Iterator[None]:
    """Turn whatever a store's package raises into one error that names the location and what to do.

    Raises:
        MissingPackageError: if the package for this kind of URL is not installed.
        FileNotFoundError: if there is no such file, or no such bucket.
        PermissionError: without credentials, or with such as do not suffice.
        UntrustedError: where an index names the location, and the user did not allow it (`counterpoint.trust`).
        OSError: for everything else.
    """
    check_address(location)
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(f"{location}: {error}; run: pip install 'counterpoint[cloud]'") from error
    except FileNotFoundError:
        if location.startswith("http"):
            # fsspec says so whatever was wrong: no server, no name, no page.
            raise FileNotFoundError(
                f"{location}: no server answers there, or it has no such file: check the address and the network"
            ) from None
        raise FileNotFoundError(f"{location}: there is no such file, or no such bucket") from None
    except ConnectionError as error:
        raise OSError(
            f"{location}: no server answers there ({error.strerror or error}): check the address and the network"
        ) from error
    except Exception as error:
        kind, message = type(error).__name__, " ".join(str(error).split())
        if isinstance(error, PermissionError) or "Credentials" in kind:
            raise PermissionError(
                f"{location}: no access ({message or kind}): give the credentials that the store's own tools take, for "
                "s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile"
            ) from error
        raise OSError(f"{location} cannot be read: {kind}: {message}") from error


def readable(name: str) -> str:
    """Return the name of a file in which bytes that are not UTF-8 are written as numbers: no table holds it otherwise.

    >>> readable(os.fsdecode(b"caf\\xe9.png"))
    'caf\\\\udce9.png'
    """
    return name.encode("utf-8", "backslashreplace").decode()


def local(written: str) -> str:
    """Return a path in place of a file URL; any other place as it is."""
    return written.removeprefix("file://") if written.startswith("file://") else written


def _is_glob(written: str) -> bool:
    """Return whether a text has marks of a glob; in an address of the web a question mark is none."""
    return not written.startswith("http") and bool(_GLOB.search(written))


def _expanded(written: str) -> list[str]:
    """Return the files that a text stands for, whether they are there or not."""
    if not is_pattern(written):
        return [local(written)]
    if written.startswith("@"):
        return [file for line in _lines(Path(written[1:])) for file in _expanded(line)]
    from braceexpand import braceexpand

    try:
        expanded = list(braceexpand(written))
    except ValueError as error:  # braces that are not closed
        raise ValueError(f"{written}: {error}") from None
    files = [file for each in expanded for file in _matching(local(each))]
    if not files:
        raise FileNotFoundError(f"{written} matches no file")
    return files


def _lines(listed: Path) -> list[str]:
    """Return the lines of a list of files; paths are seen from its folder."""
    if not listed.is_file():
        raise FileNotFoundError(f"there is no list of files {listed}")
    lines = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines()]
    files = [line for line in lines if line and not line.startswith("#")]
    if not files:
        raise ValueError(f"{listed} lists no files")
    return [line if is_url(line) else str(listed.parent / local(line)) for line in files]


def _matching(pattern: str) -> list[str]:
    """Return the files that a pattern without braces matches; itself where it has no marks of one."""
    if not _is_glob(pattern) or os.path.exists(pattern):
        return [pattern]
    if not is_url(pattern):
        return sorted(glob.glob(pattern, recursive=True))
    with reaching(pattern):
        store, path = _store(pattern)
        store.invalidate_cache()
        return [str(store.unstrip_protocol(each)) for each in sorted(store.glob(path))]


def _states(written: str, locations: list[str]) -> dict[str, str]:
    """Return the state of every file.

    Raises:
        MissingFilesError: naming the first that is not there, and how many are not.
    """
    states: dict[str, str | None] = {}
    listed: dict[str, Mapping[str, str]] = {}
    for location in locations:
        if is_url(location):
            states[location] = _remote_state(location, listed if len(locations) > 1 else None)
        else:
            states[location] = state_of([location]) if os.path.isfile(location) else None
    if missing := [location for location, state in states.items() if state is None]:
        of = f"{len(missing):,} of {len(states):,} files are not there, the first {missing[0]}"
        message = f"{written}: {of}" if is_pattern(written) else f"there is no file {missing[0]}"
        raise MissingFilesError(message, missing)
    return {location: state for location, state in states.items() if state is not None}


def _remote_state(location: str, listed: dict[str, Mapping[str, str]] | None) -> str | None:
    """Return the state of a file in a store; None where it is not there.

    Args:
        location: a URL.
        listed: files with their states by folder, where many are asked for: one request instead of thousands.
    """
    with reaching(location):
        store, path = _store(location)
        folder = path.rpartition("/")[0]
        if listed is None or location.startswith("http"):  # the web lists nothing
            store.invalidate_cache(path)
            return _entry_state(store.info(path))
        if folder not in listed:
            store.invalidate_cache(folder)  # which would say what was there at the first look
            listed[folder] = {str(info["name"]): _entry_state(info) for info in store.ls(folder, detail=True)}
        return listed[folder].get(path)


def _entry_state(info: Mapping[str, Any]) -> str:
    marks = [str(info[mark]) for mark in _MARKS if info.get(mark)]
    return f"{info.get('size')} {marks[0]}" if marks else str(info.get("size"))


def _store(location: str) -> tuple[Any, str]:
    import fsspec

    store, path = fsspec.core.url_to_fs(location)
    return store, str(path)
