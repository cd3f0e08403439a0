"""Tux Paint's stamps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import final

from ...registry import unknown
from ..sources import Asset, Cell, Ledger, Record, Records
from ._collection import Collection

_TRANSLATED = re.compile(r"([\w@]+)\.utf8=(.*)")


@final
class Stamps(Collection):
    """951 pictures of things, about half of them cut-out photographs, with captions in up to 78 languages.

    Captions are short ("A round tower with a pink flag."), of four words on average. The label ``kind`` is the folder
    (animals, food, vehicles …, 16 of them); a quarter of the pictures are of letters, digits and signs (``symbols``).
    English is complete; in another language (``stamps,language=de``) pictures without a caption are passed over.

    Source: Tux Paint, Debian's package ``tuxpaint-stamps-default``, GPL-2.
    """

    package = "tuxpaint-stamps-default"
    home = Path("/usr/share/tuxpaint/stamps")
    attribution = "Stamps: Tux Paint, by Bill Kendrick and others, GPL-2"
    language = "en"

    def read(self, root: Path, language: str, ledger: Ledger) -> Records:
        languages: set[str] = set()

        def each() -> Iterator[Record]:
            for note in sorted(root.rglob("*.txt")):
                picture = next(filter(Path.is_file, map(note.with_suffix, (".png", ".svg"))), None)
                if picture is None:
                    ledger.add("passed over", "text without a picture", note)
                    continue
                captions = captions_of(note)
                languages.update(captions)
                if language not in captions:
                    ledger.add("passed over", f"no caption in {language}", note)
                    continue
                name = note.relative_to(root).with_suffix("").as_posix()
                labels = {"kind": name.partition("/")[0]}
                cells: dict[str, Cell] = {"image": Asset.of(picture), "text": (captions[language],)}
                yield Record(cells, name, name, labels=labels, where=str(note))

        records = Records.collect(each())
        if languages and language not in languages:
            raise unknown(f"language of the stamps in {root}", language, languages)
        if not languages:
            raise ValueError(f"{root} holds no stamps: no text with a picture of the same name")
        return records


def captions_of(note: Path) -> dict[str, str]:
    """Return the captions of a stamp by language: the first line is English, then come lines ``de.utf8=…``."""
    first, *others = note.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    found = {"en": first.strip()}
    for line in others:
        if match := _TRANSLATED.match(line):
            found[match[1]] = match[2].strip()
    return {language: caption for language, caption in found.items() if caption}
