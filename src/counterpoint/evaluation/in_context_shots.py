"""Examples in context: which ones stand before a request, in what form, and what of the reply counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from ..data.base import Data, Rows, SomeItems
from ..data.items import Items, ObjectAnnotations
from ..data.views import key
from ..decoding.prompts import digest_of
from ..forms import Natural
from ..ranges import Checked
from ..types import Assistant, Picture, Prompt, Turn
from .task import NotApplicableError, items_of

PAPERS = {"evalign-icl": ("InContext",)}

POOL = 256
"""Rows of the training data among which examples are drawn, at most."""
OBJECTS = "Objects:"
"""The mark of the auxiliary task to list what there is."""


@final
@dataclass(frozen=True)
class Shots(Checked):
    """The number of examples that are shown, with or without pictures.

    Attributes:
        count: of examples.
        pictures: whether theirs are shown too.

    Raises:
        ValueError: for a negative count.
    """

    count: Natural
    pictures: bool = True

    @property
    def name(self) -> str:
        """Return the name in reports: the number of examples, which for `ZERO_SHOT` is 0."""
        return {NOTHING: "nothing", ZERO_SHOT: "0"}.get(
            self, str(self.count) + " texts" * (not self.pictures)
        )

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        """Read the name of shots where they are written as a task's option."""
        if not isinstance(value, str):
            return value
        count = value.partition(" ")[0]
        number = int(count) if count.isdecimal() else 0
        each = (NOTHING, ZERO_SHOT, cls(number), cls(number, pictures=False))
        if value not in (named := {shots.name: shots for shots in each}):
            raise PydanticCustomError(
                "shots",
                "must be a number of examples, '4', or '4 texts' for such without their pictures, '0' for two of "
                "these, or 'nothing'",
            )
        return vars(named[value])


NOTHING = Shots(0)
"""The request alone."""
ZERO_SHOT = Shots(2, pictures=False)
"""The zero-shot setting of papers on Flamingo-like models: two examples without their pictures, which show the form."""


@final
@dataclass(frozen=True)
class InContextExample:
    """A request with all that can be shown of it.

    Attributes:
        picture: what it is about.
        text: what is asked.
        reply: what is right.
        aside: what is right where an auxiliary task is done besides.
        worse: a reply that is not right.
    """

    picture: Picture
    text: str
    reply: str
    aside: str = ""
    worse: str = ""


@runtime_checkable
class ShotFormat(Protocol):
    """The form in which an example is shown, and so a reply is asked for."""

    def reply(self, example: InContextExample) -> str:
        """Return the reply that an example shows."""
        ...

    def read(self, reply: str) -> str:
        """Return the part of a model's reply that is the answer."""
        ...


@dataclass(frozen=True)
class PlainFormat:
    """Examples with their right replies."""

    def reply(self, example: InContextExample) -> str:
        return sentence(example.reply)

    def read(self, reply: str) -> str:
        return reply.strip()


PLAIN = PlainFormat()


@final
@dataclass(frozen=True)
class MultiTask:
    """MT-ICL: the reply, and behind a mark that of an auxiliary task; what stands behind the mark is not read.

    >>> form = MultiTask("Objects:")
    >>> form.read("A cat on a box. Objects: cat, box, dog")
    'A cat on a box.'
    """

    mark: str

    def reply(self, example: InContextExample) -> str:
        return f"{sentence(example.reply)} {self.mark} {sentence(example.aside)}"

    def read(self, reply: str) -> str:
        return reply.partition(self.mark)[0].strip()


@final
@dataclass(frozen=True)
class Hindsight:
    """CoH-ICL: a good and a bad reply, named as such; the good one is read.

    >>> Hindsight().read("Good: The cat is red. Bad: The cat is there.")
    'The cat is red.'
    """

    def reply(self, example: InContextExample) -> str:
        return f"Good: {sentence(example.reply)} Bad: {sentence(example.worse)}"

    def read(self, reply: str) -> str:
        return reply.strip().removeprefix("Good:").partition("Bad:")[0].strip()


