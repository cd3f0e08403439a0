"""Items that evaluation asks about besides plain pairs: squares, choices, regions, questions.

A data set that has such items returns them from ``Data.items``; tasks of :mod:`counterpoint.evaluation` take
them from there, so the same task runs on generated scenes and on a user's copy of a public benchmark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ..raw import Conversation


class Items(ABC):
    """Some questions of one form about some pictures.

    Attributes:
        ids: a stable integer per item; a bootstrap resamples items.
        kinds: what each item is about (``"swap colour"``), for breakdowns.
        attribution: the licence line that must stand wherever the pictures are shown.
    """

    called: ClassVar[str] = "items"
    """The items in words, for messages."""

    ids: Int[np.ndarray, " n"]
    kinds: Sequence[str]
    attribution: str = ""

    def __len__(self) -> int:
        return len(self.ids)


class MinimalPairs(Items):
    """Two pictures and two captions that differ in one thing: caption 0 says picture 0, caption 1 picture 1."""

    called = "minimal pairs"

    captions: Sequence[tuple[str, str]]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        """Return both pictures of some items."""


class Choices(Items):
    """A picture and several texts, one of which is right."""

    called = "choices"

    options: Sequence[Sequence[str]]
    answers: Int[np.ndarray, " n"]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        """Return the pictures of some items."""


class Associations(Choices):
    """Attributes that can be said of one thing in a picture of one or two: the thing's own attribute is right.

    Attributes:
        others: the option that is the other thing's attribute; −1 where the thing is alone.
        things: what the picture shows, the thing in question first.
    """

    called = "associations"

    others: Int[np.ndarray, " n"]
    things: Sequence[tuple[str, ...]]


class Regions(Items):
    """A phrase and the part of the picture that it speaks of.

    Attributes:
        phrases: of each item.
        rows: of the data, one an item; regions of one row are of the same picture.
    """

    called = "regions"

    phrases: Sequence[str]
    rows: Int[np.ndarray, " n"]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        """Return the pictures of some items."""

    @abstractmethod
    def masks(self, positions: Int[np.ndarray, " k"]) -> Bool[Tensor, "k H W"]:
        """Return the pixels that the phrase speaks of, as a mask of each picture."""


class Correspondences(Items):
    """Two pictures that show the same thing, and where the same points of it are in each.

    Attributes:
        points: of each item, ``(k, 2, 2)``: (x, y) of each point in the first and in the second picture, in [0, 1]
            from the upper left corner; those that are seen in both.
    """

    called = "correspondences"

    points: Sequence[Float[np.ndarray, "k 2 2"]]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        """Return both pictures of some items."""


Box = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of a picture's sides."""


@dataclass(frozen=True)
class AskedPart:
    """The part of a row's pictures that its requests are about.

    Attributes:
        columns: of the pictures that a request shows.
        number: of the picture that is asked about, among these.
        box: of what is asked about in it.
        others: the same kinds of requests about what else the pictures show, with their replies; a request is worded as
            the row's own is.
    """

    columns: tuple[str, ...]
    number: int
    box: Box
    others: tuple[Conversation, ...]

    def replies_to(self, request: str) -> list[str]:
        """Return the replies to a request where it is about something else in the pictures."""
        return [exchange.reply for talk in self.others for exchange in talk if exchange.request == request]


