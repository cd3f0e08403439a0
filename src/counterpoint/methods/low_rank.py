"""The options of low-rank updates that an arm which speaks may state beside ``tune=lora``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..forms import Count, Positive
from .base import Method
from .options import options_of_arm, values

LOW_RANK: Mapping[str, Any] = {"rank": Count, "alpha": Positive, "dora": bool}
"""The options, with their types: see `counterpoint.networks.tune`."""
LORA = "lora"


def split_low_rank(
    named: str, constructor: Any, texts: Mapping[str, str], way: str | None
) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the options of a method, still text, and those of low-rank updates of its language model.

    An option that the method itself has, such as ``alpha`` of ``distillm-2``, stays the method's.

    Args:
        named: the arm, for errors.
        constructor: of the method.
        texts: the options that are stated.
        way: in which towers are tuned.

    Raises:
        ValueError: for an option of low-rank updates without ``tune=lora``, and for a value that it cannot have.
    """
    from ._speaking import SpeakingMethod

    if not (isinstance(constructor, type) and issubclass(constructor, Method)) or not issubclass(
        constructor, SpeakingMethod
    ):
        return dict(texts), {}
    own = options_of_arm(constructor)
    stated = {name: text for name, text in texts.items() if name in LOW_RANK and name not in own}
    if stated and way != LORA:
        first = min(stated)
        raise ValueError(
            f"{named}: {first} is of low-rank updates: write tune=lora, or leave {first}={stated[first]} out"
        )
    rest = {name: text for name, text in texts.items() if name not in stated}
    return rest, values("tune=lora", LOW_RANK, stated)
