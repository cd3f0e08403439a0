"""Any data as rows of questions: each question about a row is a row of its own, whose label is the answer."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, NamedTuple, Self, final

import numpy as np
import polars as pl
from jaxtyping import Bool

from ...frames import Frames
from ...modalities import MODALITIES
from ...networks.base import Input
from ...reasons import counted
from ...registry import unknown
from ...types import Fit
from ..base import Data, Rows, Splits
from ..columns import TEXT
from ..fingerprint import ROW_SCHEMA, Fingerprint, digest
from ..items import Comparisons, Narrations, Questions
from ..labels import LEAST, MOST_CLASSES, Classes, Label, Rare
from ..replaced import Replacement
from ..views.keys import key, uniform

ASKED = ("questions", "tagged", "compared")
"""Questions that rows can be made of: about one picture or clip; those that name boxes by their numbers; statements
about two pictures."""
ANSWER, SECOND = "answer", "second"
"""The label, and the column of the second picture of a statement about two."""
_HELD_OUT = 0.1


class _Row(NamedTuple):
    id: int
    text: str
    answer: str
    kind: str
    of: tuple[int, ...]


@final
class QuestionData(Data):
    """Data whose rows are questions about other data.

    A row has the columns of what is asked about, except texts, a column ``text`` with the question, and the label
    ``answer``. Statements about two pictures are true or false. Their rows have the pictures alone: ``image`` and
    ``second``. A subset is a kind of question.

    The classes of ``answer`` are the answers to questions of training, from the commonest on. Answers that occur once,
    and those beyond `MOST_CLASSES`, are no classes.

    The splits are those of the other data. Of data without rows to train on, as a benchmark or a file of questions is,
    the hash of a picture's id puts a tenth of the pictures each into validation and test.

    Args:
        data: with questions.
        asked: one of `ASKED`.

    Raises:
        UnknownNameError: for other questions.
        ValueError: for data without such questions, and data that lies in shards.
    """

    def __init__(self, data: Data, asked: str) -> None:
        if asked not in ASKED:
            raise unknown("form of questions", asked, ASKED)
        if len(data.shards):
            raise ValueError(
                f"{data.name}: data that lies in shards cannot be asked: open a part of it as files"
            )
        self.data, self.asked, self.name = data, asked, with_questions(data.name, asked)
        self.attribution, self.broken = data.attribution, data.broken
        shown = {name: of for name, of in data.columns.items() if MODALITIES.get(of).held != "texts"}
        if asked == "compared":
            shown = {"image": "image", SECOND: "image"}
        self.columns = {**shown, TEXT: TEXT}
        sides, self.split_here = _sides(data)
        rows: dict[int, _Row] = {}
        of_side: dict[str, list[int]] = {}
        for side, of in sides.items():
            of_questions = _asked_of(data, asked, of) if len(of) else ()
            of_side[side] = [row.id for row in of_questions]
            rows |= {row.id: row for row in of_questions}
        if not rows:
            raise ValueError(f"{data.name} has no questions that ask={asked} could make rows of")
        self._rows = list(rows.values())
        position = {id_: number for number, id_ in enumerate(rows)}
        chosen = {side: np.array([position[id_] for id_ in ids], np.int64) for side, ids in of_side.items()}
        self.ids = np.array(list(rows), np.int64)
        validation, test = (
            {name.removeprefix(f"{side}: "): of for name, of in chosen.items() if name.startswith(side)}
            for side in ("validation", "test")
        )
        self.splits = Splits(chosen["train"], validation, test)
        self._of = np.array([row.of for row in self._rows], np.int64)

    @cached_property
    def subsets(self) -> np.ndarray:
        return np.array([row.kind for row in self._rows])

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        counts = Counter(self._rows[row].answer for row in self.splits.train.tolist())
        names = [name for name, count in counts.most_common(MOST_CLASSES) if count >= LEAST["classes"]]
        left = len(counts) - len(names)
        rare = Rare(left, counts.total() - sum(counts[name] for name in names), LEAST["classes"], "classes")
        class_index = {name: index for index, name in enumerate(sorted(names))}
        values = np.array([class_index.get(row.answer, -1) for row in self._rows], np.int64)
        return {ANSWER: Classes(tuple(class_index), values, rare=rare if left else None)}

    def source(self, column: str, rows: Rows) -> tuple[str, Rows]:
        """Return the column of the other data that a column of some rows is, and the rows there."""
        if column not in self.columns:
            raise unknown(f"column of {self.name}", column, self.columns)
        return ("image", self._of[rows, 1]) if column == SECOND else (column, self._of[rows, 0])

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return (
            super().present(column, rows) if column == TEXT else self.data.present(*self.source(column, rows))
        )

    def read(self, column: str, rows: Rows) -> Any:
        if column == TEXT:
            return [self._rows[row].text for row in rows.tolist()]
        return self.data.read(*self.source(column, rows))

    def read_training(self, column: str, rows: Rows) -> Any:
        if column == TEXT:
            return [(text,) for text in self.read(TEXT, rows)]
        return self.data.read_training(*self.source(column, rows))

    def cuts(self, column: str, rows: Rows) -> Frames:
        return super().cuts(column, rows) if column == TEXT else self.data.cuts(*self.source(column, rows))

    def file(self, column: str, row: int) -> tuple[str, bytes]:
        if column == TEXT:
            return super().file(column, row)
        of, rows = self.source(column, np.array([row]))
        return self.data.file(of, int(rows[0]))

    def kind_of_word(self, word: str) -> str:
        return self.data.kind_of_word(word)

    def replaced(self) -> list[Replacement]:
        return self.data.replaced()

    def suited(self, inputs: Mapping[str, Input], *, training: bool = False) -> Self:
        of_data = {
            "image" if column == SECOND else column: of for column, of in inputs.items() if column != TEXT
        }
        return self._with(self.data.suited(of_data, training=training))

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        return self._with(self.data.sized(image_size, fit))

    def _with(self, data: Data) -> Self:
        """Return the same questions about the same data in another form."""
        if data is self.data:
            return self
        other = copy(self)
        other.data = data
        return other

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The other data's parts and one of the questions; changed rows are not counted."""
        parts = {**self.data.fingerprint.parts, "questions": digest(self._row_bytes())}
        return Fingerprint(parts, pl.DataFrame(schema=ROW_SCHEMA))

    def _row_bytes(self) -> Iterator[bytes]:
        yield from (repr(row).encode() for row in self._rows)

    def _digest_parts(self, columns: Iterable[str]) -> Iterator[bytes]:
        yield self.data.identity([c for c in self.data.columns if c in columns and c != TEXT]).encode()
        yield from self._row_bytes()

    def findings(self) -> Mapping[str, str]:
        about = len(np.unique(self._of[:, 0]))
        line = f"{counted(len(self), 'row')} of {self.asked} about {counted(about, 'row')}"
        return {**self.data.findings(), "questions": line}


