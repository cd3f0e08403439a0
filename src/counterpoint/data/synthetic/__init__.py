"""Worlds that are made, not read: rows as a function of a preset, a seed and a row, with the truth about each."""

from __future__ import annotations

from collections.abc import Mapping

from ...modalities import PAIR
from ...registry import Room
from ...spec import Spec

WORLDS = Registry("data set", __name__, file="world")
"""Data sets that ship with the package, by what is written before the colon; each class has ``parse(source)``."""
_ONCE_PICTURES = ("clips", "sounds")
"""Worlds that were pictures of something in earlier versions, and are that itself today."""


def of_today(source: str, columns: Mapping[str, str]) -> str:
    """Return data as a run or a study of any version wrote it, in the words of today.

    >>> of_today("sounds:basic", {"image": "image", "text": "text"})
    'sounds:basic,as=pictures'
    >>> of_today("sounds:basic", {"audio": "audio", "text": "text"})
    'sounds:basic'
    """
    once = source.partition(",")[0].partition(":")[0] in _ONCE_PICTURES
    if not once or dict(columns) != PAIR or "as" in Spec.parse(source).options:
        return source
    return f"{source},as=pictures"
