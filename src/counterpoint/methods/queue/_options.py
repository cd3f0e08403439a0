"""Options that the methods with a queue share."""

from __future__ import annotations

from typing import TypedDict

from ...forms import Fraction, Natural


class QueueOptions(TypedDict, total=False):
    """Options of the copy and the queue, see `MoCo`: m (0.99) and K (1,024)."""

    momentum: Fraction
    queue: Natural
