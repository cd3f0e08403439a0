"""GCompris' photographs with paragraphs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from ..sources import Asset, Cell, Ledger, Record, Records
from ._collection import Collection
from ._qt import resources

_ACTIVITIES = {"explore_monuments": "monument", "explore_world_animals": "animal"}
_ITEM = re.compile(
    r'"title":\s*qsTr\("((?:[^"\\]|\\.)*)"\),\s*"text":\s*qsTr\("((?:[^"\\]|\\.)*)"\),\s*"image2":\s*"qrc:([^"]+)"'
)


@final
class Monuments(Collection):
    """64 photographs of monuments and animals, each with its name and a paragraph of some fifty words.

    Small, but the only long captions on photographs that come in a package. The label ``kind`` is monument or animal.
    Texts are English.

    Source: GCompris, Debian's package ``gcompris-qt-data``; program GPL-3, pictures under CC BY-SA, GFDL and others.
    """

    package = "gcompris-qt-data"
    home = Path("/usr/share/gcompris-qt/rcc")
    attribution = "Monuments: GCompris, GPL-3; pictures CC BY-SA, GFDL and others, credited in its package"

    def read(self, root: Path, language: str, columns: Sequence[str], ledger: Ledger) -> Records:
        def each() -> Iterator[Record]:
            for activity, kind in _ACTIVITIES.items():
                archive = root / f"{activity}.rcc"
                if not archive.is_file():
                    raise ValueError(f"{root} lacks {archive.name}: it is not what GCompris installs")
                files = resources(archive)
                for name, board in files.items():
                    if not name.endswith(".qml"):
                        continue
                    for title, text, picture in _ITEM.findall(board.read().decode("utf-8", "replace")):
                        stored = files.get(picture)
                        if stored is None or stored.packed:
                            ledger.add("lost", "text without a picture", archive, picture, title)
                            continue
                        asset = Asset(str(archive), picture, stored.offset, stored.size)
                        key = "/".join((Path(picture).parent.name, Path(picture).stem))
                        captions = (_unquoted(text), _unquoted(title))
                        cells: dict[str, Cell] = {"image": asset, "text": captions}
                        yield Record(cells, key, key, labels={"kind": kind}, where=f"{archive}, {key}")

        return Records.collect(each(), {column: self.columns[column] for column in columns})


def _unquoted(text: str) -> str:
    """Return what a string in Qt's language means."""
    return str(json.loads(f'"{text}"'))