YES_OR_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a picture.

    Attributes:
        kind: ``existence``, ``count``, ``colour``, ``relation``, ``comparison`` …
        text: the question.
        answer: in a word or two; one of ``options`` where there are any.
        options: what can be answered, where the question is a choice; empty for a free answer.
        reason: what makes the answer right, as a clause; empty where none is known.
    """

    kind: str
    text: str
    answer: str
    options: tuple[str, ...] = ()
    reason: str = ""

    @property
    def closed(self) -> str:
        """The question with its possible answers, as a model is asked.

        >>> Question("colour", "Is the cat red?", "yes", ("yes", "no")).closed
        'Is the cat red? Answer yes or no.'
        """
        if not self.options:
            return self.text
        *most, last = self.options
        return f"{self.text} Answer {', '.join(most)} or {last}."

    @property
    def asked(self) -> str:
        """The question: with its possible answers where these are yes and no, else by itself."""
        return self.closed if self.answer in YES_OR_NO else self.text


class Questions(Items):
    """Questions about pictures, one picture or several a question.

    Attributes:
        questions: what is asked.
        rows: of the data, whose pictures are asked about; questions of one row are about the same picture.
    """

    called = "questions"

    questions: Sequence[Question]
    rows: Int[np.ndarray, " n"]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k *n 3 H W"]:
        """Return the pictures of some items; of questions about n pictures each, ``(k, n, 3, H, W)``."""


class Comparisons(Items):
    """Statements about two pictures, each true or false.

    Attributes:
        statements: of each item.
        answers: ``"true"`` or ``"false"``.
        rows: of the data, the first and the second picture of each item.
    """

    called = "statements about two pictures"

    statements: Sequence[str]
    answers: Sequence[str]
    rows: Int[np.ndarray, "n 2"]


class TwinQuestions(Items):
    """One question about two pictures, whose right answers differ.

    Attributes:
        questions: of each item, as it is to be answered of the first and of the second picture; text and options are
            the same.
    """

    called = "twin questions"

    questions: Sequence[tuple[Question, Question]]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        """Return both pictures of some items."""


@runtime_checkable
class Sample(Protocol):
    """One question about one picture, both of which can still be changed.

    Attributes:
        question: as it is asked now; its answer and its options never change.
        picture: as it is shown now.
        captions: texts that say of the picture what each option says of it, for models that compare pictures with
            texts; none where that cannot be said.
    """

    @property
    def question(self) -> Question: ...
    @property
    def picture(self) -> UInt8[Tensor, "3 H W"]: ...
    @property
    def captions(self) -> Sequence[str]: ...


S = TypeVar("S", bound=Sample)
Operator = Callable[[S, int], tuple[S, str] | None]
"""From a sample and a seed to a changed sample and what was done; None where nothing can be done."""


class QuestionVariants(Questions, Generic[S]):
    """Questions that can be asked in other words about changed pictures, with the same answer.

    Attributes:
        operators: ways to change a sample, by name; ``V…`` change the picture and ``L…`` the question.
    """

    called = "question variants"

    operators: Mapping[str, Operator[S]]

    @abstractmethod
    def sample(self, position: int) -> S:
        """Return an item as it is."""

    @abstractmethod
    def judge(self, before: S, after: S, done: str) -> bool:
        """Return whether the answer of an item is still right after a change, and still has to be seen."""


class FactCounts(NamedTuple):
    """Statements of a description beside what a picture shows; what is said twice counts once.

    Attributes:
        true, false: how many hold, and how many do not.
        undecided: those that speak of one thing where there are several.
        recalled: how many of the picture's facts are among those that hold.
        facts: of the picture.
    """

    true: int
    false: int
    undecided: int
    recalled: int
    facts: int


class ObjectAnnotations(Items):
    """Pictures and what there is to mention in them.

    Attributes:
        present: the concepts that each picture shows.
        partners: concepts that usually go with those and are not there; none where the data knows of no such habit.
        forms: every concept that can be mentioned, those of no picture too, to the words for it: singular, plural,
            synonyms.
    """

    called = "object annotations"

    present: Sequence[frozenset[str]]
    partners: Sequence[frozenset[str]]
    forms: Mapping[str, tuple[str, ...]]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        """Return the pictures of some items."""


class LocatedThings(Items):
    """Pictures and the things that they show, each with its box.

    Attributes:
        things: of each picture, by name.
        names: every name that a thing can have, those of no picture too.
        rows: of the data, one an item.
    """

    called = "things with boxes"

    things: Sequence[Sequence[tuple[str, Box]]]
    names: Sequence[str]
    rows: Int[np.ndarray, " n"]


class StatedFacts(Items):
    """Pictures, and a judge of what descriptions of them say."""

    called = "facts"

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        """Return the pictures of some items."""

    @abstractmethod
    def judge(self, position: int, description: str) -> FactCounts:
        """Return how many statements of a description of an item's picture hold."""


class Instructions(Items):
    """Pictures and what is to be written about each; the kind is the form that is asked for.

    Attributes:
        texts: what is asked for.
        replies: one that does as asked.
    """

    called = "instructions"

    texts: Sequence[str]
    replies: Sequence[str]

    @abstractmethod
    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        """Return the pictures of some items."""


class TwinItems(Items):
    """Rows, and of each a twin that differs from it in one thing, which the kind names.

    Attributes:
        rows: of the data, one an item.
    """

    called = "twins"

    rows: Int[np.ndarray, " n"]

    @abstractmethod
    def read(self, column: str, positions: Int[np.ndarray, " k"]) -> Any:
        """Return a column of some items' twins, in the raw form of its modality."""


class Videos(Items):
    """Questions about videos."""

    called = "videos"

    @abstractmethod
    def frames(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k T 3 H W"]:
        """Return the frames of some items' videos, all of one length."""


class ContrastCaptions(Videos):
    """A video and two captions that differ in one thing, named by the kind: the first one says what happens."""

    called = "contrast captions"

    captions: Sequence[tuple[str, str]]


class GeneratedVideos(Videos):
    """A caption and a video that should show it; the kind is what is wrong with the video, or that nothing is."""

    called = "generated videos"

    captions: Sequence[str]


class Narrations(Videos):
    """Questions about a video and what is said beside it; one of the options, whole statements, is the answer.

    Where it is known what an answer needs, the kind says it: ``video``, ``text``, ``both`` or ``either``.

    Attributes:
        rows: of the data, one an item.
    """

    called = "narrations"

    narrations: Sequence[str]
    questions: Sequence[str]
    options: Sequence[tuple[str, ...]]
    answers: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]
