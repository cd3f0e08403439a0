"""Pictures, sounds, clips or series in a folder: with a text beside each, with captions from names, or without any."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ...modalities import MODALITIES
from ...reasons import counted
from ._files.asset import Asset
from ._files.locations import below, readable, state_of
from ._files.text import caption_lines, decoded
from ._ledger import Ledger
from ._names import TEXT_ENDINGS, split_of
from ._options import SourceOptions
from ._record import FOLDER, Cell, Record, Records
from ._source import Shard, Source
from ._values import Identities, caption_names, captions_in, facts_in
from .tables.table import TableSource

_Said = tuple[tuple[str, ...], dict[str, Any]]
"""Captions, and what else the files beside a picture say."""
_ABOUT = re.compile(
    r"(read.?me|licen[cs]e|copying|notice|authors|credits|change(s|log)|attribution)", re.IGNORECASE
)
"""Names of texts that are about a folder and caption nothing."""
_NAMED = 3  # tables that a message names
_BESIDE = {
    **dict.fromkeys((*MODALITIES.get("audio").endings, ".m4a"), "audio"),
    **dict.fromkeys(MODALITIES.get("video").endings, "video"),
    **dict.fromkeys(MODALITIES.get("transcript").endings, "transcript"),
}
"""Suffixes of files of other modalities, which belong to the picture of the same name."""
_MAP = MODALITIES.get("map")
_MASKS = "masks"
_MASK_ENDINGS = (".png", ".npy", ".tif", ".tiff", ".bmp", ".gif")


@final
class FolderSource(Source):
    """Pictures in a folder and its subfolders, with or without captions; else sounds, clips or series.

    Captions are in a file of the picture's name beside it: a ``.txt`` or ``.caption`` with one a line, or a ``.json``
    with ``text`` or ``caption``, which may also hold ``split``, ``id`` and ``group``; its other texts and numbers are
    labels. Where no file beside any picture says a caption, there are none, and every picture is read.
    ``captions=path``, ``name`` or ``folder`` makes them of names instead, where a user asks for it. Sounds, videos
    and subtitles of a picture's name belong to its record. Pictures of one name (``owl.png``, ``owl.svg``) are of one
    group; with ``group=folder`` all pictures of a folder are, so that whole classes are held out.
    A folder ``masks`` holds maps of the pictures: files of the same names, in the same folders, whose pixels are
    classes. ``masks/classes.txt`` names the classes, one a line.
    If every picture lies in a folder of its kind (``cat/1.jpg``), that folder's name becomes the label ``folder``, of
    as many classes as there are; a single folder around them that is called after a split (``train/cat/1.jpg``) is not
    one of these.
    """

    precedence = 4
    takes = frozenset({"captions"})

    def recognises(self, written: str) -> bool:
        return os.path.isdir(written)

    def shards(self, written: str, options: SourceOptions, ledger: Ledger) -> list[Shard]:
        return [Shard("pictures", written, "folder", state_of(below(Path(written))), options)]

    def open(self, shard: Shard, ledger: Ledger) -> Records:
        """Read the pictures that have captions, or all if none has.

        Raises:
            ValueError: if there are no pictures, or texts or tables that belong to none.
        """
        folder, named = Path(shard.location), shard.options.captions
        masks, files = _masks(folder, list(below(folder)))
        main = _main(files)
        pictures = [file for file in files if _kinds().get(file.suffix.lower()) == main]
        beside = _sidecars(files, {_stem(picture) for picture in pictures}, main)
        noted = {stem for stem, notes in beside.items() if notes.keys() & {"text", "json"}}
        if named is None and not noted:
            _refuse_alone(folder, files, pictures, main)
        captioned = named is None and _captioned(beside.values())
        chosen = [picture for picture in pictures if not captioned or _stem(picture) in noted]
        if not chosen:
            raise ValueError(f"{folder} holds no {_noun(main)}: {_expected(main)}")
        located = {picture: mask for picture in chosen if (mask := _mask_of(folder, picture, masks))}
        used = {*chosen, *(file for picture in chosen for file in beside.get(_stem(picture), {}).values())}
        for file in files:
            if file not in used:
                ledger.add("passed over", _reason(file, main), file)
        for file in set(masks.values()) - set(located.values()):
            ledger.add("passed over", f"{_MAP.one} of no {MODALITIES.get(main).one}", file)
        columns = {main: main} | ({"text": "text"} if named or captioned else {})
        others = {name: name for notes in beside.values() for name in notes if name in _BESIDE.values()}
        if located:
            others[_MAP.name] = _MAP.name
        contents = _FolderContents(folder, main, beside, captioned, shard.options, located)
        return Records.collect(contents.records(chosen, ledger), columns | others, gaps=bool(others))


def _masks(folder: Path, files: list[Path]) -> tuple[dict[str, Path], list[Path]]:
    """Return the maps in the folder `_MASKS` by their paths there without suffixes, and the other files.

    There are none unless a file outside has the name of one: the folder may well be one of pictures of masks.
    """
    inside = [file for file in files if file.relative_to(folder).parts[0] == _MASKS]
    masks = {
        _stem(file.relative_to(folder / _MASKS)): file
        for file in inside
        if file.suffix.lower() in _MASK_ENDINGS
    }
    outside = [file for file in files if file.relative_to(folder).parts[0] != _MASKS]
    if not any(_mask_of(folder, file, masks) for file in outside):
        return {}, files
    return masks, outside


def _mask_of(folder: Path, picture: Path, masks: Mapping[str, Path]) -> Path | None:
    """Return the map of a picture: of the same path within `_MASKS`, or within it and without the first folder."""
    path = picture.relative_to(folder)
    return masks.get(_stem(path)) or masks.get(_stem(Path(*path.parts[1:])))


def _noun(main: str) -> str:
    return MODALITIES.get(main).noun


def _expected(main: str) -> str:
    """Return what a folder of files of a modality may hold."""
    return (
        f"expected {_noun(main)}, in a folder for each kind or with a .txt caption beside each, a metadata.csv (or "
        ".jsonl, .parquet) with columns file_name and text, or .tar shards"
    )


def _kinds() -> dict[str, str]:
    """Return the modality of the files of each suffix."""
    return _BESIDE | {ending: modality.name for modality in MODALITIES for ending in modality.endings}


def _main(files: Iterable[Path]) -> str:
    """Return the modality of what a folder's examples are: of those that are read the first that it has files of."""
    suffixes, kinds = {file.suffix.lower() for file in files}, _kinds()
    names = {kinds[suffix] for suffix in suffixes if suffix in kinds}
    return next((modality.name for modality in MODALITIES if modality.name in names), MODALITIES.names()[0])


