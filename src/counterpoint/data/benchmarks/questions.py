"""Your own questions about your own pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from ...types import Fit
from ..base import IMAGE_SIZE, Rows, SomeItems, Splits, stored_size
from ..fingerprint import digests_of_images
from ..items import Question, Questions
from ..pictured import PairedData
from ..pictures.decode import whole
from ._base import fields, read_csv, read_json
from ._pictures import PictureFiles

_YES_OR_NO = ("yes", "no")
_BETWEEN = "|"
"""Separator of the options in one cell of a table."""


def read(path: Path, size: int) -> OwnQuestions:
    """Read a CSV, JSONL or JSON file with ``image``, ``question`` and ``answer``.

    PATH may be a folder with such a ``questions.csv`` (or ``.jsonl``, ``.json``). ``image`` is a path, from the file's
    folder. ``options``, if given, is what can be answered: a list, or in a CSV ``red|green|blue``; an answer of yes or
    no has these two unless it is given. ``kind`` is what a question is about, for the breakdown; ``pope`` asks those
    of kind ``existence``. Pictures are shown whole, on white squares.

    Raises:
        FileNotFoundError: for a folder without such a file, or a picture that is not there.
        ValueError: for a field that is missing, or an answer that is not among the options.
    """
    if path.is_dir():
        names = [path / f"questions.{suffix}" for suffix in ("csv", "jsonl", "json")]
        there = [name for name in names if name.is_file()]
        if not there:
            raise FileNotFoundError(f"questions: none of {', '.join(n.name for n in names)} in {path}")
        path = there[0]
    if path.suffix == ".csv":
        head, *body = read_csv(path) or [[]]
        records: Sequence[Any] = [dict(zip(head, row, strict=False)) for row in body]
    else:
        records = read_json(path)
    if not isinstance(records, list) or not records:
        raise ValueError(
            f"{path} holds no questions: expected a list of objects with image, question, answer"
        )
    questions = [_read(record, f"{path}, question {k + 1}") for k, record in enumerate(records)]
    images = list(dict.fromkeys(name for name, _ in questions))
    numbers = {name: number for number, name in enumerate(images)}
    pictures = PictureFiles(
        [path.parent / name for name in images], advice="paths are from the file's own folder"
    )
    rows = np.array([numbers[name] for name, _ in questions], np.int64)
    return OwnQuestions(f"questions:{path}", pictures, [question for _, question in questions], rows, size)


def _read(record: Mapping[str, Any], where: str) -> tuple[str, Question]:
    given = fields(record, ("image", "question", "answer"), where)
    image, text, answer = ("" if value is None else str(value) for value in given)
    for name, value in (("question", text), ("answer", answer)):
        if not value.strip():
            raise ValueError(f"{where}: the {name} is empty")
    stated = record.get("options") or ()
    options = stated.split(_BETWEEN) if isinstance(stated, str) else stated
    options = tuple(str(option).strip() for option in options)
    if answer.strip().lower().rstrip(".") in _YES_OR_NO:
        answer = answer.strip().lower().rstrip(".")
        options = tuple(option.lower() for option in options) or _YES_OR_NO
    answer = answer.strip() if options else answer
    if options and answer not in options:
        raise ValueError(f"{where}: the answer {answer!r} is not among the options {', '.join(options)}")
    return image, Question(str(record.get("kind") or "question"), text, answer, options)


@final
class OwnQuestions(PairedData):
    """Pictures that questions are asked about; a row is a picture, and all rows are for test.

    Args:
        name: as the user names it.
        pictures: the picture of each row.
        questions: all that is asked; a question's id is its place.
        rows: the row that each is about.
        size: side of the pictures in pixels.
    """

    def __init__(
        self,
        name: str,
        pictures: PictureFiles,
        questions: Sequence[Question],
        rows: Int[np.ndarray, " n"],
        size: int,
    ) -> None:
        self.name, self.size = name, size
        self.pictures, self.questions, self.rows = pictures, questions, rows
        self._about: list[list[Question]] = [[] for _ in range(len(pictures))]
        for question, row in zip(questions, rows, strict=True):
            self._about[row].append(question)
        self.ids = np.arange(len(pictures))
        self.splits = Splits(np.arange(0), {}, {"all": np.arange(len(pictures))})

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        shown = np.zeros((len(rows), 3, self.size, self.size), np.uint8)
        for index, row in enumerate(rows):
            try:
                shown[index] = _whole(self.pictures.open(int(row)), self.size)
            except Exception as error:  # whatever a decoder raises, told with the name of the picture
                raise ValueError(
                    f"{self.pictures.name(int(row))} cannot be read as a picture: {error}"
                ) from error
        return torch.from_numpy(shown)

    def sized(self, image_size: int, fit: Fit | None = None) -> Self:
        other = copy(self)
        other.size = stored_size(image_size)
        return self if other.size == self.size else other

    def picture_digests(self) -> Sequence[bytes]:
        # The data is the same whatever size is asked for.
        return digests_of_images(self.sized(IMAGE_SIZE).images, len(self))

    def captions(self, row: int) -> Sequence[str]:
        return [f"{question.text} {question.answer}" for question in self._about[row]]

    def questions_about(self, row: int) -> Sequence[str]:
        return [part for q in self._about[row] for part in (q.kind, q.text, q.answer, q.reason, *q.options)]

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        questions = _QuestionsOfRows(self, rows, kinds)
        return (
            questions if isinstance(questions, form) and len(questions) else super().items(form, rows, kinds)
        )


class _QuestionsOfRows(Questions):
    def __init__(self, data: OwnQuestions, rows: Rows, kinds: Sequence[str] | None) -> None:
        indices = [
            index
            for index, (question, row) in enumerate(zip(data.questions, data.rows, strict=True))
            if row in rows and (kinds is None or question.kind in kinds)
        ]
        self._data = data
        self.ids, self.rows = np.array(indices, np.int64), data.rows[indices]
        self.questions = [data.questions[index] for index in indices]
        self.kinds = [question.kind for question in self.questions]

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return self._data.images(self.rows[positions])


def _whole(picture: Image.Image, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Put a picture on a white square, transparent parts too."""
    square = ImageOps.pad(whole(picture), (size, size), Image.Resampling.BICUBIC, color="white")
    return np.asarray(square).transpose(2, 0, 1)
