"""Data that is read as records: files, what a file of Python defines, collections of pictures."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import final

from ...registry import check_python_file, import_file, unknown
from ...spec import Spec
from ...trust import UntrustedError
from ...types import Fit
from ..base import Data
from ..collections import COLLECTIONS
from ..collections._collection import Collection
from ..listed.pairs import Pairs
from ..listed.photos import Photos
from ..listed.stored import OtherColumnsError, StoredData, TooManyExamplesError
from ..listed.stored_rows import StoredRows
from ..pictured import PictureData
from ..sharded.cached_index import needs_index, open_cached_index
from ..sources import OF_THE_WHOLE, Ledger, Reader, Records, Source, SourceOptions, is_source, read, read_some
from .kind import DataResolver

_PARTS = 5  # of a large table, of which is told as of a sample


class FilesResolver(DataResolver):
    """Whatever a source reads; what is more than is read before training gets an index by itself.

    An index leaves out rows with gaps. So data other than pictures that has such rows is read as a whole, unless it is
    too much for that.
    """

    def open(self, form: int | Fit) -> Data:
        if needs_index(self._whole):
            indexed = open_cached_index(self._whole, form)
            if isinstance(indexed, PictureData) or not indexed.index.lacking:
                return indexed
        try:
            return _read_files(self._location, self.rest, self.options, form)
        except TooManyExamplesError:
            return open_cached_index(self._whole, form)

    @property
    def options(self) -> SourceOptions:
        return SourceOptions.parse(self.rest[1:])

    def records(self, ledger: Ledger) -> Records:
        return read(self._whole, ledger)

    def some_records(self, ledger: Ledger) -> tuple[Records, float]:
        return read_some(self._whole, ledger, _PARTS)

    @property
    def _location(self) -> str:
        return f"{self.head}{self.path or ''}"

    @property
    def _whole(self) -> str:
        return f"{self._location}{self.rest}"


@final
class PythonFileResolver(DataResolver):
    """Data, or a source of it, that a file of Python defines; the file may register what else the data needs."""

    def open(self, form: int | Fit) -> Data:
        symbol, options = self._parts
        defined = self._defined(symbol)
        return (
            defined
            if isinstance(defined, Data)
            else _read_files(f"{self.path}:{symbol}", options, self.options, form)
        )

    @property
    def options(self) -> SourceOptions:
        return SourceOptions.parse(self._parts[1][1:])

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
        except UntrustedError:
            raise
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
class CollectionResolver(DataResolver):
    """A collection of pictures with words; its options are a language, columns and those of every data set."""

    def open(self, form: int | Fit) -> Data:
        collection, *_, options = self._parts
        return _stored(
            self._root(collection),
            form,
            options,
            lambda root, ledger: self._read(Path(root), ledger),
            name=self.source,
            attribution=collection.attribution,
        )

    @property
    def options(self) -> SourceOptions:
        return self._parts[2]

    def records(self, ledger: Ledger) -> Records:
        return self._read(self._root(self._parts[0]), ledger)

    def _read(self, root: Path, ledger: Ledger) -> Records:
        collection, language, options = self._parts
        for column in options.columns:
            if column not in collection.columns:
                raise unknown(f"column of {self.name}", column, collection.columns)
        columns = tuple(options.columns) or collection.usual(root, language)
        return collection.read(root, language or collection.language, columns, ledger)

    def _root(self, collection: Collection) -> Path:
        return collection.located(None if self.path is None else Path(self.path))

    @property
    def _parts(self) -> tuple[Collection, str, SourceOptions]:
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
            SourceOptions.parse(",".join(f"{name}={value}" for name, value in options.items())),
        )


def _read_files(location: str, rest: str, options: SourceOptions, form: int | Fit) -> Data:
    def all_of(location: str, ledger: Ledger) -> Records:
        return read(f"{location}{rest}", ledger)

    return _stored(location, form, options, all_of)


def _stored(
    location: str | Path,
    form: int | Fit,
    options: SourceOptions,
    read: Reader,
    *,
    name: str = "",
    attribution: str = "",
) -> StoredData:
    """Return what a reader reads as the kind of data that its columns make it."""
    kinds: tuple[type[StoredData], ...] = (Pairs, Photos)
    for kind in kinds:
        with suppress(OtherColumnsError):
            return kind(location, form, options, read=read, name=name, attribution=attribution)
    return StoredRows(location, form, options, read=read, name=name, attribution=attribution)
