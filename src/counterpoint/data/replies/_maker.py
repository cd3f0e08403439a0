"""The contract of makers of worse replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, final, runtime_checkable

from ...types import Assistant, Prompt
from ..items import AskedPart


@final
@dataclass(frozen=True)
class ReplyRequest:
    """A request about a picture, with its good reply.

    Attributes:
        prompt: what is asked, with the picture.
        reply: the good reply.
        edited: a false reply in the same words, where the data knows one.
        part: of the pictures that is asked about; None where it is all of one picture.
    """

    prompt: Prompt
    reply: str
    edited: str | None = None
    part: AskedPart | None = None


@runtime_checkable
class Maker(Protocol):
    """A way to make a worse reply for each of some requests.

    A reply follows from the seed and the request, whatever stands beside it.

    Attributes:
        papers: slugs of papers that it is from.
    """

    papers: ClassVar[tuple[str, ...]]

    def __call__(
        self, assistant: Assistant, asked: Sequence[ReplyRequest], seed: int
    ) -> Sequence[str | None]:
        """Return a worse reply to each request; None where none can be made."""
        ...