@final
@dataclass(frozen=True)
class InContext:
    """An assistant that is shown examples before every request, and of whose replies the answers are read.

    An order of the pool is drawn for each request from the seed, its picture and the purpose; its first ``count`` are
    shown. So fewer examples are among more of them, and requests about one picture, in whichever form, come after the
    same ones. With it every task for models that answer can be given in context.

    Attributes:
        assistant: that replies.
        pool: the examples.
        shots: how many are shown.
        form: in which they are shown.
        seed: of the draws.
        purpose: another one is another draw.
        choose: from a request and a number to the positions of the examples that are shown, in their order, as
            `counterpoint.evaluation.nearest_examples.NearestExamples` does; drawn unless given.

    Raises:
        NotApplicableError: for a pool of fewer examples than are to be shown.

    >>> import torch
    >>> class Echo:
    ...     def reply(self, prompts, *, seed=0):
    ...         return [prompt.turns[0].reply for prompt in prompts]
    ...     def word_logits(self, prompts, words): ...
    >>> grey = torch.zeros(3, 4, 4, dtype=torch.uint8)
    >>> pool = [InContextExample(grey, "What is there?", "a cat", aside="cat")]
    >>> shown = InContext(Echo(), pool, Shots(1), MultiTask(OBJECTS))
    >>> shown.reply([Prompt("What is there?", grey)])
    ['A cat.']
    """

    assistant: Assistant
    pool: Sequence[InContextExample]
    shots: Shots
    form: ShotFormat = PLAIN
    seed: int = 0
    purpose: str = ""
    choose: Callable[[Prompt, int], Sequence[int]] | None = None

    def __post_init__(self) -> None:
        if len(self.pool) < self.shots.count:
            raise NotApplicableError(
                f"{self.shots.count} examples are to be shown and there are {len(self.pool)}: show fewer, or give more "
                "training rows"
            )

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        replies = self.assistant.reply([self.shown(prompt) for prompt in prompts], seed=seed)
        return [self.form.read(each) for each in replies]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        return self.assistant.word_logits([self.shown(prompt) for prompt in prompts], words)

    def shown(self, prompt: Prompt) -> Prompt:
        """Put examples before a request, ahead of turns of its own."""
        choose = self._drawn if self.choose is None else self.choose
        turns = tuple(
            Turn(each.text, self.form.reply(each), each.picture if self.shots.pictures else None)
            for each in (self.pool[index] for index in choose(prompt, self.shots.count))
        )
        return replace(prompt, turns=(*turns, *prompt.turns))

    def _drawn(self, prompt: Prompt, count: int) -> list[int]:
        keys = key(self.seed, _digest(prompt), np.arange(len(self.pool)), f"examples {self.purpose}")
        return np.argsort(keys, kind="stable")[:count].tolist()


def _digest(prompt: Prompt) -> int:
    shown = prompt.text if prompt.picture is None else prompt.picture
    return int.from_bytes(digest_of(shown), "little")


def with_pictures(
    data: Data, form: type[SomeItems], rows: Rows, task: str, kinds: tuple[str, ...] | None = None
) -> tuple[SomeItems, UInt8[Tensor, "k 3 H W"]]:
    """Return the items of some rows and their pictures, drawn once for all numbers of examples.

    Raises:
        NotApplicableError: if the data has none.
    """
    items, pictures = _with_pictures(data, form, rows.astype(np.int64).tobytes(), task, kinds)
    return items, pictures


@lru_cache(maxsize=16)
def _with_pictures(
    data: Data, form: type[Items], rows: bytes, task: str, kinds: tuple[str, ...] | None
) -> tuple[Any, Tensor]:
    items: Any = items_of(data, form, np.frombuffer(rows, np.int64), task, kinds)
    return items, items.pictures(np.arange(len(items)))


def pool_rows(data: Data, rows: Rows) -> Int[np.ndarray, " k"]:
    """Return the first training rows that are not asked about."""
    return np.setdiff1d(data.splits.train[: POOL + len(rows)], rows)[:POOL]


def sentence(text: str) -> str:
    """Write a text as replies are written: with a capital letter and a full stop.

    >>> sentence("a red cat")
    'A red cat.'
    """
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def with_objects(
    pool: Sequence[InContextExample], ids: Int[np.ndarray, " k"], data: Data, rows: Rows, task: str
) -> list[InContextExample]:
    """Give examples a list of what their pictures show as the auxiliary reply.

    Args:
        pool: the examples.
        ids: of their rows.
        data, rows: that they are from.
        task: for the message of an error.

    Raises:
        NotApplicableError: if the data does not say what these pictures show.
    """
    items = items_of(data, ObjectAnnotations, rows, task)
    shown = {int(identity): present for identity, present in zip(items.ids, items.present, strict=True)}
    if not set(map(int, ids)) <= set(shown):
        raise NotApplicableError(f"{task}: {data.name!r} does not say what all of its pictures show")
    return [
        replace(each, aside=", ".join(sorted(shown[int(identity)])) or "nothing")
        for each, identity in zip(pool, ids, strict=True)
    ]


def prompts(queries: Sequence[InContextExample]) -> list[Prompt]:
    """Return the requests alone, without examples."""
    return [Prompt(query.text, query.picture) for query in queries]
