"""From what a user writes after ``--data`` to a data set."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..networks.base import Input
from ..registry import check_python_file, import_file, named_in_file, unknown
from ..spec import Spec
from ..types import Fit
from .base import IMAGE_SIZE, Data, PairedData, Pictured, stored_size
from .benchmarks import BENCHMARKS
from .collections import COLLECTIONS
from .decode import side_of
from .sharded.indexing import is_index
from .single import form_of
from .sources import (
    OF_THE_WHOLE,
    Ledger,
    Options,
    Records,
    Source,
    checked,
    found,
    is_named,
    is_pattern,
    is_source,
    is_url,
    parted,
    read,
    seen_from,
    suffixes,
)
from .worlds import WORLDS

_ANNOTATIONS = ".json"  # files of public benchmarks; the kinds that sources read are benchmarks' too


def load(
    source: str, image_size: int = IMAGE_SIZE, *, columns: Mapping[str, str] | None = None
) -> PairedData:
    """Open pictures with captions by a name or a path; see `load_any`.

    Args:
        source: the name or the path.
        image_size: of the views that will be cut from the pictures, in pixels.
        columns: those columns of a table that have names of their own, by what they are for; see `with_columns`.

    Raises:
        UnknownName: for a name that is neither a data set nor an existing path.
        ValueError: if the files hold no usable pairs, or the data has other columns.
    """
    data = load_any(with_columns(source, columns or {}), image_size)
    if isinstance(data, PairedData):
        return data
    raise ValueError(
        f"{source} has the columns {', '.join(data.columns)}, and only pictures with captions (image, text) can be "
        "used here: train models on it with `counterpoint train`, and give data of these columns otherwise "
        "(--columns text=NAME says which column of a table holds captions)"
    )


def load_any(source: str, image_size: int = IMAGE_SIZE, *, inputs: Mapping[str, Input] | None = None) -> Data:
    """Open a data set by its name, a public benchmark (``winoground:PATH``), a folder or a table of pairs, or a file.

    What is open already is not read again, unless its folder, its tables or its shards have changed since. The same
    data for another size shares everything but the pictures (`PairedData.sized`).

    Args:
        source: the name or the path; after a path ``,broken=0.05`` says what share of its rows may be left out, in
            place of 1 %, and ``,columns=image:path+text:alt`` what columns of a table are for
            (`counterpoint.data.sources.Options` has them all). ``stamps`` and the other
            collections (`counterpoint.data.collections`) are found where their package installs them, or in a folder
            (``stamps:FOLDER``). ``FILE.py:NAME`` is a `Data` object, or a `Source`, that a file of Python
            defines; ``hf:NAME`` a data set of the hub.
        image_size: of the views that will be cut from the pictures, in pixels.
        inputs: of a model, by column, in place of a size: the data suits them (`Data.suited`), and its files are
            decoded for them alone.

    Raises:
        UnknownName: for a name that is neither a data set nor an existing path.
        ValueError: if the files hold no usable pairs.
    """
    slot = _slot(source, _stamp(source))
    if not slot:
        slot.append(
            _open(source, stored_size(image_size) if inputs is None else form_of(inputs.get("image")))
        )
    data = slot[0]
    if inputs is not None:
        return data.suited(inputs)
    return data.sized(image_size) if isinstance(data, Pictured) else data


def with_columns(source: str, columns: Mapping[str, str]) -> str:
    """Return the name of data whose table has columns of other names.

    Args:
        source: as a user wrote it.
        columns: names of the table's columns by what they are for: ``image``, ``text``, ``id``, ``split``, ``group``.

    Raises:
        UnknownName: for a use that there is not.

    >>> with_columns("pairs.csv", {"image": "path", "text": "alt"})
    'pairs.csv,columns=image:path+text:alt'
    """
    said = "+".join(f"{role}:{column}" for role, column in checked(columns).items())
    return f"{source},columns={said}" if said else source


def rooted(source: str) -> str:
    """Return what a user wrote with its path from the root, so that it is found from anywhere.

    >>> rooted("emoji:artist")
    'emoji:artist'
    """
    head, path, option = _parted(source)
    return source if path is None or not _is_there(path) else f"{head}{seen_from('', path)}{option}"


def located(source: str, began: str | None) -> str:
    """Return where a run's data is now: as it was written, else seen from the folder that the run was begun in.

    Args:
        source: the name or the path, as it was written.
        began: the working directory at that time; None where it is not known.

    Raises:
        FileNotFoundError: for a path that is in neither place.
    """
    head, path, option = _parted(source)
    if path is None or _is_there(path):
        return source
    moved = seen_from(began or "", path)
    if not _is_there(moved):
        raise FileNotFoundError(
            f"the data {source!r} of the run is not here, nor where the run was begun ({began or 'not known'}): "
            "say where it is with --data"
        )
    return f"{head}{moved}{option}"


def is_of_python(source: str) -> bool:
    """Return whether data is what a file of Python defines, which processes that prepare batches cannot import.

    >>> is_of_python("waves.py:WAVES"), is_of_python("pairs.csv")
    (True, False)
    """
    return _parted(source).option.startswith(":")


def short_name(source: str) -> str:
    """Return what files and folders are called after the data.

    >>> short_name("scenes:basic")
    'scenes-basic'
    """
    head, where, _ = _parted(source)
    if where is None or not _is_there(where):
        return re.sub(r"[:/\\\\]+", "-", source)
    stem = Path(where).stem
    if is_url(where) or is_pattern(where):
        stem = re.sub(r"[^\w.=-]+", "-", stem).strip("-.") or "data"
    return f"{head.replace(':', '-')}{stem}"


def _is_there(path: str) -> bool:
    """Return whether there is something at a path; a URL is asked when it is read."""
    if is_url(path):
        return True
    try:
        return bool(found(path)) if is_pattern(path) else os.path.exists(path)
    except (OSError, ValueError):
        return False


def _before_mark(source: str) -> str:
    """Return what stands before the first colon or comma."""
    return re.split("[:,]", source, maxsplit=1)[0]


class _Parted(NamedTuple):
    """The parts of what a user wrote: ``stamps:FOLDER,language=de`` is ``stamps:``, ``FOLDER`` and ``,language=de``.

    Attributes:
        head: the name of a benchmark or a collection, with its colon, or all of a name that is none of a file's
            (``hf:NAME``); empty before a mere path.
        path: a path, a URL or a pattern; None where there is none, as the data is found by its name alone.
        option: with its mark.
    """

    head: str
    path: str | None
    option: str


def _parted(source: str) -> _Parted:
    """Take apart what a user wrote; a file whose name looks like a path with an option is a file."""
    name = _before_mark(source)
    if name in WORLDS:
        return _Parted("", None, "")
    if name in COLLECTIONS:
        head, comma, options = source.partition(",")
        folder = head.removeprefix(name).removeprefix(":")
        return _Parted(f"{name}:" if folder else "", _plain(folder) if folder else None, comma + options)
    if name in BENCHMARKS and source.startswith(f"{name}:"):
        where, options = parted(source.removeprefix(f"{name}:"))
        return _Parted(f"{name}:", _plain(where), f",{options}" if options else "")
    where, options = parted(source)
    option = f",{options}" if options else ""
    if is_named(where):
        return _Parted(where, None, option)
    if (defined := named_in_file(where)) is not None:
        return _Parted("", str(defined[0]), f":{defined[1]}{option}")
    return _Parted("", _plain(where), option)


def _plain(path: str) -> str:
    """Return a path without what says nothing in it (``./a//b``); a URL as it is."""
    return path if is_url(path) else str(Path(path))


@lru_cache(maxsize=4)
def _slot(source: str, stamp: tuple[object, ...]) -> list[Data]:
    """Return where a data set is kept once it is open."""
    return []


def _stamp(source: str) -> tuple[object, ...]:
    """Return where a source is and when it was last written; pictures and texts one by one are not looked at."""
    path = _parted(source).path
    if path is None or is_url(path) or not _is_there(path):
        return ()
    if is_pattern(path):
        return tuple(found(path).items())
    inside = os.scandir(path) if os.path.isdir(path) else ()
    kinds = {_ANNOTATIONS, *suffixes()}
    told = [e for e in inside if e.is_dir() or (Path(e.name).suffix.lower() in kinds and e.is_file())]
    return (
        os.path.realpath(path),
        _written(os.stat(path)),
        *sorted((e.name, _written(e.stat())) for e in told),
    )


def _written(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_mtime_ns, stat.st_size


def _open(source: str, form: int | Fit) -> Data:
    if (name := _before_mark(source)) in WORLDS:
        return WORLDS.get(name).parse(source)
    head, where, option = _parted(source)
    if name in COLLECTIONS:
        return _collection(source, None if where is None else Path(where), form)
    if where is None:
        return _of_files(head, option, form)
    if head:
        if not os.path.exists(where):
            raise FileNotFoundError(f"{name}: there is no file or folder {where}")
        if is_named(f"{head}{where}"):  # to be trained on, too
            return _of_files(f"{head}{where}", option, form)
        if option:
            raise ValueError(f"{head}{where} is a benchmark, which takes no {option[1:].partition('=')[0]}=")
        return BENCHMARKS.get(name)(Path(where), side_of(form))
    if (Path(source) / "scenes.json").exists():
        from .worlds.scenes import shards

        return shards.read(Path(source))
    if is_of_python(source):
        symbol, comma, options = option[1:].partition(",")
        defined = _defined(Path(where), symbol)
        return defined if isinstance(defined, Data) else _of_files(f"{where}:{symbol}", comma + options, form)
    if is_index(Path(where)):
        from .sharded.data import open_index

        return open_index(Path(where), form, Options.parse(option[1:]).broken)
    if is_pattern(where) or _is_there(where):
        return _of_files(where, option, form)
    if any(mark in source for mark in "/\\."):
        raise FileNotFoundError(
            f"no data at {source!r}: expected a folder, a CSV, TSV, JSONL or Parquet file, a tar file, or "
            "FILE.py:NAME"
        )
    known = [*WORLDS.names(), *COLLECTIONS.names(), *(f"{name}:PATH" for name in BENCHMARKS.names())]
    raise unknown("data set", source, known)


def _of_files(place: str, option: str, form: int | Fit) -> Data:
    """Open what a source reads: pairs, or pictures alone."""
    from .pairs import Pairs
    from .photos import Photos
    from .stored import WithoutCaptions

    options = Options.parse(option[1:])
    treated: dict[str, Any] = {"looks": options.looks, "held_out": options.held_out}

    def all_of(place: str, ledger: Ledger) -> Records:
        return read(f"{place}{option}", ledger)

    try:
        return Pairs(place, form, options.broken, read=all_of, **treated)
    except WithoutCaptions:
        return Photos(place, form, options.broken, read=all_of, **treated)


def records_of(source: str, ledger: Ledger) -> Records | None:
    """Read a user's own files as records, whatever is wrong with them; None for data that is opened in other ways.

    Args:
        source: see `load_any`.
        ledger: is told what is left out.

    Raises:
        ValueError: if the files cannot be read at all.
    """
    name, (head, where, options) = _before_mark(source), _parted(source)
    if name in COLLECTIONS:
        collection = COLLECTIONS.get(name)()
        language = str(dict(Spec.parse(source).options).get("language", collection.language))
        return collection.read(collection.located(None if where is None else Path(where)), language, ledger)
    if where is None and is_named(head):
        return read(f"{head}{options}", ledger)
    if where is not None and head and is_named(f"{head}{where}"):
        return read(f"{head}{where}{options}", ledger)
    if where is None or head or is_of_python(source) or is_index(Path(where)):
        return None
    if not (is_pattern(where) or _is_there(where)) or (Path(where) / "scenes.json").exists():
        return None
    return read(f"{where}{options}", ledger)


def _collection(source: str, folder: Path | None, form: int | Fit) -> PairedData:
    """Return a collection as pairs; its options are a language and those of every data set."""
    from .pairs import Pairs

    name, options = _before_mark(source), dict(Spec.parse(source).options)
    collection = COLLECTIONS.get(name)()
    language = options.pop("language", collection.language)
    if language and not collection.language:
        raise ValueError(f"{source!r}: {name} has one language alone; leave language={language} out")
    if others := set(options) - set(OF_THE_WHOLE):
        raise unknown(f"option of {name}", min(others), ("language", *OF_THE_WHOLE))
    treated = Options.parse(",".join(f"{option}={value}" for option, value in options.items()))
    return Pairs(
        collection.located(folder),
        form,
        treated.broken,
        read=lambda root, ledger: collection.read(Path(root), language, ledger),
        name=source,
        attribution=collection.attribution,
        looks=treated.looks,
        held_out=treated.held_out,
    )


def _defined(file: Path, symbol: str) -> Data | type[Source]:
    """Return the data, or its source, that a file of Python defines; the file may register what else the data needs."""
    check_python_file(file)
    try:
        module = import_file(file)
    except Exception as error:
        raise ValueError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    defined = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Data) or (is_source(value) and value.__module__ == module.__name__)
    }
    if symbol not in defined:
        raise unknown(f"data in {file}", symbol, defined)
    return defined[symbol]
