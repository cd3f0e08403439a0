"""Views of conversations: one exchange of each row or several, their requests perhaps edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import UInt64
from torch import Tensor

from ...networks.base import Input
from ...networks.towers.chat import Chat
from ...raw import Conversation, Exchange
from .captions import CaptionOptions, TextView, text
from .keys import uniform

_NONE = (Exchange("", ""),)


@final
@dataclass(frozen=True)
class ConversationView:
    """One exchange of each row, drawn by the row's key, or as many as the input packs behind its pictures.

    Attributes:
        request: the view of the request; the reply stays as it is.
    """

    request: TextView

    def __call__(self, raw: Sequence[Conversation], keys: UInt64[np.ndarray, " n"], input: Input) -> Tensor:
        """Return a tower's input of exchanges of each row; a row with fewer than are packed gives all of its own.

        Raises:
            ValueError: if the keys are not one for each row.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per row: got {len(keys)} for {len(raw)} rows")
        packed = input.exchanges if isinstance(input, Chat) else 1
        draws = uniform(keys, "exchange")[:, 0].tolist()
        firsts = [int(u * len(row)) for row, u in zip(raw, draws, strict=True)]
        if packed == 1:
            drawn = [[(row or _NONE)[first]] for row, first in zip(raw, firsts, strict=True)]
        else:
            orders = uniform(keys, "further exchanges", max(1, *map(len, raw))).argsort(1)
            drawn = [
                [row[first], *(row[n] for n in order if n < len(row) and n != first)][:packed]
                if row
                else [*_NONE]
                for row, first, order in zip(raw, firsts, orders.tolist(), strict=True)
            ]
        counts = [len(of_row) for of_row in drawn]
        flat = [[one.request] for of_row in drawn for one in of_row]
        edited = iter(self.request.apply(flat, np.repeat(keys, counts)))
        rows = [tuple(Exchange(next(edited), one.reply) for one in of_row) for of_row in drawn]
        return input.pack(rows) if isinstance(input, Chat) and packed > 1 else input(rows)


def talk(name: str, augmentation: CaptionOptions) -> ConversationView:
    """Return a view of conversations by its name.

    - ``plain``: one exchange of the row.
    - ``weak``, ``strong``, ``simclr``: its request as the view of texts of that name changes it.

    Raises:
        UnknownNameError: for any other name.
    """
    return ConversationView(text(name, augmentation))
