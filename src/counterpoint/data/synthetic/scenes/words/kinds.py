"""Kinds of English words in texts about scenes."""

from __future__ import annotations

from functools import cache

from ..scene import COLOURS
from .grammar import grammar
from .vocabulary import concepts_in

_PLACES = frozenset(
    (
        "left",
        "right",
        "above",
        "below",
        "over",
        "under",
        "top",
        "bottom",
        "middle",
        "beside",
        "next",
        "between",
    )
)


@cache
def kind_of_word(word: str) -> str:
    """Return ``thing``, ``colour``, ``number``, ``size``, ``place`` or ``filler``.

    >>> [kind_of_word(word) for word in ("cats,", "red", "two", "small", "left", "is")]
    ['thing', 'colour', 'number', 'size', 'place', 'filler']
    """
    lexicon, word = grammar("en").lexicon, word.strip(".,;:!?").lower()
    sizes = {form for words in lexicon.sizes.values() for forms in words for form in forms}
    for kind, words in (
        ("colour", COLOURS),
        ("number", lexicon.numbers),
        ("size", sizes),
        ("place", _PLACES),
    ):
        if word in words:
            return kind
    return "thing" if concepts_in(word, "en") else "filler"
