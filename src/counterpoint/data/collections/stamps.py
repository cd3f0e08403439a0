"""Tux Paint's stamps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import final

from ...modalities import PAIR
from ...registry import unknown
from ..sources import Asset, Cell, Ledger, Record, Records
from ._collection import Collection

_TRANSLATED = re.compile(r"([\w@]+)\.utf8=(.*)")
_SOUNDS = (".ogg", ".wav")


@final
class Stamps(Collection):
    """951 pictures of things, about half of them cut-out photographs, with captions in up to 78 languages.

    Captions are short ("A round tower with a pink flag."), of four words on average. The label ``kind`` is the folder
    (animals, food, vehicles …, 16 of them); a quarter of the pictures are of letters, digits and signs (``symbols``).
    English is complete; in another language (``stamps,language=de``) pictures without a caption are passed over.

    In 15 languages people read captions aloud, hardly any in English, nearly all in French or Spanish, say: where such
    a language is asked for (``stamps,language=fr``), these recordings are the column ``audio``, and all pictures are
    rows, whatever they lack. The column ``sound``, what things sound like, has a tenth of the pictures; it is there
    where it is asked for (``--columns image sound``).

    Source: Tux Paint, Debian's package ``tuxpaint-stamps-default``, GPL-2.
    """

    package = "tuxpaint-stamps-default"
    home = Path("/usr/share/tuxpaint/stamps")
    attribution = "Stamps: Tux Paint, by Bill Kendrick and others, GPL-2"
    language = "en"
    columns = MappingProxyType({**PAIR, "audio": "audio", "sound": "audio"})

    def usual(self, root: Path, language: str) -> tuple[str, ...]:
        spoken = language and any(next(root.rglob(f"*{_read_aloud(language)}{end}"), None) for end in _SOUNDS)
        return (*PAIR, "audio") if spoken else tuple(PAIR)

    def read(self, root: Path, language: str, columns: Sequence[str], ledger: Ledger) -> Records:
        languages: set[str] = set()
        gaps = set(columns) != {*PAIR}

        def each() -> Iterator[Record]:
            for note in sorted(root.rglob("*.txt")):
                picture = _sibling(note, ".png", ".svg")
                if picture is None:
                    ledger.add("passed over", "text without a picture", note)
                    continue
                captions = captions_of(note)
                languages.update(captions)
                if language not in captions and not gaps:
                    ledger.add("passed over", f"no caption in {language}", note)
                    continue
                name = note.relative_to(root).with_suffix("").as_posix()
                aloud = _sibling(note.with_name(f"{note.stem}{_read_aloud(language)}.txt"), *_SOUNDS)
                heard = _sibling(note, *_SOUNDS)
                cells: dict[str, Cell] = {
                    "image": Asset.of(picture),
                    "text": (captions[language],) if language in captions else None,
                    "audio": None if aloud is None else Asset.of(aloud),
                    "sound": None if heard is None else Asset.of(heard),
                }
                yield Record(cells, name, name, labels={"kind": name.partition("/")[0]}, where=str(note))

        records = Records.collect(each(), {column: self.columns[column] for column in columns}, gaps=gaps)
        if languages and language not in languages:
            raise unknown(f"language of the stamps in {root}", language, languages)
        if not languages:
            raise ValueError(f"{root} holds no stamps: no text with a picture of the same name")
        return records


def _read_aloud(language: str) -> str:
    """Return what the names of recordings in a language end in: English is not named."""
    return "_desc" if language == Stamps.language else f"_desc_{language}"


def _sibling(note: Path, *endings: str) -> Path | None:
    """Return the first file that is called like another one, but for its ending."""
    return next(filter(Path.is_file, map(note.with_suffix, endings)), None)


def captions_of(note: Path) -> dict[str, str]:
    """Return the captions of a stamp by language: the first line is English, then come lines ``de.utf8=…``."""
    first, *others = note.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    captions = {"en": first.strip()}
    for line in others:
        if match := _TRANSLATED.match(line):
            captions[match[1]] = match[2].strip()
    return {language: caption for language, caption in captions.items() if caption}
