"""Scenes with a column of conversations, for data of studies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast, final

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped, UInt8
from torch import Tensor

from counterpoint.data.base import Rows, SomeItems
from counterpoint.data.derived._derived import DerivedData
from counterpoint.data.fingerprint import bytes_of
from counterpoint.data.items import Question, Questions
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.raw import Conversation


class TalkingScenes(DerivedData):
    """Scenes with a column of conversations.

    Args:
        source: the scenes.
        change: what the conversations are, in words.
    """

    part: ClassVar[str] = "conversations"

    def __init__(self, source: str, change: str) -> None:
        self.scenes = scenes = Scenes.parse(source)
        super().__init__(scenes, f"scenes with {change}")
        self.columns, self.changes = {**scenes.columns, "talk": "talk"}, (change,)
        self.tested = frozenset(np.concatenate([*scenes.splits.test.values()]).tolist())

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return np.ones(len(rows), dtype=bool) if column == "talk" else super().present(column, rows)

    def read(self, column: str, rows: Rows) -> Any:
        return list(map(self.talk, rows.tolist())) if column == "talk" else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self.read(column, rows) if column == "talk" else super().read_training(column, rows)

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {**super().digests(), "talk": [bytes_of(self.talk(row)) for row in range(len(self))]}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        return np.array([bytes_of(self.talk(row))[:16].ljust(16) for row in range(len(self))], "S16")[:, None]

    @abstractmethod
    def talk(self, row: int) -> Conversation:
        """Return the conversation of a row."""


class AskedScenes(TalkingScenes):
    """Scenes with one exchange each, whose request is the question about a row."""

    @abstractmethod
    def kind(self, row: int) -> str:
        """Return the kind of question of a row."""

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        """Return a question for each row, of the kinds that are asked for."""
        if form is not Questions:
            return super().items(form, rows, kinds)
        asked = [row for row in rows.tolist() if kinds is None or self.kind(row) in kinds]
        return cast("SomeItems", AskedRows(self, np.array(asked, np.int64)))


@final
class AskedRows(Questions):
    """The requests of some rows of one exchange as questions."""

    def __init__(self, data: AskedScenes, rows: Rows) -> None:
        self.data, self.rows, self.ids = data, rows, data.ids[rows]
        self.kinds = [data.kind(row) for row in rows.tolist()]
        self.questions = [
            Question(kind, *data.talk(row)[0]) for kind, row in zip(self.kinds, rows.tolist(), strict=True)
        ]

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return torch.as_tensor(self.data.read("image", self.rows[positions]))
