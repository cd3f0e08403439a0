"""Views of conversations: one exchange of each row, or all of them, their requests perhaps edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import UInt64
from torch import Tensor

from ...networks.base import Input
from ...raw import Conversation, Exchange
from .captions import CaptionOptions, TextView, text
from .keys import uniform

_NONE = (Exchange("", ""),)


@runtime_checkable
class ConversationOptions(CaptionOptions, Protocol):
    """The keys of a recipe's ``augmentation`` section that the views of conversations read."""

    @property
    def exchanges(self) -> Literal["one", "all"]: ...


@final
@dataclass(frozen=True)
class ConversationView:
    """One exchange of each row, drawn by the row's key, or all of them.

    Attributes:
        request: the view of the request; the reply stays as it is.
        whole: all exchanges of a row, one behind the other.
    """

    request: TextView
    whole: bool = False

    def __call__(self, raw: Sequence[Conversation], keys: UInt64[np.ndarray, " n"], input: Input) -> Tensor:
        """Return a tower's input of one exchange of each row, or of all.

        Raises:
            ValueError: if the keys are not one for each row.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per row: got {len(keys)} for {len(raw)} rows")
        if self.whole:
            rows = [row or _NONE for row in raw]
            repeated = np.repeat(keys, [len(row) for row in rows])
            edited = iter(self.request.apply([[one.request] for row in rows for one in row], repeated))
            return input([tuple(Exchange(next(edited), one.reply) for one in row) for row in rows])
        draws = uniform(keys, "exchange")[:, 0].tolist()
        drawn = [(row or _NONE)[int(u * len(row))] for row, u in zip(raw, draws, strict=True)]
        requests = self.request.apply([[one.request] for one in drawn], keys)
        return input([(Exchange(request, one.reply),) for request, one in zip(requests, drawn, strict=True)])


def talk(name: str, augmentation: ConversationOptions) -> ConversationView:
    """Return a view of conversations by its name, of one exchange or of all as ``augmentation.exchanges`` says.

    - ``plain``: exchanges as they are.
    - ``weak``, ``strong``, ``simclr``: requests as the view of texts of that name changes them.

    Raises:
        UnknownNameError: for any other name.
    """
    return ConversationView(text(name, augmentation), augmentation.exchanges == "all")
