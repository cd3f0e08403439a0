"""From the names of a table's columns to what they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from .._names import CAPTION_COLUMNS, PICTURE_COLUMNS, SOUND_COLUMNS
from .._options import FILE_ROLES, said_texts

FACTS = ("id", "split", "group")
_NUMBERED = re.compile(r"(caption|text|sentence)_?\d+")


@final
@dataclass(frozen=True)
class Roles:
    """The columns of a table by their use.

    Attributes:
        file: of the picture, or of the sound.
        modality: of what is in its files, where a name says it; None where their endings do.
        texts: of the captions, one or several; none where the table is of files alone.
        facts: of ``id``, ``split`` and ``group``, as far as the table has them.
    """

    file: str
    modality: str | None
    texts: tuple[str, ...]
    facts: Mapping[str, str]

    @property
    def taken(self) -> set[str]:
        """The columns that are in use and no labels."""
        return {self.file, *self.texts, *(column for fact, column in self.facts.items() if fact != "group")}


def file_columns(asked: Mapping[str, str]) -> Sequence[str]:
    """Return the names that the column of files may have: the user's word alone, if there is one."""
    named = [asked[role] for role in FILE_ROLES if role in asked]
    return named or (*PICTURE_COLUMNS, *SOUND_COLUMNS)


def text_columns(found: Sequence[str], asked: Mapping[str, str]) -> tuple[str, ...]:
    """Return those of some columns that hold captions: the user's word, the first usual name, or numbered ones.

    >>> text_columns(["file_name", "caption_2", "caption_1"], {})
    ('caption_1', 'caption_2')
    """
    if "text" in asked:
        return said_texts(asked["text"])
    usual = [name for name in CAPTION_COLUMNS if name in found]
    return tuple(usual[:1] or sorted(name for name in found if _NUMBERED.fullmatch(name)))


def chosen(path: str, found: Sequence[str], asked: Mapping[str, str]) -> Roles:
    """Return the columns of a table by their use.

    Args:
        path: of the table, for messages.
        found: its columns.
        asked: those that the user named, by role.

    Raises:
        ValueError: if one that was named is missing, or that of the picture.
    """
    for role, named in asked.items():
        for column in said_texts(named) if role == "text" else (named,):
            if column not in found:
                raise ValueError(f"{path}: there is no column {column!r} for the {role}; found {list(found)}")
    names = file_columns(asked)
    file = next((name for name in names if name in found), None)
    if file is None:
        raise ValueError(
            f"{path}: no column for the picture; expected one of {', '.join(names)}, found {list(found)}; --columns "
            "image=NAME (or audio=NAME) says which it is"
        )
    of_file = next((role for role in FILE_ROLES if asked.get(role) == file), None)
    modality = of_file or ("audio" if file in SOUND_COLUMNS else None)
    facts = {fact: asked.get(fact, fact) for fact in FACTS if asked.get(fact, fact) in found}
    return Roles(file, modality, text_columns(found, asked), facts)
