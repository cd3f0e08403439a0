"""The model's own wrong replies to requests about one of several pictures, written while it attends to the others."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...forms import Fraction, Positive
from ...ranges import Checked
from ...types import Assistant, ReplyAttention, ShowsAttention
from ..items import AskedPart, Box
from ._maker import ReplyRequest


@final
class Albums(Checked):
    """Wrong replies whose attention to what is asked about is low.

        R = (attention to the tokens of what is asked about / attention to all tokens of pictures) /
            (number of these tokens / number of all tokens of pictures)

    R is 1 where attention is spread evenly, however small the part is that is asked about. A reply is a worse one where
    R is below ``ratio``. Attention is that of the tokens of the reply; words and attention sinks count nowhere. A token
    belongs to what is asked about where more than half of its area does.

    A reply that says what the good one says is no worse reply, whatever its attention. So it is with one that differs
    in too few characters, is much longer or shorter, or has a high perplexity.

    Requests about one of several pictures are those of data in albums, ``,albums=sequence`` and the like
    (`counterpoint.data.derived.albums`). With a single picture R is 1, and no reply is a worse one.

    Args:
        ratio: R below which a wrong reply is taken.
        perplexity: of a token of the reply, at most.
        lengths: ratio of the numbers of words of the longer and the shorter reply, at most.
        edits: edit distance to the good reply as a share of the longer one's characters, at least.

    Source: Liu et al., "MIA-DPO: Multi-Image Augmented Direct Preference Optimization For Large Vision-Language Models"
    (2024), arXiv 2410.17637, by its card. The ratio there is not divided by the share of tokens, and right replies are
    not looked for. Its thresholds and layers were not checked; those here are our own and the same for every request.
    """

    papers: ClassVar[tuple[str, ...]] = ("mia-dpo",)

    def __init__(
        self,
        ratio: Positive = 1.0,
        perplexity: Positive = 20.0,
        lengths: Positive = 3.0,
        edits: Fraction = 0.1,
    ) -> None:
        self.ratio, self.perplexity, self.lengths, self.edits = ratio, perplexity, lengths, edits

    def __call__(self, assistant: Assistant, asked: Sequence[ReplyRequest], seed: int) -> list[str | None]:
        """Return the replies; None where the reply is right, attends to what is asked about, or is an outlier.

        Raises:
            ValueError: for requests none of which is about one of several pictures, an assistant that does not show its
                attention, and a model without a token that lies in what is asked about.
        """
        made: list[str | None] = [None] * len(asked)
        if asked and all(one.part is None for one in asked):
            raise ValueError(
                "albums takes requests about one of several pictures: write ,albums=sequence, collage or inset behind "
                "the data"
            )
        if not isinstance(assistant, ShowsAttention):
            raise ValueError(f"albums asks models that show their attention, not {type(assistant).__name__}")
        some = [number for number, one in enumerate(asked) if one.part is not None]
        replies = assistant.reply([asked[number].prompt for number in some], seed=seed)
        wrong = [
            (number, reply)
            for number, reply in zip(some, replies, strict=True)
            if reply.strip() and self._differs(asked[number].reply, reply)
        ]
        read = assistant.attention([asked[n].prompt for n, _ in wrong], [reply for _, reply in wrong])
        for (number, reply), attention in zip(wrong, read, strict=True):
            part = asked[number].part
            assert part is not None
            likely = math.exp(min(-attention.log_likelihood, 700)) <= self.perplexity
            if likely and attention_ratio(attention, part) < self.ratio:
                made[number] = reply
        return made

    def _differs(self, good: str, reply: str) -> bool:
        a, b = words(good), words(reply)
        shorter, longer = sorted((max(len(a), 1), max(len(b), 1)))
        if a == b or longer > self.lengths * shorter:
            return False
        one, other = " ".join(a), " ".join(b)
        return edit_distance(one, other) >= self.edits * max(len(one), len(other))


def attention_ratio(attention: ReplyAttention, part: AskedPart) -> float:
    """Return how much of the attention to pictures goes to a part of them, 1 where it is spread evenly.

    NaN for a reply without tokens.

    >>> even = ReplyAttention(torch.ones(1, 2, 2), 0.0)
    >>> attention_ratio(even, AskedPart(("image",), 0, (0.0, 0.0, 0.5, 0.5), ()))
    1.0

    Raises:
        ValueError: where no token lies in the part.
    """
    weights = attention.weights
    counted = ~weights.isnan()
    inside = torch.zeros_like(counted)
    inside[part.number] = inside_box(part.box, *weights.shape[1:])
    if not inside.any():
        raise ValueError(
            "no token of the picture lies in the part of it that is asked about: take a bridge with a token for each "
            "patch, such as linear, larger pictures or fewer of them"
        )
    if not (counted & inside).any() or not weights.nansum():
        return math.nan
    share = weights[inside].nansum() / weights.nansum()
    area = (counted & inside).sum() / counted.sum()
    return float(share / area)


def inside_box(box: Box, h: int, w: int) -> Bool[Tensor, "h w"]:
    """Return which cells of a grid have more than half of their area in a box.

    >>> inside_box((0.0, 0.0, 0.6, 1.0), 1, 3).tolist()
    [[True, True, False]]
    """
    left, top, right, bottom = box
    area = _overlap(top, bottom, h)[:, None] * _overlap(left, right, w)
    return area > 0.5


def _overlap(first: float, last: float, count: int) -> Float[Tensor, " count"]:
    """Return the share of each of some equal parts of the unit interval that lies between two numbers."""
    starts = torch.arange(count, dtype=torch.float64)
    return ((starts + 1).clamp(max=last * count) - starts.clamp(min=first * count)).clamp(min=0)


def words(text: str) -> list[str]:
    """Return the words of a reply without case, punctuation and a leading article.

    >>> words("A red cat.")
    ['red', 'cat']
    """
    plain = [word for word in (each.strip(string.punctuation).casefold() for each in text.split()) if word]
    return plain[1:] if len(plain) > 1 and plain[0] in ("a", "an", "the") else plain


def edit_distance(one: str, other: str) -> int:
    """Return how many characters are to be inserted, deleted or replaced to make one text of another.

    >>> edit_distance("a red cat", "a bed cap")
    2
    """
    previous = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (a != b)))
        previous = row
    return previous[-1]
