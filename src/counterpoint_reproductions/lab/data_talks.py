"""Scenes with conversations of a claim's own, as data for studies.

A study names the data as it names any data of a file. ``data_talks.py:FACETS`` are pictures of several things that are
alike; three requests ask for their name, number and colour. ``data_talks.py:DESCRIBED`` are pictures with a short
caption, and a long one that replies to a request. ``data_talks.py:REASONS`` has a question about each picture, and a
further column that asks for the reason of the answer; ``data_talks.py:TOLD`` asks for reasons in 200 rows alone.
``data_talks.py:SINGLE_THINGS`` are pictures of one thing, whose name is the reply.
Each has a small form for smoke runs, as ``FEW_FACETS``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Bool, Shaped

from counterpoint.data.base import Rows, SomeItems
from counterpoint.data.derived._derived import DerivedData
from counterpoint.data.fingerprint import bytes_of
from counterpoint.data.items import Question, Questions
from counterpoint.data.synthetic.scenes.items.item_rows import ask_rows
from counterpoint.data.synthetic.scenes.items.questions import questions
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.evaluation.in_context_shots import sentence
from counterpoint.evaluation.tasks.binding import REQUEST
from counterpoint.raw import Conversation, Exchange
from counterpoint_reproductions.lab.binding_reader import THINGS
from counterpoint_reproductions.lab.quick import smaller

REQUESTS = ("Name the things.", "Count the things.", "Say their colour.")
NUMBERS = ("one", "two", "three", "four", "five")
_NAMES = ("cat", "fish", "apple", "banana", "car", "key", "hat", "tree")
_THINGS = f"sizes=medium,concepts={'+'.join(_NAMES)},validation=64,pixels=32"
ALIKE = f"scenes:basic,same=true,objects=1-5,tinted=1,backgrounds=white,{_THINGS},train=3000,test=200"
TWO = f"scenes:basic,objects=2-2,relations=0,tinted=1,retold=1,{_THINGS},train=4000,test=600"
SINGLE = (
    f"scenes:basic,objects=1-1,sizes=large,relations=0,concepts={'+'.join(THINGS)},train=4000,validation=64,test=2000,"
    "pixels=32"
)


class _Talks(DerivedData):
    """Scenes with a further column of conversations.

    Args:
        data: the scenes.
        change: what the conversations are, in words.
        columns: of the data, with ``talk``.
    """

    part: ClassVar[str] = "conversations"

    def __init__(self, data: Scenes, change: str, columns: Mapping[str, str]) -> None:
        super().__init__(data, f"scenes with {change}")
        self.columns, self.scenes, self.changes = {**columns, "talk": "talk"}, data, (change,)

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        return np.ones(len(rows), dtype=bool) if column == "talk" else super().present(column, rows)

    def read(self, column: str, rows: Rows) -> Any:
        return list(map(self.talk, rows.tolist())) if column == "talk" else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self.read(column, rows)

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {**super().digests(), "talk": list(map(bytes_of, self._all()))}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        return np.array([bytes_of(row)[:16].ljust(16) for row in self._all()], dtype="S16")[:, None]

    def _all(self) -> list[Conversation]:
        return [self.talk(row) for row in range(len(self))]

    @abstractmethod
    def talk(self, row: int) -> Conversation:
        """Return the conversation of a row."""


@final
class Facets(_Talks):
    """Pictures of one to five things that are alike, with three exchanges each; a reply is one word."""

    def __init__(self, source: str) -> None:
        super().__init__(Scenes.parse(source), "requests for name, number and colour", {"image": "image"})

    def talk(self, row: int) -> Conversation:
        things = self.scenes.scene(row).things
        replies = (things[0].concept, NUMBERS[len(things) - 1], str(things[0].colour))
        return tuple(map(Exchange, REQUESTS, replies))


@final
class Names(_Talks):
    """Pictures of one thing, whose name is the reply."""

    def __init__(self, source: str) -> None:
        super().__init__(Scenes.parse(source), "names as replies", {"image": "image"})

    def talk(self, row: int) -> Conversation:
        return (Exchange(REQUEST, self.scenes.scene(row).things[0].concept),)


@final
class LongCaptions(_Talks):
    """Pictures of two coloured things with a short caption, and a long one of several sentences as a reply."""

    def __init__(self, source: str) -> None:
        scenes = Scenes.parse(source)
        super().__init__(scenes, "long captions", scenes.columns)

    def talk(self, row: int) -> Conversation:
        return (Exchange("Describe the picture.", self.scenes.training_captions(row)[1]),)


WHY = "why"
REASONED = ("count", "colour")
"""Kinds of questions whose answers have a reason."""
_SIMPLE = f"scenes:basic,objects=1-3,repeats=0.5,relations=0,tinted=1,colours=red+yellow+green+blue,{_THINGS}"
TAUGHT = f"{_SIMPLE},train=4000,test=200"
ASKED = f"{_SIMPLE},seed=1,train=1000,test=1000"


@final
class Reasons(_Talks):
    """Pictures of one or two things, with a question whose answer has a reason.

    Args:
        source: the scenes.
        explained: training rows whose conversation asks for the reason, where reasons are no column of their own.
    """

    def __init__(self, source: str, explained: int | None = None) -> None:
        scenes = Scenes.parse(source)
        super().__init__(scenes, "requests for reasons", scenes.columns)
        self.explained = explained
        if explained is None:
            self.columns = {**self.columns, WHY: "talk"}

    def present(self, column: str, rows: Rows) -> Bool[np.ndarray, " n"]:
        if column not in ("talk", WHY):
            return super().present(column, rows)
        return np.array([self._question(row) is not None for row in rows.tolist()], dtype=bool)

    def read(self, column: str, rows: Rows) -> Any:
        return list(map(self.why, rows.tolist())) if column == WHY else super().read(column, rows)

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        why = [bytes_of(self.why(row)) for row in range(len(self))] if self.explained is None else []
        return {**super().digests(), **({WHY: why} if why else {})}

    def talk(self, row: int) -> Conversation:
        if self.explained is not None and row in self._explained:
            return self.why(row)
        question = self._question(row)
        return () if question is None else (Exchange(question.asked, sentence(question.answer)),)

    def why(self, row: int) -> Conversation:
        """Return the request for the reason, with the reason."""
        question = self._question(row)
        if question is None:
            return ()
        request = f"{question.text} {sentence(question.answer)} Why?"
        return (Exchange(request, sentence(question.reason)),)

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        """Return items about some rows; of questions, those that have a reason unless kinds are given."""
        return self.scenes.items(form, rows, REASONED if kinds is None and form is Questions else kinds)

    @cached_property
    def _explained(self) -> frozenset[int]:
        return frozenset(self.splits.train[: self.explained].tolist())

    def _question(self, row: int) -> Question | None:
        """Return one of the questions about a picture."""
        if row not in self._asked:
            asked = [it for _, _, it in ask_rows(self.scenes, np.array([row]), REASONED, questions)]
            self._asked[row] = asked[0][int(self.ids[row]) % 2] if asked else None
        return self._asked[row]

    @cached_property
    def _asked(self) -> dict[int, Question | None]:
        return {}


SINGLE_THINGS = Names(SINGLE)
# Of few rows, each of few things has enough pictures for every task.
FEW_SINGLE_THINGS = Names(smaller(SINGLE.replace("+".join(THINGS), "+".join(THINGS[:3]))))
FACETS, FEW_FACETS = Facets(ALIKE), Facets(smaller(ALIKE))
DESCRIBED, FEW_DESCRIBED = LongCaptions(TWO), LongCaptions(smaller(TWO))
TOLD, FEW_TOLD = Reasons(TAUGHT, 200), Reasons(smaller(TAUGHT), 20)
REASONS, FEW_REASONS = Reasons(ASKED), Reasons(smaller(ASKED))
