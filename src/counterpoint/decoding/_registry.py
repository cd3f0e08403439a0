"""Decoding methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry

if TYPE_CHECKING:
    from .method import Decoding

DECODING = Registry("decoding method", "counterpoint.decoding.methods")


def create(name: str, **options: Any) -> Decoding:
    """Return the decoding method of this name.

    Raises:
        UnknownNameError: if there is none; the message names the nearest.

    >>> create("vcd", alpha=0.5).beta
    0.1
    """
    return DECODING.get(name)(**options)
