"""From the names of a table's columns to what they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from .._names import CAPTION_COLUMNS, PICTURE_COLUMNS

FACTS = ("id", "split", "group")
_NAMED = {"image": ("picture", PICTURE_COLUMNS), "text": ("caption", CAPTION_COLUMNS)}


@final
@dataclass(frozen=True)
class Roles:
    """The columns of a table by their use.

    Attributes:
        image: of the picture.
        text: of the caption.
        facts: of ``id``, ``split`` and ``group``, as far as the table has them.
    """

    image: str
    text: str
    facts: Mapping[str, str]

    @property
    def taken(self) -> set[str]:
        """The columns that are in use and no labels."""
        return {self.image, self.text, *(column for fact, column in self.facts.items() if fact != "group")}


def candidates(role: str, asked: Mapping[str, str]) -> Sequence[str]:
    """Return the names that a picture's or a caption's column may have: the user's word alone, if there is one."""
    return (asked[role],) if role in asked else _NAMED[role][1]


def chosen(path: str, found: Sequence[str], asked: Mapping[str, str]) -> Roles:
    """Return the columns of a table by their use.

    Args:
        path: of the table, for messages.
        found: its columns.
        asked: those that the user named, by role.

    Raises:
        ValueError: if one is missing.
    """
    for role, column in asked.items():
        if column not in found:
            raise ValueError(f"{path}: there is no column {column!r} for the {role}; found {list(found)}")
    columns: dict[str, str] = {}
    for role, (what, names) in _NAMED.items():
        here = [name for name in candidates(role, asked) if name in found]
        if not here:
            raise ValueError(
                f"{path}: no column for the {what}; expected one of {', '.join(names)}, found {list(found)}; "
                f"--columns {role}=NAME says which it is"
            )
        columns[role] = here[0]
    facts = {fact: asked.get(fact, fact) for fact in FACTS if asked.get(fact, fact) in found}
    return Roles(columns["image"], columns["text"], facts)
