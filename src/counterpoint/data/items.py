"""What evaluation asks about besides plain pairs: squares, choices, regions, questions.

A data set that has such items returns them from ``PairedData.items``; tasks of :mod:`counterpoint.evaluation` take
them from there, so the same task runs on generated scenes and on a user's copy of a public benchmark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8
from torch import Tensor


class Items(ABC):
    """Some questions of one form about some pictures.

    Attributes:
        ids: a stable integer per item; a bootstrap resamples items.
        kinds: what each item is about (``"swap colour"``), for breakdowns.
        attribution: the licence line that must stand wherever the pictures are shown.
    """

    ids: Int[np.ndarray, " n"]
    kinds: Sequence[str]
    attribution: str = ""

    def __len__(self) -> int:
        return len(self.ids)


class Squares(Items):
    """Two pictures and two captions that differ in one thing: caption 0 says picture 0, caption 1 picture 1."""

    captions: Sequence[tuple[str, str]]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        """Both pictures of some items."""


class Choices(Items):
    """A picture and several texts, one of which is right."""

    options: Sequence[Sequence[str]]
    answers: Int[np.ndarray, " n"]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        """The pictures of some items."""


class Associations(Choices):
    """What can be said of one thing in a picture of one or two: the options are attributes, its own is right.

    Attributes:
        others: the option that is the other thing's attribute; −1 where the thing is alone.
        things: what the picture shows, the thing in question first.
    """

    others: Int[np.ndarray, " n"]
    things: Sequence[tuple[str, ...]]


class Regions(Items):
    """A phrase and the part of the picture that it speaks of."""

    phrases: Sequence[str]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        """The pictures of some items."""

    @abstractmethod
    def masks(self, positions: Int[np.ndarray, " k"]) -> Bool[Tensor, "k H W"]:
        """Which pixels the phrase speaks of."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a picture.

    Attributes:
        kind: ``existence``, ``count``, ``colour``, ``relation``, ``comparison`` …
        text: the question.
        answer: in a word or two; one of ``options`` where there are any.
        options: what can be answered, where the question is a choice; empty for a free answer.
    """

    kind: str
    text: str
    answer: str
    options: tuple[str, ...] = ()


class Questions(Items):
    """Questions about pictures, one picture a question."""

    questions: Sequence[Question]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        """The pictures of some items."""


class Videos(Items):
    """Questions about videos."""

    @abstractmethod
    def frames(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k T 3 H W"]:
        """The frames of some items' videos, all of one length."""


class Contrasts(Videos):
    """A video and two captions that differ in one thing, named by the kind: the first one says what happens."""

    captions: Sequence[tuple[str, str]]


class Renditions(Videos):
    """A caption and a video that should show it; the kind is what is wrong with the video, or that nothing is."""

    captions: Sequence[str]
