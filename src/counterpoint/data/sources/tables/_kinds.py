"""From some cells of a table's column to what it holds: files of a modality, arrays, numbers, sentences, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from ....modalities import MODALITIES
from .._files.locations import is_url
from .._files.text import UNKNOWN

SAMPLE = 1000
"""Cells that are looked at."""
_MOST = 0.9  # of the cells have an ending of a modality, where they are files
_SENTENCE = 3  # words of a text, on average; less is a name


class ColumnType(NamedTuple):
    """The contents of a table's column.

    Attributes:
        form: of its cells.
        modality: of what is in its files, where their endings or their format say it.
        whole: all numbers are whole, as those of classes are.
        varied: at least half of the texts differ, as captions do and classes do not.
    """

    form: Literal["files", "arrays", "numbers", "sentences", "words", "other"]
    modality: str | None = None
    whole: bool = False
    varied: bool = False

    @property
    def suits(self) -> str:
        """The modality that a column of the data made of such cells has."""
        if self.modality is not None:
            return self.modality
        if self.form == "arrays":
            return next(it.name for it in MODALITIES if it.arrays)
        held = {"files": "files", "numbers": "values"}.get(self.form, "texts")
        return next(it.name for it in MODALITIES if it.held == held)


def kind_of(cells: Sequence[Any]) -> ColumnType:
    """Return the kind of a column by some of its cells; blank ones say nothing, nor does ``NA`` among numbers.

    >>> kind_of(["1.wav", "", "2.wav"]).suits, kind_of(["1", "NA", "2.5"]).form, kind_of([[0.5, 1.5]]).suits
    ('audio', 'numbers', 'series')
    >>> kind_of(["How do I sign up?", "Where is the key?"]).form, kind_of(["cat", "dog"]).form
    ('sentences', 'words')
    """
    known = [cell for cell in cells if cell is not None and cell != ""]
    if not known:
        return ColumnType("other")
    if all(isinstance(cell, list) for cell in known):
        arrays = all(map(_is_array, known))
        return ColumnType("arrays") if arrays else _of_texts([str(text) for cell in known for text in cell])
    if all(isinstance(cell, Mapping) for cell in known):
        named = [cell.get("path") or "" for cell in known]
        are_names = all(isinstance(name, str) and name for name in named)
        return ColumnType("files", _ending(named)) if are_names else ColumnType("other")
    if any(isinstance(cell, Mapping | list) for cell in known):
        return ColumnType("other")
    texts = [str(cell) for cell in known]
    if modality := _ending(texts):
        return ColumnType("files", modality)
    told = [text for text in texts if text.strip().lower() not in UNKNOWN]
    if told and all(map(is_number, told)):
        return ColumnType("numbers", whole=all(float(text).is_integer() for text in told))
    return _of_texts(texts)


def _of_texts(texts: Sequence[str]) -> ColumnType:
    """Return whether texts are sentences or words, as tags are."""
    sentences = sum(len(text.split()) for text in texts) >= _SENTENCE * len(texts)
    return ColumnType("sentences" if sentences else "words", varied=2 * len(set(texts)) >= len(texts))


def is_number(text: str) -> bool:
    """Return whether a text is a number.

    >>> is_number("1e-3"), is_number("inf"), is_number("seven"), is_number("1_0")
    (True, True, False, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _is_array(cell: list[Any]) -> bool:
    """Return whether a list holds numbers, or lists of such; an empty one might."""
    return all(
        isinstance(item, int | float) or item is None or (isinstance(item, list) and _is_array(item))
        for item in cell
    )


def _ending(names: Sequence[str]) -> str | None:
    """Return the modality that the endings of nearly all names are of; addresses are fetched where they are named."""
    endings = {ending: modality.name for modality in MODALITIES for ending in modality.endings}
    modalities = [None if is_url(name) else endings.get(PurePosixPath(name).suffix.lower()) for name in names]
    for modality in dict.fromkeys(modalities):
        if modality is not None and modalities.count(modality) >= _MOST * len(modalities):
            return modality
    return None
