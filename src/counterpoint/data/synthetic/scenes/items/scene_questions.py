"""Questions about scenes, asked of a data set's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ....base import Rows
from ....items import Question, Questions
from ..pixels.render import pictures
from ..rows import SceneRows
from ..scene import Scene
from .item_rows import PER_ROW, RowPictures, ask_rows
from .questions import OF_ALBUMS, questions


@final
class SceneQuestions(RowPictures, Questions):
    """Questions about scenes; yes/no ones two a row, one of each answer.

    Those of an album are about both pictures of a row: each about a thing of either, the only one of its concept.

    Their kinds: :mod:`counterpoint.data.synthetic.scenes.items.questions`.
    """

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        self.world, of_album = world, world.preset.album
        if of_album:
            kinds = [kind for kind in kinds if kind in OF_ALBUMS]
        items = [
            (row, number, question)
            for row, _, of_row in ask_rows(world, rows, kinds, questions, self._both if of_album else None)
            for number, question in enumerate(of_row)
        ]
        self.rows = np.array([row for row, _, _ in items], np.int64)
        self.ids = world.ids[self.rows] * PER_ROW + np.array([number for _, number, _ in items], np.int64)
        self.questions: list[Question] = [question for _, _, question in items]
        self.kinds = [question.kind for question in self.questions]
        self.attribution = world.attribution

    def _both(self, row: int) -> Scene:
        """Return the things of both pictures of a row of an album as one scene."""
        first, second = self.world.scene(row), self.world.second(row)
        return Scene(first.index, (*first.things, *second.things))

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k *n 3 H W"]:
        """Return the picture of each question, ``(k, 3, H, W)``; of an album both, ``(k, 2, 3, H, W)``."""
        first = super().pictures(positions)
        if not self.world.preset.album:
            return first
        second = [self.world.second(int(row)) for row in self.rows[positions]]
        return torch.stack([first, pictures(second, self.world.pixels)], 1)
