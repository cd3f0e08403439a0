"""The good replies of other rows: the control for makers that look at the picture or the reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from ...decoding.prompts import key_of
from ...types import Assistant
from ._maker import ReplyRequest


@final
class Random:
    """Another row's good reply, drawn by the request and the picture; None where all replies are equal."""

    papers: ClassVar[tuple[str, ...]] = ("bpo",)

    def __call__(self, assistant: Assistant, asked: Sequence[ReplyRequest], seed: int) -> list[str | None]:
        """Return the replies; the assistant is not asked."""
        replies = sorted({one.reply for one in asked})
        if len(replies) < 2:
            return [None] * len(asked)
        made: list[str | None] = []
        for one in asked:
            drawn = replies[key_of(one.prompt, seed) % len(replies)]
            # The reply itself gives way to the next one.
            made.append(replies[(replies.index(drawn) + 1) % len(replies)] if drawn == one.reply else drawn)
        return made
