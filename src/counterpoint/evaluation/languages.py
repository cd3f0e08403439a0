"""Detection of the language of a reply by the reply's words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Self, final

from ..data.synthetic.scenes.words.lexicon import LANGUAGES
from ..data.synthetic.scenes.words.vocabulary import vocabulary, words_in

Detect = Callable[[str], str | None]
"""A function from a text to the text's language; None where the language cannot be told."""


@final
@dataclass(frozen=True)
class ClosedVocabulary:
    """A detector that tells languages apart by their words, exactly where replies have no other words.

    A text is in the language that knows most of its words, if that is one alone and knows ``least`` of them at least;
    else it is undetermined. Numbers, names and single words tell nothing of a language; words that several languages
    share count for each.

    Attributes:
        words: of each language, in small letters.
        least: words.

    Raises:
        ValueError: for no language, or a least number below 1.

    >>> detect = ClosedVocabulary({"en": {"a", "red", "dog"}, "de": {"ein", "roter", "hund"}})
    >>> detect("Ein roter Hund."), detect("Dog"), detect("a dog, ein hund")
    ('de', None, None)
    """

    words: Mapping[str, Collection[str]]
    least: int = 2

    def __post_init__(self) -> None:
        if not self.words or self.least < 1:
            raise ValueError(f"{len(self.words)} languages and least={self.least}: both must be at least 1")

    @classmethod
    def of_scenes(cls, languages: Collection[str] = LANGUAGES, least: int = 2) -> Self:
        """Make a detector with the words of captions of scenes.

        Raises:
            UnknownNameError: for a language without words.
        """
        return cls({language: vocabulary(language) for language in languages}, least)

    def __call__(self, text: str) -> str | None:
        words = words_in(text)
        known = {
            language: sum(word in vocabulary for word in words) for language, vocabulary in self.words.items()
        }
        most = max(known.values())
        leading = [language for language, count in known.items() if count == most]
        return leading[0] if most >= self.least and len(leading) == 1 else None
