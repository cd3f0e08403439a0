"""MMVP in its first form: one question about two pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import final

from ..base import Rows
from ..items import Items, Question, TwinQuestions
from ._base import ItemBenchmark, ItemsOfRows, read_csv
from ._pictures import PictureFiles

PAPERS = {"mmvp": ("read",)}

HEADER = ("index", "question", "options", "correct answer")


def read(path: Path, size: int) -> TwinQuestionsBenchmark:
    """Read MMVP: ``Questions.csv`` and the folder ``MMVP Images`` in PATH.

    The table has the columns Index, Question, Options (``(a) open (b) closed``) and Correct Answer (``(a)``); rows 1
    and 2 are a pair, rows 3 and 4 the next, of the same question and options. The picture of a row is ``MMVP
    Images/INDEX.jpg``. The kind of all pairs is ``question``: the table does not name the patterns.

    Source: Tong et al. (2024), arXiv 2401.06209.
    """
    table, folder = path / "Questions.csv", path / "MMVP Images"
    for needed in (table, folder):
        if not needed.exists():
            raise FileNotFoundError(
                f"mmvp-questions: no {needed.name} in {path}: give a copy of MMVP, with Questions.csv and the folder "
                "'MMVP Images'"
            )
    header, *rows = read_csv(table)
    if tuple(cell.strip().lower() for cell in header) != HEADER or len(rows) % 2:
        raise ValueError(
            f"{table}: expected the columns Index, Question, Options, Correct Answer and an even number of rows; found "
            f"{', '.join(header)} and {len(rows)} rows"
        )
    questions = [_question(row, table) for row in rows]
    pairs = list(zip(questions[::2], questions[1::2], strict=True))
    for number, (one, two) in enumerate(pairs):
        if (one.text, one.options) != (two.text, two.options) or one.answer == two.answer:
            raise ValueError(
                f"{table}: rows {2 * number + 1} and {2 * number + 2} must be one question with two answers, got "
                f"{one.text!r} {one.answer!r} and {two.text!r} {two.answer!r}"
            )
    files = [folder / f"{row[0].strip()}.jpg" for row in rows]
    return TwinQuestionsBenchmark(
        f"mmvp-questions:{path}", (PictureFiles(files[::2]), PictureFiles(files[1::2])), pairs, size
    )


def _question(row: Sequence[str], table: Path) -> Question:
    _, text, options, answer = row
    letters = re.findall(r"\(([a-z])\)", options.lower())
    choices = [part.strip() for part in re.split(r"\([a-zA-Z]\)", options)[1:]]
    right = answer.strip().strip("()").lower()
    if len(choices) != 2 or right not in letters:
        raise ValueError(
            f"{table}: expected options (a) … (b) … and the letter of one of them, got {options!r} and {answer!r}"
        )
    return Question("question", text.strip(), choices[letters.index(right)], tuple(choices))


@final
class TwinQuestionsBenchmark(ItemBenchmark):
    """Questions about pairs of pictures; the rows are first pictures, captioned by the question and its answer."""

    def __init__(
        self,
        name: str,
        pictures: tuple[PictureFiles, PictureFiles],
        pairs: Sequence[tuple[Question, Question]],
        size: int,
    ) -> None:
        captions = [(f"{first.text} {first.answer}",) for first, _ in pairs]
        super().__init__(name, pictures[0], captions, [first.kind for first, _ in pairs], size)
        self._sides, self.pairs = pictures, pairs

    def questions_about(self, row: int) -> Sequence[str]:
        return [part for q in self.pairs[row] for part in (q.text, q.answer, *q.options)]

    def _items_of(self, rows: Rows) -> Items:
        return _TwinQuestionsOfRows(self, rows)


class _TwinQuestionsOfRows(ItemsOfRows, TwinQuestions):
    def __init__(self, data: TwinQuestionsBenchmark, rows: Rows) -> None:
        super().__init__(data, rows)
        self.questions = [data.pairs[row] for row in rows]