def _sides(data: Data) -> tuple[dict[str, Rows], bool]:
    """Return the rows of every split by its name in words, and whether they were split here."""
    if len(data.splits.train):
        return data.splits.sides, data.split_here
    rows = np.arange(len(data))
    drawn = uniform(key(0, 0, data.ids, "questions"), "split")[:, 0]
    return {
        "train": rows[drawn >= 2 * _HELD_OUT],
        "validation: held out": rows[(drawn >= _HELD_OUT) & (drawn < 2 * _HELD_OUT)],
        "test: held out": rows[drawn < _HELD_OUT],
    }, True


def _asked_of(data: Data, asked: str, rows: Rows) -> Sequence[_Row]:
    """Return the questions about some rows; none where the data has none."""
    try:
        if asked == "compared":
            pairs = data.items(Comparisons, rows)
            of_pairs = zip(pairs.ids, pairs.statements, pairs.answers, pairs.kinds, pairs.rows, strict=True)
            return [
                _Row(int(i), text, right, kind, (int(a), int(b))) for i, text, right, kind, (a, b) in of_pairs
            ]
        if asked == "questions" and "video" in data.columns:
            narrated = data.items(Narrations, rows)
            return [
                _Row(int(i), f"{said}. {text}", options[right], kind, (int(row),))
                for i, said, text, options, right, kind, row in zip(
                    narrated.ids,
                    narrated.narrations,
                    narrated.questions,
                    narrated.options,
                    narrated.answers,
                    narrated.kinds,
                    narrated.rows,
                    strict=True,
                )
            ]
        items = data.items(Questions, rows, None if asked == "questions" else (asked,))
    except LookupError:
        return []
    of_items = zip(items.ids, items.questions, items.kinds, items.rows, strict=True)
    return [_Row(int(i), it.asked, it.answer, kind, (int(row),)) for i, it, kind, row in of_items]


def with_questions(source: str, asked: str) -> str:
    """Return the name of data whose rows are questions.

    >>> with_questions("scenes:tiny", "compared"), with_questions("scenes:tiny", "")
    ('scenes:tiny,ask=compared', 'scenes:tiny')
    """
    return f"{source},ask={asked}" if asked else source


def questions_of(source: str) -> tuple[str, str]:
    """Return the name of data without the questions that its rows are made of, and these; a file called so is a file.

    >>> questions_of("scenes:tiny,ask=questions")
    ('scenes:tiny', 'questions')
    """
    named = re.search(r",ask=([^,]*)", source)
    if named is None or os.path.exists(source):
        return source, ""
    return source[: named.start()] + source[named.end() :], named[1]
