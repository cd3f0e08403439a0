"""Captions that are joined from several columns by a template: ``{name}, {tags}``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

_FIELD = re.compile(r"\{([^{}]+)\}")


def is_template(text: str) -> bool:
    """Return whether a text is a template, and not the name of a column.

    >>> is_template("{name}, {tags}"), is_template("name")
    (True, False)
    """
    return _FIELD.search(text) is not None


def columns_in(named: str) -> tuple[str, ...]:
    """Return the columns that a template joins; a name alone is a column.

    >>> columns_in("{name}, {tags}"), columns_in("name")
    (('name', 'tags'), ('name',))
    """
    return tuple(dict.fromkeys(_FIELD.findall(named))) or (named,)


@final
@dataclass(frozen=True)
class Template:
    """A sentence with a column's name in braces where its text goes.

    Attributes:
        text: the sentence as the user wrote it.
    """

    text: str

    def fill(self, texts: Mapping[str, Sequence[str]]) -> str:
        """Return the sentence for one row; empty if no column has a text.

        Several texts of a column are joined by commas. A column without a text is left out, with the words between it
        and the column before it; without one before it, with the words behind it.

        Args:
            texts: of the row, by column.

        >>> Template("a {size} {name}, {tags}.").fill({"name": ["owl"], "size": [], "tags": ["bird", "night"]})
        'a owl, bird, night.'
        """
        start, *parts = _FIELD.split(self.text)
        sentence, between = "", ""
        for column, after in zip(parts[::2], parts[1::2], strict=True):
            if value := ", ".join(texts[column]):
                sentence += (between if sentence else "") + value
            between = after
        return f"{start}{sentence}{parts[-1]}".strip() if sentence else ""
