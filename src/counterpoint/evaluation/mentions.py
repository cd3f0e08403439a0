"""The concepts that a text mentions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


class Mentions:
    """A finder of words for concepts in a text.

    Whole words only, whatever their case; of words that overlap the longest counts, so that a "teddy bear" is no bear.

    Args:
        forms: every concept to the words for it.

    Raises:
        ValueError: for a word that stands for two concepts, or none at all.

    >>> Mentions({"bear": ("bear", "bears"), "teddy bear": ("teddy bear",)})("Two bears and a teddy bear.")
    ['bear', 'teddy bear']
    """

    def __init__(self, forms: Mapping[str, Sequence[str]]) -> None:
        self._concept: dict[str, str] = {}
        for concept, words in forms.items():
            for word in words:
                other = self._concept.setdefault(word.lower(), concept)
                if other != concept:
                    raise ValueError(
                        f"{word!r} stands for {other!r} and for {concept!r}: leave one of them out"
                    )
        if not self._concept:
            raise ValueError("forms has no words, so that nothing can be mentioned")
        longest = sorted(self._concept, key=len, reverse=True)
        self._words = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")

    def __call__(self, text: str) -> list[str]:
        """Return the concepts in the order of their mentions, each as often as it is mentioned."""
        return [self._concept[word] for word in self._words.findall(" ".join(text.lower().split()))]
