"""Templates with a mask token, into which the tokens of texts are set."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..networks.base import TextTower
from ..networks.towers.parts.pooling import inside

TEXT, MASK = "{}", "{mask}"
"""Where a template has the text, and the mask token."""


class MaskedTemplate:
    """A template as tokens, into which the tokens of a text are set.

    Args:
        template: with one ``{}`` and one ``{mask}``.
        tower: that reads it.

    Raises:
        ValueError: for a template without one of these, or as long as all that the tower reads.
    """

    def __init__(self, template: str, tower: TextTower) -> None:
        if template.count(TEXT) != 1 or template.count(MASK) != 1:
            raise ValueError(f"the template {template!r} needs one {TEXT} and one {MASK}")
        tokenizer = tower.tokenizer
        mask = tokenizer.vocabulary
        before, after = (
            [
                t
                for part in re.split(r"(\{mask\})", half)
                for t in ([mask] if part == MASK else own_tokens(tower, part))
            ]
            for half in template.split(TEXT)
        )
        self.before, self.after = [*starting(tower), *before], [*after, tokenizer.end]
        self.room = tokenizer.context - len(self.before) - len(self.after)
        if self.room < 1:
            raise ValueError(
                f"the template {template!r} leaves no room for a text in {tokenizer.context} tokens"
            )

    def filled(self, text: Sequence[int]) -> list[int]:
        """Return the tokens with a text, which is cut where it is too long; the mask token never is."""
        return [*self.before, *text[: self.room], *self.after]


def starting(tower: TextTower) -> list[int]:
    """Return the tokens that every text of a tower begins with."""
    row = tower.tokenizer([""])[0]
    return [int(t) for t in row[: int((row == tower.tokenizer.end).long().argmax())]]


def own_tokens(tower: TextTower, text: str) -> list[int]:
    """Return the tokens of a text, without those that every text begins and ends with.

    >>> import torch
    >>> from counterpoint.networks import BytePairTokenizer
    >>> from counterpoint.networks.towers.transformer import TextReader
    >>> tower = TextReader(BytePairTokenizer.train(["a red car"], 300, context=8), width=8, heads=2)
    >>> tower.tokenizer.decode(torch.tensor(own_tokens(tower, " red car")))
    'red car'
    """
    if not text.strip():
        return []
    tokens = tower.tokenizer([text])
    count = int(inside(tokens, tower.tokenizer.end).sum()) - 1
    return [int(t) for t in tokens[0, len(starting(tower)) : count]]
