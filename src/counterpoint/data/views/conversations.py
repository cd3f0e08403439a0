"""Views of conversations: one exchange of each row, its request perhaps edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import UInt64
from torch import Tensor

from ...networks.base import Input
from ...raw import Conversation, Exchange
from .captions import CaptionOptions, TextView, text
from .keys import uniform

_NONE = (Exchange("", ""),)


@final
@dataclass(frozen=True)
class ConversationView:
    """One exchange of each row, drawn by the row's key.

    Attributes:
        request: the view of the request; the reply stays as it is.
    """

    request: TextView

    def __call__(self, raw: Sequence[Conversation], keys: UInt64[np.ndarray, " n"], input: Input) -> Tensor:
        """Return a tower's input of one exchange of each row.

        Raises:
            ValueError: if the keys are not one for each row.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per row: got {len(keys)} for {len(raw)} rows")
        draws = uniform(keys, "exchange")[:, 0].tolist()
        drawn = [(row or _NONE)[int(u * len(row))] for row, u in zip(raw, draws, strict=True)]
        requests = self.request.apply([[one.request] for one in drawn], keys)
        return input([(Exchange(request, one.reply),) for request, one in zip(requests, drawn, strict=True)])


def talk(name: str, augmentation: CaptionOptions) -> ConversationView:
    """Return a view of conversations by its name.

    - ``plain``: one exchange of the row.
    - ``weak``, ``strong``, ``simclr``: its request as the view of texts of that name changes it.

    Raises:
        UnknownNameError: for any other name.
    """
    return ConversationView(text(name, augmentation))
