"""Records that are broken when they are asked for, and what takes their place."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BROKEN = 0.01
"""Largest share of examples that may be broken, for whatever reason, unless another is given."""


@dataclass(frozen=True)
class Replacement:
    """A record that could not be used when its row was asked for.

    Attributes:
        row: of the data.
        where: the file and the place in it.
        reason: in the same words for all that have it.
        detail: further words.
        by: the record that took its place, always the same one.
    """

    row: int
    where: str
    reason: str
    detail: str
    by: str
