"""Views of conversations: one exchange of each row, several or all, their requests perhaps edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import UInt64
from torch import Tensor

from ...networks.base import Input
from ...networks.towers.chat import WHOLE, Chat
from ...raw import Conversation, Exchange
from .captions import CaptionOptions, TextView, text
from .keys import uniform

_NONE = (Exchange("", ""),)


@final
@dataclass(frozen=True)
class ConversationView:
    """The exchanges of each row that the input reads in a step of training: one, several or all.

    One is drawn by the row's key. Of several, the first is that one, and the others are drawn by the key too.

    Attributes:
        request: the view of the request; the reply stays as it is.
    """

    request: TextView

    def __call__(self, raw: Sequence[Conversation], keys: UInt64[np.ndarray, " n"], input: Input) -> Tensor:
        """Return a tower's input of exchanges of each row; a row with fewer than are read gives all of its own.

        Raises:
            ValueError: if the keys are not one for each row.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per row: got {len(keys)} for {len(raw)} rows")
        read = input.exchanges if isinstance(input, Chat) else 1
        chosen = [row or _NONE for row in raw] if read == WHOLE else _drawn(raw, keys, read)
        flat = [[one.request] for of_row in chosen for one in of_row]
        edited = iter(self.request.apply(flat, np.repeat(keys, list(map(len, chosen)))))
        rows = [tuple(Exchange(next(edited), one.reply) for one in of_row) for of_row in chosen]
        return input.pack(rows) if isinstance(input, Chat) and input.packs else input(rows)


def _drawn(
    raw: Sequence[Conversation], keys: UInt64[np.ndarray, " n"], count: int
) -> Sequence[Sequence[Exchange]]:
    """Return some exchanges of each row, drawn by its key; fewer of a row that has fewer."""
    draws = uniform(keys, "exchange")[:, 0].tolist()
    firsts = [int(u * len(row)) for row, u in zip(raw, draws, strict=True)]
    if count == 1:
        return [[(row or _NONE)[first]] for row, first in zip(raw, firsts, strict=True)]
    orders = uniform(keys, "further exchanges", max(1, *map(len, raw))).argsort(1).tolist()
    return [
        [row[first], *(row[n] for n in order if n < len(row) and n != first)][:count] if row else _NONE
        for row, first, order in zip(raw, firsts, orders, strict=True)
    ]


def talk(name: str, augmentation: CaptionOptions) -> ConversationView:
    """Return a view of conversations by its name.

    - ``plain``: exchanges as they are.
    - ``weak``, ``strong``, ``simclr``: requests as the view of texts of that name changes them.

    Raises:
        UnknownNameError: for any other name.
    """
    return ConversationView(text(name, augmentation))
