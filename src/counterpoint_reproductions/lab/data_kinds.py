"""Emoji with conversations, as data for studies: the first artist's pictures to train on, the second's to test on.

``data_kinds.py:NAMED`` has the name of each emoji as the reply to a request for a description. ``data_kinds.py:ASKED``
asks for the subgroup of each, among four subgroups of its group. Both have forms of few rows for smoke runs, as
``FEW_NAMED``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, final

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from counterpoint.data.base import Rows, SomeItems, Splits
from counterpoint.data.items import Question, Questions
from counterpoint.data.pictured import PairedData
from counterpoint.data.synthetic.emoji import Emoji
from counterpoint.data.views.keys import key, uniform
from counterpoint.raw import Conversation, Exchange

REQUEST, QUESTION, KIND = "Describe the picture.", "What is it?", "subgroup"
OPTIONS = 4
_FEW = 40


@lru_cache(maxsize=1)
def emoji() -> Emoji:
    """Return the emoji of both artists, which all data here are of."""
    return Emoji("artist")


class _Talks(PairedData):
    """The emoji of both artists with a further column of conversations.

    Args:
        change: what the conversations are, in words.
        few: rows of each split; all unless given.
    """

    def __init__(self, change: str, few: int | None = None) -> None:
        self.emoji, self.name = emoji(), f"emoji:artist with {change}"
        self.columns: Mapping[str, str] = {**self.emoji.columns, "talk": "talk"}
        self.ids, self.labels, self.attribution = self.emoji.ids, self.emoji.labels, self.emoji.attribution
        splits = self.emoji.splits
        validation, test = (
            {name: rows[:few] for name, rows in sides.items()} for sides in (splits.validation, splits.test)
        )
        self.splits = Splits(splits.train[:few], validation, test)

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self.emoji.images(rows)

    def captions(self, row: int) -> Sequence[str]:
        return self.emoji.captions(row)[:1]  # the name alone: further captions of training name the class

    def read(self, column: str, rows: Rows) -> Any:
        return list(map(self.talk, rows.tolist())) if column == "talk" else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self.read(column, rows) if column == "talk" else super().read_training(column, rows)

    @abstractmethod
    def talk(self, row: int) -> Conversation:
        """Return the conversation of a row."""


@final
class NamedEmoji(_Talks):
    """Emoji whose conversation and text are their names."""

    def __init__(self, few: int | None = None) -> None:
        super().__init__("names as replies", few)

    def talk(self, row: int) -> Conversation:
        return (Exchange(REQUEST, self.emoji.captions(row)[0]),)


@final
class AskedEmoji(_Talks):
    """Emoji with a question about their subgroup, which names four of their group in an order that is drawn."""

    def __init__(self, few: int | None = None) -> None:
        super().__init__("questions about subgroups", few)

    def talk(self, row: int) -> Conversation:
        question = self.question(row)
        return (Exchange(question.closed, question.answer),)

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        questions = _AskedRows(self, rows)
        return questions if isinstance(questions, form) else super().items(form, rows, kinds)

    def question(self, row: int) -> Question:
        """Return the question about a row; subgroups of other groups are options where the group has too few."""
        subgroups, groups = self.emoji.labels["subgroup"], self.emoji.labels["group"]
        own = int(subgroups.values[row])
        drawn = uniform(key(0, 0, np.arange(len(subgroups.names)) + 1000 * row, "kinds"), "options")[:, 0]
        near = self._group_of_subgroup == groups.values[row]
        others = [number for number in np.argsort(drawn - near).tolist() if number != own]
        options = sorted([own, *others[: OPTIONS - 1]], key=lambda number: -drawn[number])
        names = tuple(subgroups.names[number] for number in options)
        return Question(KIND, QUESTION, subgroups.names[own], names)

    @cached_property
    def _group_of_subgroup(self) -> Int[np.ndarray, " k"]:
        subgroups, groups = self.emoji.labels["subgroup"], self.emoji.labels["group"]
        of = np.full(len(subgroups.names), -1)
        of[subgroups.values] = groups.values
        return of


class _AskedRows(Questions):
    def __init__(self, data: AskedEmoji, rows: Rows) -> None:
        self._data, self.rows, self.ids = data, rows, data.ids[rows]
        self.questions = [data.question(row) for row in rows.tolist()]
        self.kinds = [KIND] * len(rows)

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return self._data.images(self.rows[positions])


NAMED, FEW_NAMED = NamedEmoji(), NamedEmoji(_FEW)
ASKED, FEW_ASKED = AskedEmoji(), AskedEmoji(_FEW)
