"""Data: one form for every data set, its views, and the loader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..registry import lazy_exports

if TYPE_CHECKING:
    from .base import Labels, PairedData, Splits
    from .loader import Loader
    from .source import load

__all__ = ["Labels", "Loader", "PairedData", "Splits", "load"]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Labels": "base",
        "Loader": "loader",
        "PairedData": "base",
        "Splits": "base",
        "load": "source",
        "corruptions": "",
        "scenes": "",
        "views": "",
        "emoji": "",
    },
)
