"""Any data with conversations whose requests state what a simulated detector says of the picture."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

import numpy as np
from jaxtyping import Shaped

from ...raw import Conversation, Exchange
from ..base import Data, Rows, SomeItems
from ..fingerprint import bytes_of
from ..items import Box, LocatedThings, Questions
from ..rng import Rng
from ._derived import DerivedData
from .conversations import COLUMN, ConversationData

PAPERS = {"visual-experts-ive": ("DetectedData", "Tools")}

Fault = Literal["missed", "renamed", "moved"]
FAULTS: tuple[Fault, ...] = ("missed", "renamed", "moved")
_JITTER = 0.05
"""How far a side of any box is off, in shares of the picture's side."""


@final
@dataclass(frozen=True)
class Tools:
    """A simulated detector.

    Attributes:
        rate: the probability that a thing is detected wrongly: missed, named as something that the picture does not
            show, or moved, each as often.
        emptied: the share of training rows whose requests state nothing.

    Raises:
        ValueError: for a rate that is not between 0 and 1, and a share outside [0, 1].
    """

    rate: float
    emptied: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(
                f"tools={self.rate:g}: the error rate must be between 0 and 1, as true boxes would give answers away"
            )
        if not 0 <= self.emptied <= 1:
            raise ValueError(f"emptied={self.emptied:g}: the share of training rows must be in [0, 1]")

    def __str__(self) -> str:
        return f"tools={self.rate:g}" + (f",emptied={self.emptied:g}" if self.emptied else "")

    def detected(
        self, things: Sequence[tuple[str, Box]], names: Sequence[str], draws: Rng
    ) -> list[tuple[str, Box]]:
        """Return things as the detector gives them.

        Args:
            things: of a picture, with their boxes.
            names: that a thing can have.
            draws: decide what is wrong.
        """
        absent = [name for name in names if name not in {name for name, _ in things}]
        return [
            it
            for number, (name, box) in enumerate(things)
            if (it := self._detected(f"thing {number}", name, box, absent, draws))
        ]

    def _detected(
        self, purpose: str, name: str, box: Box, absent: Sequence[str], draws: Rng
    ) -> tuple[str, Box] | None:
        fault = draws.choice(f"{purpose} fault", FAULTS) if draws.happens(purpose, self.rate) else None
        if fault == "missed" or (fault == "renamed" and not absent):
            return None
        if fault == "renamed":
            name = draws.choice(f"{purpose} name", absent)
        left, top, right, bottom = box
        across = down = 0.0
        if fault == "moved":
            across = draws.uniform(f"{purpose} across") * (1 - (right - left)) - left
            down = draws.uniform(f"{purpose} down") * (1 - (bottom - top)) - top
        moved = (left + across, top + down, right + across, bottom + down)
        left, top, right, bottom = (
            min(max(side + (2 * draws.uniform(f"{purpose} side {number}") - 1) * _JITTER, 0.0), 1.0)
            for number, side in enumerate(moved)
        )
        return name, (left, top, right, bottom)


@final
class DetectedData(DerivedData):
    """Data whose requests begin with things and boxes, some of which are wrong.

        Detected: cat [0.1, 0.5, 0.3, 0.7], ball [0.6, 0.1, 0.9, 0.4]. What colour is the cat?

    A box is left, top, right and bottom in tenths of the picture's side. Questions from `items` begin so too. Errors
    follow from the row's id: a row has the same ones in every run.

    Args:
        data: with things and boxes; conversations are made of its questions and captions where it has none.
        tools: the detector.

    Raises:
        LookupError: for data without things and boxes.

    Source: He et al., "Incorporating Visual Experts to Resolve the Information Loss in Multimodal Large Language
    Models" (2024), arXiv 2401.03105; described from memory. There a trained detector and a text reader are used.
    """

    part: ClassVar[str] = "detections"

    def __init__(self, data: Data, tools: Tools) -> None:
        if COLUMN not in data.columns:
            data = ConversationData(data)
        super().__init__(data, with_tools(data.name, tools))
        self.tools, self.changes = tools, (str(tools),)
        self._stated: dict[int, str] = {}
        self._train = frozenset(data.splits.train.tolist()) if tools.emptied else frozenset[int]()
        self.stated(data.splits.train[:1])

    def stated(self, rows: Rows) -> list[str]:
        """Return what stands in front of the requests of some rows."""
        new = np.array([row for row in dict.fromkeys(rows.tolist()) if row not in self._stated], np.int64)
        if len(new):
            items = self.data.items(LocatedThings, new)
            for row, things in zip(items.rows.tolist(), items.things, strict=True):
                draws = Rng(0, int(self.ids[row]), "tools")
                self._stated[row] = self._text(row, self.tools.detected(things, items.names, draws), draws)
        return [self._stated[int(row)] for row in rows]

    def _text(self, row: int, detected: Sequence[tuple[str, Box]], draws: Rng) -> str:
        if row in self._train and draws.happens("emptied", self.tools.emptied):
            return ""
        said = (f"{name} [{', '.join(f'{side:.1f}' for side in box)}]" for name, box in detected)
        return f"Detected: {', '.join(said) or 'nothing'}. "

    def read(self, column: str, rows: Rows) -> Any:
        return self._conversations(rows) if column == COLUMN else super().read(column, rows)

    def read_training(self, column: str, rows: Rows) -> Any:
        return self._conversations(rows) if column == COLUMN else super().read_training(column, rows)

    def items(self, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None) -> SomeItems:
        items = super().items(form, rows, kinds)
        if form is Questions and isinstance(items, Questions):
            items = copy(items)
            stated = self.stated(items.rows)
            items.questions = [
                replace(question, text=f"{text}{question.text}")
                for text, question in zip(stated, items.questions, strict=True)
            ]
        return items

    def digests(self) -> Mapping[str, Sequence[bytes]]:
        return {**super().digests(), COLUMN: list(self._row_bytes())}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        return np.array([it[:16].ljust(16) for it in self._row_bytes()], dtype="S16")[:, None]

    def _row_bytes(self) -> Iterator[bytes]:
        yield from map(bytes_of, self._conversations(np.arange(len(self))))

    def _conversations(self, rows: Rows) -> list[Conversation]:
        return [
            tuple(Exchange(f"{text}{one.request}", one.reply) for one in row)
            for text, row in zip(self.stated(rows), self.data.read(COLUMN, rows), strict=True)
        ]


def with_tools(source: str, tools: Tools) -> str:
    """Return the name of data whose requests state detections.

    >>> with_tools("scenes:tiny", Tools(0.2, 0.3))
    'scenes:tiny,tools=0.2,emptied=0.3'
    """
    return f"{source},{tools}"


def tools_of(source: str) -> tuple[str, Tools | None]:
    """Return the name of data without the detector, and the detector; a file that is called so is a file.

    >>> tools_of("scenes:tiny,tools=0.2,emptied=0.3,talk=questions")
    ('scenes:tiny,talk=questions', Tools(rate=0.2, emptied=0.3))

    Raises:
        ValueError: for what is no number.
    """
    if ",tools=" not in source or os.path.exists(source):
        return source, None
    numbers = {"tools": "", "emptied": "0"}
    for name in numbers:
        if named := re.search(rf",{name}=([^,]*)", source):
            source, numbers[name] = source[: named.start()] + source[named.end() :], named[1]
    try:
        rate, emptied = map(float, numbers.values())
    except ValueError:
        raise ValueError(f"{','.join(f'{k}={v}' for k, v in numbers.items())}: both are numbers") from None
    return source, Tools(rate, emptied)
