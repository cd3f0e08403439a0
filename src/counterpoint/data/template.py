"""Captions that are joined from several columns by a template, ``{name}, {tags}``, and their form in options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final
from urllib.parse import quote, unquote

_FIELD = re.compile(r"\{([^{}]+)\}")
_PLAIN = "".join(chr(code) for code in range(32, 127) if chr(code) not in '%,+"')
"""Characters that are not escaped in a template: no option and no mixture of sources ends at them."""


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


def option_of(role: str, column: str) -> str:
    """Return a column and its use as a part of the option ``columns=``; marks of a template are escaped as in URLs.

    >>> option_of("text", "alt"), option_of("text", "{name}, {tags}")
    ('text:alt', 'text:{name}%2C {tags}')
    """
    return f"{role}:{quote(column, safe=_PLAIN) if is_template(column) else column}"


def read_option(word: str) -> tuple[str, str]:
    """Return the use and the column of a part of the option ``columns=``; a column alone is its own use.

    >>> read_option("text:{name}%2C {tags}"), read_option("text:50%25"), read_option("question")
    (('text', '{name}, {tags}'), ('text', '50%25'), ('question', 'question'))
    """
    role, *column = re.split("[:=]", word, maxsplit=1)
    named = column[0] if column else role
    return role, unquote(named) if is_template(named) else named


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
