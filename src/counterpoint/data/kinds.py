"""The kinds of data that a user may write after ``--data``: which it is is decided here, once, and how it is opened."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ..registry import check_python_file, import_file, named_in_file, unknown
from ..spec import Spec
from ..types import Fit
from .base import Data
from .benchmarks import BENCHMARKS
from .collections import COLLECTIONS
from .collections._collection import Collection
from .derived import voxels
from .derived.gaps import Gap, gaps_of, with_gaps
from .derived.missing import Missing
from .derived.mixed import Mixed
from .derived.mixture import Part, parts_of
from .derived.voxels import Simulation, Voxels
from .listed.pairs import Pairs
from .listed.photos import Photos
from .listed.recorded import Recorded
from .listed.stored import OtherColumns, Stored, TooMany
from .pictures.decode import side_of
from .sharded.data import open_index
from .sharded.index import is_index
from .sharded.unasked import is_much, open_unasked
from .sources import (
    OF_THE_WHOLE,
    Ledger,
    Options,
    Reader,
    Records,
    Source,
    found,
    is_named,
    is_pattern,
    is_source,
    is_url,
    parted,
    read,
    read_some,
)
from .worlds import WORLDS

_PARTS = 5  # of a large table, of which is told as of a sample


@dataclass(frozen=True)
class Written(ABC):
    """Data as a user wrote it: ``stamps:FOLDER,language=de`` is ``stamps:``, ``FOLDER`` and ``,language=de``.

    Attributes:
        source: all of it.
        head: the name of a benchmark or a collection, with its colon, or all of a name that is none of a file's
            (``hf:NAME``); empty before a mere path.
        path: a path, a URL or a pattern; None where there is none, as the data is found by its name alone.
        rest: whatever follows the path, with its mark: the name in a file of Python, options.
    """

    source: str
    head: str = ""
    path: str | None = None
    rest: str = ""

    @property
    def name(self) -> str:
        """The text before the first colon or comma."""
        return _name(self.source)

    def at(self, path: str) -> str:
        """Return what the user would have written with another path."""
        return f"{self.head}{path}{self.rest}"

    @abstractmethod
    def open(self, form: int | Fit) -> Data:
        """Open the data, its pictures of a form.

        Raises:
            ValueError: if there is nothing that can be used; the message says what was expected.
        """

    @property
    def options(self) -> Options:
        """The user's word on how files are read."""
        return Options()

    def records(self, ledger: Ledger) -> Records | None:
        """Read the data as records, whatever is wrong with it; None where it is opened in other ways.

        Args:
            ledger: is told what is left out.
        """
        return None

    def some_records(self, ledger: Ledger) -> tuple[Records | None, float]:
        """Read a part of what is too much to be read at once, else all of it, as `records`; and the share read."""
        return self.records(ledger), 1.0


def written(source: str) -> Written:
    """Return what a user wrote as the kind of data that it is; a file whose name has an option's form is a file.

    >>> written("scenes:basic").path is None, written("stamps:it,language=de").rest, written("hf:NAME").head
    (True, ',language=de', 'hf:NAME')

    Raises:
        ValueError: for sources that cannot be mixed as they are written.
    """
    if parts := parts_of(source):
        return _Mixture(source, parts=tuple(parts))
    whole, gaps = gaps_of(source)
    if gaps:
        there = written(whole)
        rest = there.rest + with_gaps("", [str(gap) for gap in gaps])
        return _Gappy(source, there.head, there.path, rest, whole=there, gaps=gaps)
    name = _name(source)
    if name == voxels.NAME:
        inner, _, options = Simulation.parse(source)
        of = written(inner)
        return _Simulated(source, f"{name}:{of.head}", of.path, f"{of.rest}{options}")
    if name in WORLDS:
        return _World(source)
    if name in COLLECTIONS:
        head, comma, options = source.partition(",")
        folder = head.removeprefix(name).removeprefix(":")
        return _Collected(source, f"{name}:", _plain(folder) if folder else None, comma + options)
    head = f"{name}:" if name in BENCHMARKS and source.startswith(f"{name}:") else ""
    where, options = parted(source.removeprefix(head))
    rest = f",{options}" if options else ""
    if head:  # what can be trained on, too, is read as files
        kind = _Files if is_named(f"{head}{where}") else _Benchmark
        return kind(source, head, _plain(where), rest)
    if is_named(where):
        head, path = where[: where.index(":") + 1], where[where.index(":") + 1 :]
        return (
            _Files(source, head, _plain(path), rest) if is_there(path) else _Files(source, where, None, rest)
        )
    if (defined := named_in_file(where)) is not None:
        return Defined(source, "", str(defined[0]), f":{defined[1]}{rest}")
    path = _plain(where)
    if (Path(path) / "scenes.json").exists() and not options:
        return _Scenes(source, "", path)
    if is_index(Path(path)):
        return _Indexed(source, "", path, rest)
    return (_Files if is_pattern(path) or is_there(path) else _Missing)(source, "", path, rest)


