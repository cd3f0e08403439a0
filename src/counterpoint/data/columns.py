"""The columns of data that tasks ask about, and the names that metrics have for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from ..modalities import MODALITIES

TEXT = "text"
"""The modality of words: classes are named in it, and equal texts are one."""
ANY = "any"
"""Any further column, in what a task reads of the data and in what it needs embeddings of."""


def fits(wanted: Sequence[str], available: Sequence[str]) -> bool:
    """Return whether columns are those that a task asks for, both given by names or both by modalities.

    >>> fits((ANY, "text"), ["audio", "text"]), fits((ANY, "text"), ["text"]), fits((ANY, ANY), ["text", "text"])
    (True, False, True)
    """
    return {name for name in wanted if name != ANY} <= set(available) and len(wanted) <= len(available)


def named(wanted: Sequence[str], columns: Mapping[str, str]) -> list[str]:
    """Return what a task asks for by the names of the columns of some data that it would be.

    >>> named((ANY, ANY), {"image": "image", "text": "text"}), named((ANY, "text"), {})
    (['image', 'text'], ['other', 'text'])
    """
    free = iter([column for column in columns if column not in wanted])
    return [next(free, "other") if name == ANY else name for name in wanted]


def parts_of(column: str) -> tuple[str, ...]:
    """Return the columns of a joint one.

    >>> parts_of("audio+video")
    ('audio', 'video')
    """
    return tuple(column.split("+"))


def subject(columns: Mapping[str, str]) -> str | None:
    """Return the column that is classified: the first that is no text, else the first; None if there is none.

    >>> subject({"text": "text", "audio": "audio"}), subject({"question": "text", "answer": "text"})
    ('audio', 'question')
    """
    return min(columns, key=lambda column: columns[column] == TEXT, default=None)


def words(columns: Mapping[str, str]) -> str | None:
    """Return the first column of texts besides the one that is classified; None if there is none.

    >>> words({"audio": "audio", "text": "text"}), words({"question": "text", "answer": "text"})
    ('text', 'answer')
    """
    classified = subject(columns)
    return next((it for it, modality in columns.items() if modality == TEXT and it != classified), None)


def way(columns: Mapping[str, str], query: str, answer: str) -> str:
    """Return the name of the way from one column of the data to another, or to itself.

    A column is called by the letter of its modality where no other column can be meant, else both by their names.

    >>> way({"image": "image", "text": "text"}, "image", "text")
    'i2t'
    >>> way({"question": "text", "answer": "text"}, "question", "answer")
    'question2answer'
    >>> way({"video": "video", "audio": "audio", "text": "text"}, "text", "video+audio")
    't2va'
    """
    firsts = {modality: column for column, modality in reversed(tuple(columns.items()))}
    letters = {column: MODALITIES.get(modality).letter for modality, column in firsts.items()}
    counts = Counter(letters.values())
    sides = [parts_of(column) for column in (query, answer)]
    if all(counts[letters.get(part, "")] == 1 for parts in sides for part in parts):
        return "2".join("".join(letters[part] for part in parts) for parts in sides)
    return f"{query}2{answer}"


def ways(columns: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the ways between all columns by their names: of every pair there and back, in the order of the data.

    >>> ways({"image": "image", "text": "text"})
    {'i2t': ('image', 'text'), 't2i': ('text', 'image')}
    """
    pairs = [there for a, b in combinations(columns, 2) for there in ((a, b), (b, a))]
    return {way(columns, *pair): pair for pair in pairs}
