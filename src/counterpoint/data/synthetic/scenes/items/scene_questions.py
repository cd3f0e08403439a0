"""Questions about scenes, asked of a data set's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from ....base import Rows
from ....items import Question, Questions
from ..rows import SceneRows
from .item_rows import PER_ROW, RowPictures, ask_rows
from .questions import questions


@final
class SceneQuestions(RowPictures, Questions):
    """Questions about scenes; yes/no ones two a row, one of each answer.

    Their kinds: :mod:`counterpoint.data.synthetic.scenes.items.questions`.
    """

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        items = [
            (row, number, question)
            for row, _, of_row in ask_rows(world, rows, kinds, questions)
            for number, question in enumerate(of_row)
        ]
        self.world, self.rows = world, np.array([row for row, _, _ in items], np.int64)
        self.ids = world.ids[self.rows] * PER_ROW + np.array([number for _, number, _ in items], np.int64)
        self.questions: list[Question] = [question for _, _, question in items]
        self.kinds = [question.kind for question in self.questions]
        self.attribution = world.attribution
