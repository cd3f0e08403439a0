"""From the names of a table's columns to what they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from .._names import CAPTION_COLUMNS, PICTURE_COLUMNS

FACTS = ("id", "split", "group")
_NAMES = {"image": PICTURE_COLUMNS, "text": CAPTION_COLUMNS}


@final
@dataclass(frozen=True)
class Roles:
    """The columns of a table by their use.

    Attributes:
        image: of the picture.
        text: of the caption; None where the table is of pictures alone.
        facts: of ``id``, ``split`` and ``group``, as far as the table has them.
    """

    image: str
    text: str | None
    facts: Mapping[str, str]

    @property
    def taken(self) -> set[str]:
        """The columns that are in use and no labels."""
        text = () if self.text is None else (self.text,)
        return {self.image, *text, *(column for fact, column in self.facts.items() if fact != "group")}


def candidates(role: str, asked: Mapping[str, str]) -> Sequence[str]:
    """Return the names that a picture's or a caption's column may have: the user's word alone, if there is one."""
    return (asked[role],) if role in asked else _NAMES[role]


def chosen(path: str, found: Sequence[str], asked: Mapping[str, str]) -> Roles:
    """Return the columns of a table by their use.

    Args:
        path: of the table, for messages.
        found: its columns.
        asked: those that the user named, by role.

    Raises:
        ValueError: if one that was named is missing, or that of the picture.
    """
    for role, column in asked.items():
        if column not in found:
            raise ValueError(f"{path}: there is no column {column!r} for the {role}; found {list(found)}")
    columns = {role: [name for name in candidates(role, asked) if name in found] for role in _NAMES}
    if not columns["image"]:
        raise ValueError(
            f"{path}: no column for the picture; expected one of {', '.join(_NAMES['image'])}, found {list(found)}; "
            "--columns image=NAME says which it is"
        )
    facts = {fact: asked.get(fact, fact) for fact in FACTS if asked.get(fact, fact) in found}
    return Roles(columns["image"][0], next(iter(columns["text"]), None), facts)
