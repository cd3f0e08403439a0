"""From what a user wrote to the kind of data that it is, which is decided here, once."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ...files import read_json
from ...registry import named_in_file
from ...spec import Spec
from ...types import Fit
from ..base import Data
from ..benchmarks import BENCHMARKS
from ..collections import COLLECTIONS
from ..derived import captioned, voxels
from ..derived.albums import AlbumData, albums_of, with_albums
from ..derived.conversations import COLUMN, ConversationData, talk_of, with_talk
from ..derived.detected import DetectedData, Tools, tools_of, with_tools
from ..derived.gaps import Gap, gaps_of, with_gaps
from ..derived.missing import MissingValuesData
from ..derived.mixed import MixedData
from ..derived.mixture import MixtureComponent, parts_of
from ..derived.questions import QuestionData, questions_of, with_questions
from ..derived.replied import MANIFEST, TABLE, RepliedData, RepliesManifest
from ..derived.voxels import Simulation, Voxels
from ..named import not_found
from ..pictures.decode import side_of
from ..sharded.index import is_index
from ..sharded.open_index import open_index
from ..sources import Ledger, Records, SourceOptions, files_of, is_named, is_pattern, is_url, parted
from ..synthetic import WORLDS
from .files import CollectionResolver, FilesResolver, PythonFileResolver
from .kind import DataResolver, name_of

_log = logging.getLogger(__name__)


def parse(source: str) -> DataResolver:
    """Return what a user wrote as the kind of data that it is; a file whose name has an option's form is a file.

    >>> parse("scenes:basic").path is None, parse("stamps:it,language=de").rest, parse("hf:NAME").head
    (True, ',language=de', 'hf:NAME')

    Raises:
        ValueError: for sources that cannot be mixed as they are written, and for no name at all.
    """
    if not source.strip():  # which would be the current folder
        raise ValueError("no data is named: write a name, a folder or a file")
    if parts := parts_of(source):
        return _Mixture(source, parts=tuple(parts))
    whole, gaps = gaps_of(source)
    if gaps:
        parsed = parse(whole)
        rest = parsed.rest + with_gaps("", [str(gap) for gap in gaps])
        return _Gappy(source, parsed.head, parsed.path, rest, whole=parsed, gaps=gaps)
    whole, asked = questions_of(source)
    if asked:
        parsed = parse(whole)
        rest = with_questions(parsed.rest, asked)
        return _Asked(source, parsed.head, parsed.path, rest, whole=parsed, asked=asked)
    whole, forms = albums_of(source)
    if forms:
        parsed = parse(whole)
        rest = with_albums(parsed.rest, forms)
        return _Albums(source, parsed.head, parsed.path, rest, whole=parsed, forms=forms)
    whole, tools = tools_of(source)
    if tools:
        parsed = parse(whole)
        rest = with_tools(parsed.rest, tools)
        return _Detected(source, parsed.head, parsed.path, rest, whole=parsed, tools=tools)
    whole, parts_of_talk = talk_of(source)
    if parts_of_talk:
        parsed = parse(whole)
        rest = with_talk(parsed.rest, parts_of_talk)
        return _Talking(source, parsed.head, parsed.path, rest, whole=parsed, parts=parts_of_talk)
    name = name_of(source)
    if name == voxels.NAME:
        inner, _, options = Simulation.parse(source)
        of = parse(inner)
        return _Simulated(source, f"{name}:{of.head}", of.path, f"{of.rest}{options}")
    if name in WORLDS and (name == source or not os.path.exists(source)):
        return _World(source)
    if name in COLLECTIONS:
        head, comma, options = source.partition(",")
        folder = head.removeprefix(name).removeprefix(":")
        return CollectionResolver(source, f"{name}:", _plain(folder) if folder else None, comma + options)
    head = f"{name}:" if name in BENCHMARKS and source.startswith(f"{name}:") else ""
    where, options = parted(source.removeprefix(head))
    rest = f",{options}" if options else ""
    if head:  # what can be trained on, too, is read as files
        kind = FilesResolver if is_named(f"{head}{where}") else _Benchmark
        return kind(source, head, _plain(where), rest)
    if is_named(where):
        head, path = where[: where.index(":") + 1], where[where.index(":") + 1 :]
        return (
            FilesResolver(source, head, _plain(path), rest)
            if is_there(path)
            else FilesResolver(source, where, None, rest)
        )
    if (defined := named_in_file(where)) is not None:
        return PythonFileResolver(source, "", str(defined[0]), f":{defined[1]}{rest}")
    path = _plain(where)
    if not is_there(path):
        # A pattern of nothing says so when it is read.
        return (FilesResolver if is_pattern(path) else _Missing)(source, "", path, rest)
    if not options and os.path.exists(Path(path) / "scenes.json"):
        return _Scenes(source, "", path)
    if not options and all(os.path.exists(Path(path) / name) for name in (TABLE, MANIFEST)):
        return _Replied(source, "", path)
    if not options and all(
        os.path.exists(Path(path) / name) for name in (captioned.TABLE, captioned.MANIFEST)
    ):
        return _Captioned(source, "", path)
    return (_Indexed if is_index(Path(path)) else FilesResolver)(source, "", path, rest)


def is_there(path: str) -> bool:
    """Return whether there is something at a path; a URL is asked when it is read."""
    if is_url(path):
        return True
    try:
        return bool(files_of(path)) if is_pattern(path) else os.path.exists(path)
    except (OSError, ValueError):
        return False


@final
@dataclass(frozen=True)
class _Mixture(DataResolver):
    """Several sources, each of a kind of its own."""

    parts: tuple[MixtureComponent, ...] = ()

    def open(self, form: int | Fit) -> Data:
        return MixedData.of(self.parts, [parse(part.source).open(form) for part in self.parts], self.source)


@final
class _Simulated(DataResolver):
    """Pictures of any kind, with simulated voxels."""

    def open(self, form: int | Fit) -> Data:
        inner, simulation, _ = Simulation.parse(self.source)
        return Voxels(parse(inner).open(form), simulation, self.source)


@final
class _World(DataResolver):
    """A world that is made, not read."""

    def open(self, form: int | Fit) -> Data:
        if os.path.isdir(self.source):
            _log.info(
                "%s is what counterpoint makes, and not the folder of that name: write ./%s for the folder",
                self.source,
                self.source,
            )
        return WORLDS.get(self.name).parse(self.source)


@final
@dataclass(frozen=True, kw_only=True)
class _Talking(DataResolver):
    """Data with conversations made of its questions and captions.

    Attributes:
        whole: without them.
        parts: that they are made of.
    """

    whole: DataResolver
    parts: str

    def open(self, form: int | Fit) -> Data:
        return ConversationData(self.whole.open(form), self.parts)

    @property
    def options(self) -> SourceOptions:
        return self.whole.options

    def records(self, ledger: Ledger) -> Records | None:
        return self.whole.records(ledger)


@final
@dataclass(frozen=True, kw_only=True)
class _Albums(DataResolver):
    """Data whose pictures stand in albums.

    Attributes:
        whole: without them.
        forms: of the albums.
    """

    whole: DataResolver
    forms: str

    def open(self, form: int | Fit) -> Data:
        return AlbumData(self.whole.open(form), self.forms)

    @property
    def options(self) -> SourceOptions:
        return self.whole.options

    def records(self, ledger: Ledger) -> Records | None:
        return self.whole.records(ledger)


@final
@dataclass(frozen=True, kw_only=True)
class _Detected(DataResolver):
    """Data whose requests state detections.

    Attributes:
        whole: without them.
        tools: that detect.
    """

    whole: DataResolver
    tools: Tools

    def open(self, form: int | Fit) -> Data:
        return DetectedData(self.whole.open(form), self.tools)

    @property
    def options(self) -> SourceOptions:
        return self.whole.options

    def records(self, ledger: Ledger) -> Records | None:
        return self.whole.records(ledger)


@final
@dataclass(frozen=True, kw_only=True)
class _Asked(DataResolver):
    """Data whose rows are questions about other data.

    Attributes:
        whole: the other data.
        asked: which questions.
    """

    whole: DataResolver
    asked: str

    def open(self, form: int | Fit) -> Data:
        return QuestionData(self.whole.open(form), self.asked)


@final
@dataclass(frozen=True, kw_only=True)
class _Gappy(DataResolver):
    """Data of which values are withheld.

    Attributes:
        whole: all of it.
        gaps: what is withheld.
    """

    whole: DataResolver
    gaps: tuple[Gap, ...]

    def open(self, form: int | Fit) -> Data:
        return MissingValuesData(self.whole.open(form), self.gaps, self.source)

    @property
    def options(self) -> SourceOptions:
        return self.whole.options

    def records(self, ledger: Ledger) -> Records | None:
        return self.whole.records(ledger)


@final
class _Benchmark(DataResolver):
    """A public benchmark, in a folder or a file."""

    def open(self, form: int | Fit) -> Data:
        path = Path(self.path or "")
        if not path.exists():
            raise FileNotFoundError(f"{self.name}: there is no file or folder {path}")
        if self.rest:
            raise ValueError(
                f"{self.head}{path} is a benchmark, which takes no {self.rest[1:].partition('=')[0]}="
            )
        return BENCHMARKS.get(self.name)(path, side_of(form))


@final
class _Scenes(DataResolver):
    """Scenes that were written to files, with all that is known of them."""

    def open(self, form: int | Fit) -> Data:
        from ..synthetic.scenes import shards

        return shards.read(Path(self.source))


@final
class _Replied(DataResolver):
    """A folder of worse replies to the requests of other data."""

    def open(self, form: int | Fit) -> Data:
        folder = Path(self.path or "")
        manifest = read_json(
            folder / MANIFEST, RepliesManifest, f"delete {folder} and make the replies again"
        )
        data = parse(manifest.source).open(form)
        if COLUMN not in data.columns:
            data = ConversationData(data)
        return RepliedData.of_folder(folder, data, self.source)


@final
class _Captioned(DataResolver):
    """A folder of captions of the pictures of other data."""

    def open(self, form: int | Fit) -> Data:
        folder = Path(self.path or "")
        manifest = read_json(
            folder / captioned.MANIFEST,
            captioned.CaptionsManifest,
            f"delete {folder} and make the captions again",
        )
        return captioned.CaptionedData.of_folder(folder, parse(manifest.source).open(form), self.source)


@final
class _Indexed(DataResolver):
    """A folder with the index of a source."""

    def open(self, form: int | Fit) -> Data:
        options = SourceOptions.parse(self.rest[1:])
        others = [f"{k}={v}" for k, v in Spec.parse(f"data{self.rest}").options.items() if k != "broken"]
        if others:
            raise ValueError(
                f"{self.path} is an index: give {','.join(others)} to the data that it is made of"
            )
        return open_index(Path(self.path or ""), form, options.broken)


@final
class _Missing(DataResolver):
    """A text that nothing is found by."""

    def open(self, form: int | Fit) -> Data:
        raise not_found(self.source)


def _plain(path: str) -> str:
    """Return a path without what says nothing in it (``./a//b``); a URL as it is."""
    return path if is_url(path) else str(Path(path))
