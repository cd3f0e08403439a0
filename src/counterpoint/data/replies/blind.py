"""The model's own replies while nearly all of the picture is hidden, written along the good reply."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import sqrt
from typing import ClassVar, final

from ...forms import Count, Fraction
from ...ranges import Checked
from ...types import Assistant, CompletesReplies
from ..views.stopwords import STOP_WORDS
from ._maker import ReplyRequest

_PART = re.compile(r"\S.*?(?:[.,;:!?]+(?=\s|$)|$)", re.DOTALL)
_END = re.compile(r"[.,;:!?]+(?=\s|$)")
_REFUSAL = re.compile(
    r"\b(?:(?:can ?not|can't|unable to|not able to) (?:see|view|access)|no (?:picture|image)|"
    r"(?:picture|image) (?:is|was) not)\b",
    re.IGNORECASE,
)
_APART = 1_000_003  # between the seeds of two tries


@final
class Blind(Checked):
    """Replies of the model that attends to few of the picture's tokens, so that they follow its habits.

    The hidden tokens are drawn once for a reply. No text attends to them in any layer, and positions stay as they are.
    The model goes on with the good reply clause by clause: each clause is written behind all of the good reply up to
    the clause's first content word, and ends where the good clause ends in a punctuation mark. So a worse reply has the
    style and about the length of the good one. A reply that is too similar to the good one is drawn again. Replies that
    say that no picture can be seen are left out.

    Args:
        share: of the picture's tokens that are hidden.
        similar: cosine similarity of the words, above which a reply is drawn again.
        tries: draws of a reply; the last one stays.
        guided: False writes whole replies, a control.

    Source: Amirloo et al., "Understanding Alignment in Multimodal LLMs: A Comprehensive Study" (2024), arXiv
    2407.02477; described from memory. The defaults, the similarity and the ends of parts are not the paper's.
    """

    papers: ClassVar[tuple[str, ...]] = ("bdhs",)

    def __init__(
        self, share: Fraction = 0.99, similar: Fraction = 0.97, tries: Count = 5, *, guided: bool = True
    ) -> None:
        self.share, self.similar, self.tries, self.guided = share, similar, tries, guided

    def __call__(self, assistant: Assistant, asked: Sequence[ReplyRequest], seed: int) -> list[str | None]:
        """Return the replies; None for a request without a picture, and in place of a refusal.

        Raises:
            ValueError: for an assistant that cannot hide tokens.
        """
        if not isinstance(assistant, CompletesReplies):
            raise ValueError(
                f"blind asks models that can hide a picture's tokens, not {type(assistant).__name__}"
            )
        made: list[str | None] = [None] * len(asked)
        drawn = [number for number, one in enumerate(asked) if one.prompt.picture is not None]
        for attempt in range(self.tries):
            some = [asked[number] for number in drawn]
            texts = self._written(assistant, some, seed + attempt * _APART)
            for number, text in zip(drawn, texts, strict=True):
                made[number] = text
            drawn = [
                number
                for number, one, text in zip(drawn, some, texts, strict=True)
                if similarity(one.reply, text) > self.similar
            ]
        return [None if text is None or _REFUSAL.search(text) else text for text in made]

    def _written(self, assistant: CompletesReplies, asked: Sequence[ReplyRequest], seed: int) -> list[str]:
        parts = [
            (one, part) for one in asked for part in (_clauses(one.reply) if self.guided else [(0, 0, "")])
        ]
        texts = assistant.complete(
            [one.prompt for one, _ in parts],
            [one.reply[:cut].rstrip() for one, (_, cut, _) in parts],
            hidden=self.share,
            seed=seed,
        )
        if not self.guided:
            return texts
        written = iter(zip(parts, texts, strict=True))
        replies = []
        for one in asked:
            clauses = []
            for _ in _clauses(one.reply):
                (_, (start, cut, end)), text = next(written)
                clauses.append(f"{one.reply[start:cut]} {_END.split(text)[0]}".strip() + end)
            replies.append(" ".join(" ".join(clauses).split()))
        return replies


def _clauses(reply: str) -> list[tuple[int, int, str]]:
    """Return the clauses of a reply: the place of each, that of its first content word, and its last marks."""
    clauses = []
    for match in _PART.finditer(reply):
        words = re.finditer(r"\S+", match[0])
        content = (word.start() for word in words if _plain(word[0]) not in STOP_WORDS)
        cut = match.start() + next(content, 0)
        end = _END.search(match[0])
        clauses.append((match.start(), cut, end[0] if end else ""))
    return clauses


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'()").casefold()


def similarity(one: str, other: str) -> float:
    """Return the cosine similarity of the words of two texts.

    >>> similarity("a red cat", "A cat, red."), similarity("a cat", "two dogs")
    (1.0, 0.0)
    """
    a, b = (Counter(map(_plain, text.split())) for text in (one, other))
    product = sum(a[word] * b[word] for word in a)
    return round(product / sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()) or 1), 9)