def _refuse_alone(folder: Path, files: Iterable[Path], pictures: list[Path], main: str) -> None:
    """Refuse a folder whose texts or tables are of no picture, since they would be passed over with all captions."""
    tables = [file.name for file in files if file.suffix.lower() in TableSource.suffixes]
    texts = [file for file in files if file.suffix.lower() in TEXT_ENDINGS and not _ABOUT.match(file.name)]
    if tables:
        some = ", ".join(sorted(tables)[:_NAMED]) + ", …" * (len(tables) > _NAMED)
        raise ValueError(
            f"{folder}: {_expected(main)}; give the path of the table that names the files: {some}"
        )
    if not pictures:
        raise ValueError(f"{folder} holds no {_noun(main)}: {_expected(main)}")
    if texts:
        alone = f"of {counted(len(pictures), MODALITIES.get(main).one)} there none has one"
        raise ValueError(f"{folder}: {_expected(main)}; {alone}")


def _sidecars(files: Iterable[Path], stems: set[str], main: str) -> dict[str, dict[str, Path]]:
    """Return the files of a picture's name by what they hold: ``text``, ``json``, or another modality."""
    kinds = {**dict.fromkeys(TEXT_ENDINGS, "text"), ".json": "json"}
    kinds |= {suffix: kind for suffix, kind in _BESIDE.items() if kind != main}
    sidecars: dict[str, dict[str, Path]] = {}
    for file in files:
        kind = kinds.get(file.suffix.lower())
        if kind is not None and _stem(file) in stems:
            sidecars.setdefault(_stem(file), {}).setdefault(kind, file)
    return sidecars


def _captioned(sidecars: Iterable[Mapping[str, Path]]) -> bool:
    """Return whether a file beside a picture is there for its captions, be they empty; a ``.json`` may hold labels."""
    each = list(sidecars)
    return any("text" in notes for notes in each) or any(
        not set(caption_names({})).isdisjoint(_object(notes["json"], Ledger()) or {})
        for notes in each
        if "json" in notes
    )


