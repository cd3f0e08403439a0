"""From what a user writes after ``--data`` to a data set."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from ..networks.base import Input
from ..trust import given
from .base import IMAGE_SIZE, Data, stored_size
from .derived.gaps import gaps_of
from .derived.mixture import each_changed, parts_of
from .kinds.files import PythonFileResolver
from .kinds.parsing import is_there, parse
from .pictured import PairedData
from .pictures.single import form_of
from .sources import (
    Ledger,
    Records,
    files_of,
    is_pattern,
    is_url,
    seen_from,
    suffixes,
    with_columns,
)

_LONGEST_NAME = 100  # bytes of a file's name, which has others around it
_ANNOTATIONS = ".json"  # files of public benchmarks; the kinds that sources read are benchmarks' too


def load(
    source: str, image_size: int = IMAGE_SIZE, *, columns: Mapping[str, str] | None = None
) -> PairedData:
    """Open pictures with captions that the user names; see `load_any`.

    A Python file that the source names is allowed (`counterpoint.trust.given`).

    Args:
        source: the name or the path.
        image_size: of the views that will be cut from the pictures, in pixels.
        columns: those columns of a table that have names of their own, by what they are for; see `with_columns`.

    Raises:
        UnknownNameError: for a name that no data set has.
        FileNotFoundError: if there is nothing at the path.
        ValueError: if the files hold no usable pairs, or the data has other columns.
    """
    given(source)
    return load_pairs(with_columns(source, columns or {}), image_size)


def load_pairs(source: str, image_size: int = IMAGE_SIZE) -> PairedData:
    """Open pictures with captions that a folder of results names; see `load_any`.

    Raises:
        UntrustedError: for a Python file that the user did not allow (`counterpoint.trust`).
        ValueError: as `load`.
    """
    data = load_any(source, image_size)
    if isinstance(data, PairedData):
        return data
    raise ValueError(
        f"{source} has the columns {', '.join(data.columns)}, and only pictures with captions (image, text) can be "
        "used here: train models on it with `counterpoint train`, and give data of these columns otherwise "
        "(--columns text=NAME says which column of a table holds captions)"
    )


def load_any(source: str, image_size: int = IMAGE_SIZE, *, inputs: Mapping[str, Input] | None = None) -> Data:
    """Open a data set by its name, a public benchmark (``winoground:PATH``), a folder or a table of pairs, or a file.

    Data that is open already is not read again, unless its folder, its tables or its shards have changed since. The
    same data for another size shares everything but the pictures (`Data.sized`).

    Args:
        source: the name or the path; after a path ``,broken=0.05`` says what share of its rows may be left out, in
            place of 1 %, and ``,columns=image:path+text:alt`` what columns of a table are for
            (`counterpoint.data.sources.SourceOptions` has them all);
            ``,missing=text:0.4`` withholds values (`counterpoint.data.derived.missing.MissingValuesData`). ``stamps``
            and the other collections (`counterpoint.data.collections`) are found where their package installs them, or
            in a folder (``stamps:FOLDER``). ``FILE.py:NAME`` is a `Data` object, or a `Source`, that a file of Python
            defines; ``hf:NAME`` a data set of the hub.
        image_size: of the views that will be cut from the pictures, in pixels.
        inputs: of a model, by column, in place of a size: the data suits them (`Data.suited`), and its files are
            decoded for them alone.

    Raises:
        UnknownNameError: for a name that no data set has.
        FileNotFoundError: if there is nothing at the path.
        ValueError: if the files hold no usable pairs.
    """
    parsed = parse(source)
    slot = _slot(source, tuple(_stamp(parse(one).path) for one in _each(source)))
    if not slot:
        slot.append(parsed.open(stored_size(image_size) if inputs is None else form_of(inputs.get("image"))))
    data = slot[0]
    if inputs is not None:
        return data.suited(inputs)
    return data.sized(image_size)


def records_of(source: str, ledger: Ledger) -> Records | None:
    """Read a user's own files as records, whatever is wrong with them; None for data that is opened in other ways.

    Args:
        source: see `load_any`.
        ledger: is told what is left out.

    Raises:
        ValueError: if the files cannot be read at all.
    """
    return parse(source).records(ledger)


def rooted(source: str) -> str:
    """Return what a user wrote with its path from the root, so that it is found from anywhere.

    >>> rooted("emoji:artist")
    'emoji:artist'
    """
    if parts_of(source):
        return each_changed(source, rooted)
    parsed = parse(source)
    if parsed.path is None or not is_there(parsed.path):
        return source
    return parsed.at(seen_from("", parsed.path))


def located(source: str, began: str | None) -> str:
    """Return where a run's data is now: as it was written, else seen from the folder that the run was begun in.

    Args:
        source: the name or the path, as it was written.
        began: the working directory at that time; None where it is not known.

    Raises:
        FileNotFoundError: for a path that is in neither place.
    """
    if parts_of(source):
        return each_changed(source, lambda one: located(one, began))
    parsed = parse(source)
    if parsed.path is None or is_there(parsed.path):
        return source
    moved = seen_from(began or "", parsed.path)
    if not is_there(moved):
        raise FileNotFoundError(
            f"the data {source!r} of the run is not here, nor where the run was begun ({began or 'not known'}): "
            "say where it is with --data"
        )
    return parsed.at(moved)


def is_of_python(source: str) -> bool:
    """Return whether data is what a file of Python defines, which processes that prepare batches cannot import.

    >>> is_of_python("waves.py:WAVES"), is_of_python("pairs.csv")
    (True, False)
    """
    return any(isinstance(parse(gaps_of(one)[0]), PythonFileResolver) for one in _each(source))


def short_name(source: str) -> str:
    """Return what files and folders are called after the data; the end of a long name is a digest.

    >>> short_name("scenes:basic")
    'scenes-basic'
    >>> short_name("emoji + scenes:basic,share=0.5")
    'emoji-scenes-basic'
    """
    name = "-".join(map(_named, _each(source)))
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) <= _LONGEST_NAME:
        return name
    return f"{encoded[: _LONGEST_NAME - 7].decode('utf-8', 'ignore')}-{blake2b(encoded, digest_size=3).hexdigest()}"


def _named(source: str) -> str:
    """Return what files are called after one source."""
    parsed = parse(source)
    if parsed.path is None or not is_there(parsed.path):
        return re.sub(r"[:/\\\\]+", "-", source)
    stem = Path(parsed.path).stem
    if is_url(parsed.path) or is_pattern(parsed.path):
        stem = re.sub(r"[^\w.=-]+", "-", stem).strip("-.") or "data"
    return f"{parsed.head.replace(':', '-')}{stem}"


def _each(source: str) -> list[str]:
    """Return the sources that a text names, without what says how they are mixed."""
    return [part.source for part in parts_of(source)] or [source]


@lru_cache(maxsize=4)
def _slot(source: str, stamp: tuple[object, ...]) -> list[Data]:
    """Return where a data set is kept once it is open."""
    return []


def _stamp(path: str | None) -> tuple[object, ...]:
    """Return where data is and when it was last written; pictures and texts one by one are not looked at."""
    if path is None or is_url(path) or not is_there(path):
        return ()
    if is_pattern(path):
        return tuple(files_of(path).items())
    inside = os.scandir(path) if os.path.isdir(path) else ()
    kinds = {_ANNOTATIONS, *suffixes()}
    entries = [e for e in inside if e.is_dir() or (Path(e.name).suffix.lower() in kinds and e.is_file())]
    return (
        os.path.realpath(path),
        _changed(os.stat(path)),
        *sorted((e.name, _changed(e.stat())) for e in entries),
    )


def _changed(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_mtime_ns, stat.st_size
