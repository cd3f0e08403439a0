"""Tasks on items that ask for more than a bag of words: squares, choices, regions.

They take their items from ``PairedData.items``, so a data set that has none of a form is no data for the task. The
examples of their scores are the items: ``example`` is the item's id and ``subset`` its kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...registry import lazy_exports

if TYPE_CHECKING:
    from .counting import confusion
    from .mining import BlindPairs, blind_pairs, similarity_quantile
    from .patterns import PatternProfile, pattern_profile

__all__ = [
    "BlindPairs",
    "PatternProfile",
    "blind_pairs",
    "confusion",
    "pattern_profile",
    "similarity_quantile",
]
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "BlindPairs": "mining",
        "PatternProfile": "patterns",
        "blind_pairs": "mining",
        "confusion": "counting",
        "pattern_profile": "patterns",
        "similarity_quantile": "mining",
    },
)
