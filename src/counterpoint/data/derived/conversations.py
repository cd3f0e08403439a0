"""Any data with a column of conversations, made of its questions and captions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Bool, Shaped

from ...raw import Conversation, Exchange
from ...registry import unknown
from ..base import Data, Rows
from ..columns import TEXT
from ..fingerprint import bytes_of
from ..items import Questions
from ._derived import DerivedData

COLUMN = "talk"
PARTS = ("questions", "captions")
"""The parts of a row that exchanges are made of."""
REQUEST = "Describe the picture."
"""The request whose reply is the caption."""


@final
class ConversationData(DerivedData):
    """Data with a further column ``talk``: the questions about each row with their answers, and its caption.

    A question is asked as the task ``answers`` asks it. The reply to `REQUEST` is the first caption.

    Args:
        data: without a column of conversations.
        parts: names of `PARTS`, with + between them; all that the data has unless given.

    Raises:
        UnknownNameError: for another part.
        ValueError: for data with such a column, and for data that has none of the parts.
    """

    part: ClassVar[str] = "conversations"

    def __init__(self, data: Data, parts: str = "") -> None:
        if COLUMN in data.columns:
            raise ValueError(f"{data.name} has a column {COLUMN} already: leave talk={parts} out")
        for part in parts.split("+") if parts else ():
            if part not in PARTS:
                raise unknown("part of conversations", part, PARTS)
        super().__init__(data, with_talk(data.name, parts))
        self.columns = {**data.columns, COLUMN: COLUMN}
        self._text = next((column for column, of in data.columns.items() if of == TEXT), "")
        wanted = parts.split("+") if parts else PARTS
        self.parts = tuple(part for part in wanted if part != "captions" or self._text)
        self.changes = (f"conversations of {' and '.join(self.parts)}",)
        self._known: dict[int, Conversation] = {}
        if not self.present(COLUMN, data.splits.train[:_PROBED]).any() and len(data.splits.train):
            raise ValueError(f"{data.name} has neither questions nor captions to make conversations of")

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        if column != COLUMN:
            return super().present(column, rows)
        return np.array([bool(row) for row in self._conversations(rows)], dtype=bool)

    def read(self, column: str, rows: Rows) -> Any:
        return self._conversations(rows) if column == COLUMN else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self._conversations(rows) if column == COLUMN else super().read_training(column, rows)

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {**super().digests(), COLUMN: [bytes_of(row) for row in self._became_rows()]}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        return np.array([bytes_of(row)[:16].ljust(16) for row in self._became_rows()], dtype="S16")[:, None]

    def _became_rows(self) -> list[Conversation]:
        return self._conversations(np.arange(len(self)))

    def _conversations(self, rows: Rows) -> list[Conversation]:
        new = np.array([row for row in dict.fromkeys(rows.tolist()) if row not in self._known], np.int64)
        if len(new):
            made: dict[int, list[Exchange]] = {int(row): [] for row in new}
            if "questions" in self.parts:
                for row, exchange in _questions(self.data, new):
                    made[row].append(exchange)
            if "captions" in self.parts:
                for row, text in zip(new.tolist(), self.data.read(self._text, new), strict=True):
                    made[row] += [Exchange(REQUEST, text)] if text else []
            self._known |= {row: tuple(exchanges) for row, exchanges in made.items()}
        return [self._known[int(row)] for row in rows]


_PROBED = 64  # rows to train on, one of which must have a conversation


def _questions(data: Data, rows: Rows) -> Iterator[tuple[int, Exchange]]:
    """Yield the questions about some rows, each with its row; none where the data has no questions."""
    try:
        items = data.items(Questions, rows)
    except LookupError:
        return
    for row, question in zip(items.rows.tolist(), items.questions, strict=True):
        yield row, Exchange(question.asked, question.answer)


def with_talk(source: str, parts: str) -> str:
    """Return the name of data with conversations made of some parts.

    >>> with_talk("scenes:tiny", "captions"), with_talk("scenes:tiny", "")
    ('scenes:tiny,talk=captions', 'scenes:tiny')
    """
    return f"{source},talk={parts}" if parts else source


def talk_of(source: str) -> tuple[str, str]:
    """Return the name of data without what conversations are made of, and that; a file that is called so is a file.

    >>> talk_of("scenes:tiny,talk=questions+captions")
    ('scenes:tiny', 'questions+captions')
    """
    named = re.search(r",talk=([^,]*)", source)
    if named is None or os.path.exists(source):
        return source, ""
    return source[: named.start()] + source[named.end() :], named[1]