def is_there(path: str) -> bool:
    """Return whether there is something at a path; a URL is asked when it is read."""
    if is_url(path):
        return True
    try:
        return bool(found(path)) if is_pattern(path) else os.path.exists(path)
    except (OSError, ValueError):
        return False


@final
@dataclass(frozen=True)
class _Mixture(Written):
    """Several sources, each of a kind of its own."""

    parts: tuple[Part, ...] = ()

    def open(self, form: int | Fit) -> Data:
        return Mixed.of(self.parts, [written(part.source).open(form) for part in self.parts], self.source)


@final
class _Simulated(Written):
    """Pictures of any kind, with simulated voxels."""

    def open(self, form: int | Fit) -> Data:
        inner, simulation, _ = Simulation.parse(self.source)
        return Voxels(written(inner).open(form), simulation, self.source)


@final
class _World(Written):
    """A world that is made, not read."""

    def open(self, form: int | Fit) -> Data:
        world: Data = WORLDS.get(self.name).parse(self.source)
        return world


@final
@dataclass(frozen=True, kw_only=True)
class _Gappy(Written):
    """Data of which values are withheld.

    Attributes:
        whole: all of it.
        gaps: what is withheld.
    """

    whole: Written
    gaps: tuple[Gap, ...]

    def open(self, form: int | Fit) -> Data:
        return Missing(self.whole.open(form), self.gaps, self.source)

    @property
    def options(self) -> Options:
        return self.whole.options

    def records(self, ledger: Ledger) -> Records | None:
        return self.whole.records(ledger)


class _Files(Written):
    """Whatever a source reads; what is more than is read before training gets an index by itself."""

    def open(self, form: int | Fit) -> Data:
        if is_much(self._whole):
            with suppress(OtherColumns):
                return open_unasked(self._whole, form)
        try:
            return _opened(self._place, self.rest, self.options, form)
        except TooMany:
            return open_unasked(self._whole, form)

    @property
    def options(self) -> Options:
        return Options.parse(self.rest[1:])

    def records(self, ledger: Ledger) -> Records:
        return read(self._whole, ledger)

    def some_records(self, ledger: Ledger) -> tuple[Records, float]:
        return read_some(self._whole, ledger, _PARTS)

    @property
    def _place(self) -> str:
        return f"{self.head}{self.path or ''}"

    @property
    def _whole(self) -> str:
        return f"{self._place}{self.rest}"


@final
class Defined(Written):
    """Data, or a source of it, that a file of Python defines; the file may register what else the data needs."""

    def open(self, form: int | Fit) -> Data:
        symbol, options = self._parts
        defined = self._defined(symbol)
        return (
            defined
            if isinstance(defined, Data)
            else _opened(f"{self.path}:{symbol}", options, self.options, form)
        )

    @property
    def options(self) -> Options:
        return Options.parse(self._parts[1][1:])

    def records(self, ledger: Ledger) -> Records | None:
        symbol, options = self._parts
        if isinstance(self._defined(symbol), Data):
            return None
        return read(f"{self.path}:{symbol}{options}", ledger)

    @property
    def _parts(self) -> tuple[str, str]:
        symbol, comma, options = self.rest[1:].partition(",")
        return symbol, comma + options

    def _defined(self, symbol: str) -> Data | type[Source]:
        file = Path(self.path or "")
        check_python_file(file)
        try:
            module = import_file(file)
        except Exception as error:  # whatever a user's own file raises
            raise ValueError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
        defined = {
            name: value
            for name, value in vars(module).items()
            if isinstance(value, Data) or (is_source(value) and value.__module__ == module.__name__)
        }
        if symbol not in defined:
            raise unknown(f"data in {file}", symbol, defined)
        return defined[symbol]