def _object(file: Path, ledger: Ledger) -> dict[str, Any] | None:
    """Return the object that a ``.json`` holds, empty where it holds something else; None if it cannot be read."""
    try:
        values = json.loads(decoded(file.read_bytes(), ledger, file))
    except (ValueError, RecursionError) as error:
        ledger.add("lost", "broken JSON", file, detail=str(error))
        return None
    return values if isinstance(values, dict) else {}


def _reason(file: Path, main: str) -> str:
    """Return why a file is passed over."""
    suffix, one = file.suffix.lower(), MODALITIES.get(main).one
    if _kinds().get(suffix) == main:
        return f"{one} without a caption"
    if suffix in TEXT_ENDINGS:
        return f"text without a {one}"
    return f"{_BESIDE[suffix]} of no {one}" if suffix in _BESIDE else f"{suffix or file.name} file"


@final
@dataclass(frozen=True)
class _FolderContents:
    """The contents of a folder, as far as its records ask.

    Attributes:
        folder: that the user gave.
        main: the modality of its examples.
        sidecars: the files of a picture's name by what they hold; see `_beside`.
        captioned: texts beside pictures are their captions.
        options: the user's word.
        masks: pictures, each with the file of its map.
    """

    folder: Path
    main: str
    sidecars: Mapping[str, Mapping[str, Path]]
    captioned: bool
    options: SourceOptions
    masks: Mapping[Path, Path]

    def records(self, pictures: list[Path], ledger: Ledger) -> Iterator[Record]:
        """Yield the records of some pictures."""
        kinds = [picture.relative_to(self.folder).parts[:-1] for picture in pictures]
        around = {kind[:1] for kind in kinds}
        depth = int(len(around) == 1 and all(len(kind) > 1 and split_of(kind[0]) for kind in kinds))
        classes = all(len(kind) > depth for kind in kinds)
        names = Counter(map(_stem, pictures))
        last: tuple[str, _Said | None] | None = None
        ids = Identities()
        for picture, kind in zip(pictures, kinds, strict=True):
            if readable(str(picture)) != str(picture):
                ledger.add("lost", "name that is not UTF-8", picture)
                continue
            notes = self.sidecars.get(_stem(picture), {})
            cells: dict[str, Cell] = {self.main: Asset.of(picture)}
            cells |= {name: Asset.of(file) for name, file in notes.items() if name in _BESIDE.values()}
            if picture in self.masks:
                cells[_MAP.name] = Asset.of(self.masks[picture])
            facts: dict[str, Any] = {"group": None}
            if self.options.group == "folder" and kind:
                facts["group"] = kind[0]
            elif names[_stem(picture)] > 1:
                facts["group"] = Path(_stem(picture)).relative_to(self.folder).as_posix()
            if self.options.captions is not None:
                cells["text"] = (self.options.captions.of(picture.relative_to(self.folder)),)
            elif notes.keys() & {"text", "json"}:
                if last is None or last[0] != _stem(picture):  # one file may be beside several pictures
                    last = (_stem(picture), _read(notes, ledger, ids))
                read = last[1]
                if read is None:
                    continue
                captions, noted = read
                facts |= noted
                if self.captioned:
                    cells["text"] = captions
            if cells.get("text") in ((), ("",)):
                ledger.add("lost", "empty caption", notes.get("text", notes.get("json", picture)))
                continue
            labels = {**({FOLDER: kind[depth]} if classes else {}), **facts.pop("labels", {})}
            key = picture.relative_to(self.folder).as_posix()
            yield Record(cells, key, labels=labels, where=str(picture), **facts)


def _read(notes: Mapping[str, Path], ledger: Ledger, ids: Identities) -> _Said | None:
    """Return the captions in the files beside a picture, and what else they say; None if one cannot be read."""
    captions: tuple[str, ...] = ()
    facts: dict[str, Any] = {}
    if (text := notes.get("text")) is not None:
        captions = caption_lines(decoded(text.read_bytes(), ledger, text), ledger, text)
    if (file := notes.get("json")) is not None:
        values = _object(file, ledger)
        if values is None:
            return None
        captions = captions or captions_in(values, str(file), {})
        facts = facts_in(values, str(file), {}, caption_names({}), ids)
    return captions, facts


def _stem(path: Path) -> str:
    """Return the path of a file without its suffix, as a text: there are very many."""
    return os.fspath(path).removesuffix(path.suffix)
