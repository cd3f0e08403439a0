"""Scenes with conversations of a claim's own, as data for studies.

A study names the data as it names any data of a file. ``data_talks.py:FACETS`` are pictures of several things that are
alike; three requests ask for their name, number and colour. ``data_talks.py:DESCRIBED`` are pictures with a short
caption, and a long one that replies to a request. Each has a small form for smoke runs, as ``FEW_FACETS``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Bool, Shaped

from counterpoint.data.base import Rows
from counterpoint.data.derived._derived import DerivedData
from counterpoint.data.fingerprint import bytes_of
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.raw import Conversation, Exchange
from counterpoint_reproductions.lab.quick import smaller

REQUESTS = ("Name the things.", "Count the things.", "Say their colour.")
NUMBERS = ("one", "two", "three", "four", "five")
_NAMES = ("cat", "fish", "apple", "banana", "car", "key", "hat", "tree")
_THINGS = f"sizes=medium,concepts={'+'.join(_NAMES)},validation=64,pixels=32"
ALIKE = f"scenes:basic,same=true,objects=1-5,tinted=1,backgrounds=white,{_THINGS},train=3000,test=200"
TWO = f"scenes:basic,objects=2-2,relations=0,tinted=1,retold=1,{_THINGS},train=4000,test=600"


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
class LongCaptions(_Talks):
    """Pictures of two coloured things with a short caption, and a long one of several sentences as a reply."""

    def __init__(self, source: str) -> None:
        scenes = Scenes.parse(source)
        super().__init__(scenes, "long captions", scenes.columns)

    def talk(self, row: int) -> Conversation:
        return (Exchange("Describe the picture.", self.scenes.training_captions(row)[1]),)


FACETS, FEW_FACETS = Facets(ALIKE), Facets(smaller(ALIKE))
DESCRIBED, FEW_DESCRIBED = LongCaptions(TWO), LongCaptions(smaller(TWO))