@final
class _Collected(Written):
    """A collection of pictures with words; its options are a language, columns and those of every data set."""

    def open(self, form: int | Fit) -> Data:
        collection, *_, options = self._parts
        return _kept(
            self._place(collection),
            form,
            options,
            lambda root, ledger: self._read(Path(root), ledger),
            name=self.source,
            attribution=collection.attribution,
        )

    @property
    def options(self) -> Options:
        return self._parts[2]

    def records(self, ledger: Ledger) -> Records:
        return self._read(self._place(self._parts[0]), ledger)

    def _read(self, root: Path, ledger: Ledger) -> Records:
        collection, language, options = self._parts
        for column in options.columns:
            if column not in collection.columns:
                raise unknown(f"column of {self.name}", column, collection.columns)
        columns = tuple(options.columns) or collection.usual(root, language)
        return collection.read(root, language or collection.language, columns, ledger)

    def _place(self, collection: Collection) -> Path:
        return collection.located(None if self.path is None else Path(self.path))

    @property
    def _parts(self) -> tuple[Collection, str, Options]:
        collection: Collection = COLLECTIONS.get(self.name)()
        options = dict(Spec.parse(self.source).options)
        language = options.pop("language", "")
        if language and not collection.language:
            raise ValueError(
                f"{self.source!r}: {self.name} has one language alone; leave language={language} out"
            )
        if others := set(options) - {"columns", *OF_THE_WHOLE}:
            raise unknown(f"option of {self.name}", min(others), ("language", "columns", *OF_THE_WHOLE))
        return (
            collection,
            language,
            Options.parse(",".join(f"{name}={value}" for name, value in options.items())),
        )


@final
class _Benchmark(Written):
    """A public benchmark, in a folder or a file."""

    def open(self, form: int | Fit) -> Data:
        path = Path(self.path or "")
        if not path.exists():
            raise FileNotFoundError(f"{self.name}: there is no file or folder {path}")
        if self.rest:
            raise ValueError(
                f"{self.head}{path} is a benchmark, which takes no {self.rest[1:].partition('=')[0]}="
            )
        benchmark: Data = BENCHMARKS.get(self.name)(path, side_of(form))
        return benchmark


@final
class _Scenes(Written):
    """Scenes that were written to files, with all that is known of them."""

    def open(self, form: int | Fit) -> Data:
        from .worlds.scenes import shards

        return shards.read(Path(self.source))


@final
class _Indexed(Written):
    """A folder with the index of a source."""

    def open(self, form: int | Fit) -> Data:
        options = Options.parse(self.rest[1:])
        if options.max_pixels != Options.max_pixels:
            raise ValueError(
                f"{self.path} is an index: give max-pixels={options.max_pixels} to the data that it is made of"
            )
        return open_index(Path(self.path or ""), form, options.broken)


@final
class _Missing(Written):
    """A text that nothing is found by."""

    def open(self, form: int | Fit) -> Data:
        if any(mark in self.source for mark in "/\\."):
            raise FileNotFoundError(
                f"no data at {self.source!r}: expected a folder, a CSV, TSV, JSONL or Parquet file, a tar file, or "
                "FILE.py:NAME"
            )
        simulated, benchmarks = f"{voxels.NAME}:SOURCE", (f"{name}:PATH" for name in BENCHMARKS.names())
        known = [*WORLDS.names(), simulated, *COLLECTIONS.names(), *benchmarks]
        raise unknown("data set", self.source, known)


def _opened(place: str, rest: str, options: Options, form: int | Fit) -> Data:
    def all_of(place: str, ledger: Ledger) -> Records:
        return read(f"{place}{rest}", ledger)

    return _kept(place, form, options, all_of)


def _kept(
    place: str | Path,
    form: int | Fit,
    options: Options,
    read: Reader,
    *,
    name: str = "",
    attribution: str = "",
) -> Stored:
    """Return what a reader reads as the kind of data that its columns make it."""
    treated: dict[str, Any] = {
        "read": read,
        "name": name,
        "attribution": attribution,
        "looks": options.looks,
        "held_out": options.held_out,
        "most_pixels": options.max_pixels,
    }
    kinds: tuple[type[Stored], ...] = (Pairs, Photos)
    for kind in kinds:
        with suppress(OtherColumns):
            return kind(place, form, options.broken, **treated)
    return Recorded(place, form, options.broken, **treated)


def _name(source: str) -> str:
    return re.split("[:,]", source, maxsplit=1)[0]


def _plain(path: str) -> str:
    """Return a path without what says nothing in it (``./a//b``); a URL as it is."""
    return path if is_url(path) else str(Path(path))
