"""The questions and answers of one unit of work (arm × seed × task): kept, so that nothing is asked twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, final

from jaxtyping import Float
from torch import Tensor

from ...decoding import Cost
from ...decoding.prompts import digest_of
from ...files import read_json, write_json
from ...training.folder import remedy
from ...types import Assistant, CompletesReplies, Prompt, ReplyAttention, ShowsAttention

T = TypeVar("T")
_AT_ONCE = 64
"""Prompts between two reports of progress; an assistant makes its own batches of them."""
FILE = "replies.json"

Notify = Callable[[int], None]
"""A function that is told how many more prompts have been answered."""


@final
@dataclass
class Transcript:
    """Replies by the prompts that they answer, and the cost of the replies.

    Attributes:
        replies: the reply to each prompt, by `key_of`.
        asked: prompts that were answered, in words or in logits.
        seconds: what that took.
        passes: forward passes by branch; ``"own"`` are those of plain decoding.
        positions: decoder positions, likewise.
    """

    replies: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    seconds: float = 0.0
    passes: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Transcript:
        """Read the transcript of a folder; an empty one where there is none.

        Raises:
            DamagedFileError: if it cannot be read.
        """
        path = folder / FILE
        return read_json(path, cls, remedy(folder)) if path.exists() else cls()

    def write(self, folder: Path) -> None:
        write_json(folder / FILE, self.__dict__)

    @property
    def cost(self) -> Cost | None:
        """Return the cost of the replies; None where passes were not counted."""
        return Cost(self.passes, self.positions) if self.passes else None

    def spend(self, cost: Cost | None) -> None:
        """Add a cost; an assistant that does not count its passes has none."""
        if cost is not None:
            self.passes = dict(Counter(self.passes) + Counter(cost.passes))
            self.positions = dict(Counter(self.positions) + Counter(cost.positions))


def key_of(prompt: Prompt, seed: int) -> str:
    """Return the digest that tells prompts apart: of all that a prompt says and shows, and of the sampling's seed."""
    turns = [part for turn in prompt.turns for part in (turn.text, turn.reply, turn.picture)]
    return digest_of(seed, prompt.text, prompt.neutral, prompt.picture, *turns).hex()


@final
class TranscriptAssistant:
    """An assistant that asks another one what the transcript does not hold yet."""

    def __init__(self, assistant: Assistant, transcript: Transcript, notify: Notify) -> None:
        self.assistant, self.transcript, self.notify = assistant, transcript, notify

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        keys = [key_of(prompt, seed) for prompt in prompts]
        return self._known(keys, prompts, partial(self.assistant.reply, seed=seed))

    def complete(
        self, prompts: Sequence[Prompt], beginnings: Sequence[str], *, hidden: float = 0.0, seed: int = 0
    ) -> list[str]:
        assistant = self.assistant
        if not isinstance(assistant, CompletesReplies):
            raise ValueError(
                f"{type(assistant).__name__} cannot go on with a reply while tokens of the picture are hidden: "
                "take the run of a method that speaks"
            )

        def complete(some: Sequence[tuple[Prompt, str]]) -> list[str]:
            return assistant.complete(
                [prompt for prompt, _ in some], [text for _, text in some], hidden=hidden, seed=seed
            )

        begun = list(zip(prompts, beginnings, strict=True))
        keys = [digest_of(key_of(prompt, seed), text, hidden).hex() for prompt, text in begun]
        return self._known(keys, begun, complete)

    def attention(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[ReplyAttention]:
        """Return the attention of replies, which is computed anew each time."""
        assistant = self.assistant
        if not isinstance(assistant, ShowsAttention):
            raise ValueError(
                f"{type(assistant).__name__} does not show its attention: take the run of a method that speaks"
            )
        return assistant.attention(prompts, replies)

    def _known(
        self, keys: Sequence[str], questions: Sequence[T], ask: Callable[[list[T]], Sequence[str]]
    ) -> list[str]:
        """Return the texts of the keys, and ask for those that the transcript does not hold."""
        replies = self.transcript.replies
        keyed = dict(zip(keys, questions, strict=True))
        new = [key for key in keyed if key not in replies]
        for start in range(0, len(new), _AT_ONCE):
            chunk = new[start : start + _AT_ONCE]
            replies |= zip(chunk, ask([keyed[key] for key in chunk]), strict=True)
            self._count(len(chunk))
        return [replies[key] for key in keys]

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        logits = self.assistant.word_logits(prompts, words)
        self._count(len(prompts))
        return logits

    def _count(self, prompts: int) -> None:
        # Assistants that count their passes start anew once they have been read.
        counted: Any = self.assistant
        self.transcript.spend(getattr(counted, "cost", None))
        if hasattr(counted, "cost"):
            counted.cost = None
        self.transcript.asked += prompts
        self.notify(prompts)


class NotAskedError(LookupError):
    """A transcript holds no reply to a prompt."""


@final
class Replaying:
    """An assistant that says again what a transcript holds.

    Attributes:
        asked: the prompts and the replies to them, in order.
    """

    def __init__(self, replies: Mapping[str, str]) -> None:
        self.replies = replies
        self.asked: list[tuple[Prompt, str]] = []

    def reply(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[str]:
        texts = []
        for prompt in prompts:
            key = key_of(prompt, seed)
            if key not in self.replies:
                raise NotAskedError(f"no reply to {prompt.text!r}")
            texts.append(self.replies[key])
        self.asked += zip(prompts, texts, strict=True)
        return texts

    def word_logits(self, prompts: Sequence[Prompt], words: Sequence[str]) -> Float[Tensor, "n w"]:
        raise NotAskedError("logits are not kept")
