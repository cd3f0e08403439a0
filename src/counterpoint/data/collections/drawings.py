"""Art4Apps' drawings."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from ...registry import unknown
from ..sources import Asset, Cell, Ledger, Record, Records
from ._collection import Collection

_WORDS = Path("i18n/custom")
_PICTURES = Path("res/images/art4apps")
_PREFIX = "a4a_"


@final
class Drawings(Collection):
    """579 drawings in one style, a word each, in 17 languages; 80 of them are of actions (climb, whisper, knit).

    The label ``kind`` is the group (animals, actions, jobs …, 12 of them). Another language is asked for as
    ``drawings,language=fr``.

    Source: Art4Apps, in Debian's package ``pysiogame`` (eduActiv8), CC BY-SA.
    """

    package = "pysiogame"
    home = Path("/usr/share/games/pysiogame")
    attribution = "Drawings: Art4Apps, as in eduActiv8, CC BY-SA"
    language = "en_GB"

    def read(self, root: Path, language: str, columns: Sequence[str], ledger: Ledger) -> Records:
        folder = root / _WORDS / f"{_PREFIX}py"
        languages = [path.stem for path in sorted(folder.glob("[!_]*.py"))]
        if not languages:
            raise ValueError(f"{root} holds no drawings: there are no words in {folder}")
        if language not in languages:
            raise unknown(f"language of the drawings in {root}", language, languages)
        names, words = words_of(root / _WORDS / f"{_PREFIX}words.py"), words_of(folder / f"{language}.py")

        def each() -> Iterator[Record]:
            for group, members in names.items():
                kind = group.removeprefix(_PREFIX)
                for name, word in zip(members, words.get(group, ()), strict=False):
                    picture = root / _PICTURES / kind / f"{name.replace(' ', '_')}.jpg"
                    if not picture.is_file():
                        ledger.add("passed over", "word without a picture", picture, detail=word)
                        continue
                    key = f"{kind}/{name}"
                    cells: dict[str, Cell] = {"image": Asset.of(picture), "text": (word,)}
                    yield Record(cells, key, key, labels={"kind": kind}, where=f"{folder}, {key}")

        return Records.collect(each(), {column: self.columns[column] for column in columns})


def words_of(path: Path) -> dict[str, list[str]]:
    """Return the lists of words in a file of Python, by group; the file is read and never run.

    Raises:
        ValueError: if the file is no Python.
    """
    try:
        lines = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as lists of words: {error}") from error
    return {
        ast.literal_eval(line.targets[0].slice): ast.literal_eval(line.value)
        for line in lines
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Subscript)
    }
