"""Noun phrases: articles, numbers, adjectives and nouns that agree, in four languages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Literal, NamedTuple, final

from ..scene import Colour, Facing, Size
from .lexicon import Case, Forms, Noun, lexicon

Role = Literal["phrase", "count", "size", "colour", "facing", "noun", "relation", "position", "background"]
"""The role of some words of a caption: a whole noun phrase, or what the words say of things."""

Determiner = Literal["a", "one", "the", ""]
"""The determiner: ``"a"`` and ``"one"`` are "two" for two things, "no" for none; ``""`` gives the bare noun."""


class PhrasePart(NamedTuple):
    """Some words of a phrase, and what they are: ``text[start:end]``."""

    start: int
    end: int
    role: Role


class Phrase(NamedTuple):
    """A noun phrase.

    Attributes:
        text: its words.
        parts: those of them that say what it speaks of.
    """

    text: str
    parts: tuple[PhrasePart, ...]


class Appearance(NamedTuple):
    """The look that words can give one thing, or several that are alike; None is not said.

    Attributes:
        word: which of the words for its size is used, where there are several.
    """

    concept: str
    size: Size | None = None
    colour: Colour | None = None
    facing: Facing | None = None
    word: int = 0

    def covers(self, other: Appearance) -> bool:
        """Return whether this look is true of all that the other look is true of, so that "another" is needed."""
        attributes = (self.size, self.colour, self.facing)
        known = (other.size, other.colour, other.facing)
        return self.concept == other.concept and all(
            a is None or a == b for a, b in zip(attributes, known, strict=True)
        )


Words = Iterator[tuple[str, Role | None]]


class Grammar(ABC):
    """The rules by which one language makes noun phrases.

    Args:
        language: one of :data:`~counterpoint.data.synthetic.scenes.words.lexicon.LANGUAGES`.
    """

    nearest: bool = False
    """Agreement of a verb before a list with the list's first member alone ("there is a cat and a dog")."""
    verb_second: bool = False
    """Order of words with the subject after the verb if another word begins the clause ("dann erscheint ein Hund")."""

    def __init__(self, language: str) -> None:
        self.lexicon = lexicon(language)

    @lru_cache(maxsize=2**16)  # noqa: B019 (there are four grammars, kept for good)
    def phrase(
        self,
        noun_phrase: Appearance,
        count: int = 1,
        determiner: Determiner = "a",
        more: bool = False,
        case: Case = "nominative",
    ) -> Phrase:
        """Return a noun phrase for things of one look.

        Args:
            noun_phrase: what it says of its things.
            count: how many they are.
            determiner: ``"a"``, ``"one"``, ``"the"`` or none.
            more: "another", for a thing that could be taken for one spoken of before; only with ``"a"``.
            case: what the words before it ask for.

        >>> grammar("en").phrase(Appearance("elephant", "small", "orange")).text
        'a small orange elephant'
        >>> grammar("de").phrase(Appearance("dog", "small"), 2, case="dative").text
        'zwei kleinen Hunden'

        Raises:
            ValueError: for a count that has no word.
        """
        if not 0 <= count < len(self.lexicon.numbers):
            raise ValueError(f"count must be 0 to {len(self.lexicon.numbers) - 1}, got {count}")
        return _composed(
            self._words(noun_phrase, self.lexicon.nouns[noun_phrase.concept], count, determiner, more, case)
        )

    @abstractmethod
    def _words(
        self, noun_phrase: Appearance, noun: Noun, count: int, determiner: Determiner, more: bool, case: Case
    ) -> Words:
        """Return the words of a noun phrase in order; one that ends in an apostrophe has no space after it."""

    @abstractmethod
    def agreeing(self, forms: Forms, noun: Noun, count: int) -> str:
        """Return the form of an adjective in "the things are …"."""

    def number(self, noun: Noun, count: int) -> str:
        """Return a number from two on, before its noun."""
        return self.lexicon.numbers[count]

    def pronoun(self, noun: Noun, count: int) -> str:
        """Return a number in place of its noun, as in "two on the left and one on the right"."""
        return self.lexicon.numbers[count]

    def size(self, noun_phrase: Appearance) -> Forms:
        """Return the forms of the word for a size."""
        assert noun_phrase.size is not None
        words = self.lexicon.sizes[noun_phrase.size]
        return words[noun_phrase.word % len(words)]

    @lru_cache(maxsize=2**16)  # noqa: B019 (as above)
    def attach(self, before: str, phrase: Phrase) -> tuple[str, int]:
        """Return the words before a phrase as they are written in front of it, and how much of the phrase they swallow.

        >>> grammar("fr").attach("à gauche de", grammar("fr").phrase(Appearance("cat"), determiner="the"))
        ('à gauche du ', 3)
        """
        rest, space, last = before.rpartition(" ")
        first = phrase.text.partition(" ")[0]
        merged = self.lexicon.contractions.get(f"{last} {first}")
        if merged is None:
            return f"{before} ", 0
        if merged.endswith("'"):
            return rest + space + merged, 0
        return f"{rest}{space}{merged} ", len(first) + 1


def _composed(words: Words) -> Phrase:
    text, parts = "", []
    for word, role in words:
        if text and not text.endswith("'"):
            text += " "
        if role:
            parts.append(PhrasePart(len(text), len(text) + len(word), role))
        text += word
    return Phrase(text, tuple(parts))


@final
class English(Grammar):
    """Articles by sound; nothing else agrees."""

    nearest = True

    def _words(
        self, noun_phrase: Appearance, noun: Noun, count: int, determiner: Determiner, more: bool, case: Case
    ) -> Words:
        size = self.size(noun_phrase)[0] if noun_phrase.size else ""
        colour = self.lexicon.colours[noun_phrase.colour][0] if noun_phrase.colour else ""
        name = noun.singular if count == 1 else noun.plural
        number = self.number(noun, count) if count else "no"
        if determiner == "the":
            yield "the", None
            if count > 1:
                yield number, "count"
        elif determiner == "a" and count == 1:
            # No word here starts with another sound than its letter says ("a unicorn", "an hour").
            vowel = (size or colour or name)[0] in "aeiou"
            yield "another" if more else "an" if vowel else "a", "count"
        elif determiner:
            yield f"{number} other" if more else number, "count"
        if size:
            yield size, "size"
        if colour:
            yield colour, "colour"
        yield name, "noun"
        if noun_phrase.facing:
            yield self.lexicon.facing[noun_phrase.facing][0], "facing"

    def agreeing(self, forms: Forms, noun: Noun, count: int) -> str:
        return forms[0]


_GERMAN_ORDER = {"m": 0, "f": 1, "n": 2, "plural": 3}
_GERMAN_DEFINITE: dict[Case, tuple[str, ...]] = {
    "nominative": ("der", "die", "das", "die"),
    "accusative": ("den", "die", "das", "die"),
    "dative": ("dem", "der", "dem", "den"),
}
_GERMAN_INDEFINITE: dict[Case, tuple[str, ...]] = {  # endings of "ein" and "kein"
    "nominative": ("", "e", "", "e"),
    "accusative": ("en", "e", "", "e"),
    "dative": ("em", "er", "em", "en"),
}
_GERMAN_ADJECTIVE: dict[str, dict[Case, tuple[str, ...]]] = {
    "weak": {  # after "der", and after "keine"
        "nominative": ("e", "e", "e", "en"),
        "accusative": ("en", "e", "e", "en"),
        "dative": ("en", "en", "en", "en"),
    },
    "mixed": {  # after "ein"
        "nominative": ("er", "e", "es", "en"),
        "accusative": ("en", "e", "es", "en"),
        "dative": ("en", "en", "en", "en"),
    },
    "strong": {  # without an article, and after numbers
        "nominative": ("er", "e", "es", "e"),
        "accusative": ("en", "e", "es", "e"),
        "dative": ("em", "er", "em", "en"),
    },
}


@final
class German(Grammar):
    """Three genders, three cases, and adjectives declined by the article before them."""

    verb_second = True

    def _words(
        self, noun_phrase: Appearance, noun: Noun, count: int, determiner: Determiner, more: bool, case: Case
    ) -> Words:
        column = _GERMAN_ORDER["plural" if count != 1 else noun.gender]
        declension = "strong"
        if determiner == "the":
            declension = "weak"
            yield _GERMAN_DEFINITE[case][column], None
            if count > 1:
                yield self.number(noun, count), "count"
        elif determiner and count < 2:
            declension = "mixed"
            yield ("ein" if count else "kein") + _GERMAN_INDEFINITE[case][column], "count"
        elif determiner:
            yield self.number(noun, count), "count"
        ending = _GERMAN_ADJECTIVE[declension][case][column]
        if more:
            yield f"weiter{ending}", "count"
        if noun_phrase.facing:
            yield self.lexicon.facing[noun_phrase.facing][0] + ending, "facing"
        if noun_phrase.size:
            yield self.size(noun_phrase)[0] + ending, "size"
        if noun_phrase.colour:
            yield self.lexicon.colours[noun_phrase.colour][0] + ending, "colour"
        yield self._declined(noun, count, case), "noun"

    def _declined(self, noun: Noun, count: int, case: Case) -> str:
        if count == 1:
            return noun.irregular if noun.irregular and case != "nominative" else noun.singular
        return noun.plural + "n" * (case == "dative" and not noun.plural.endswith(("n", "s")))

    def agreeing(self, forms: Forms, noun: Noun, count: int) -> str:
        return forms[0]

    def pronoun(self, noun: Noun, count: int) -> str:
        one = {"m": "einer", "f": "eine", "n": "eines"}
        return one[noun.gender] if count == 1 else self.number(noun, count)


def _romance(forms: Forms, noun: Noun, count: int) -> str:
    return forms[0] if len(forms) == 1 else forms[(noun.gender == "f") + 2 * (count > 1)]


@final
class French(Grammar):
    """Two genders; sizes before the noun, colours after it; elision before a vowel and a silent h."""

    def _words(
        self, noun_phrase: Appearance, noun: Noun, count: int, determiner: Determiner, more: bool, case: Case
    ) -> Words:
        size = _romance(self.size(noun_phrase), noun, count) if noun_phrase.size else ""
        before = bool(size) and noun_phrase.size != "medium"  # "petit chat", but "chat de taille moyenne"
        name = noun.plural if count > 1 else noun.singular
        feminine = noun.gender == "f"
        if determiner == "the":
            elided = not before and name[0] in "aeéèêiouh" and noun.irregular != "aspirated"
            yield "les" if count > 1 else "l'" if elided else "la" if feminine else "le", None
            if count > 1:
                yield self.number(noun, count), "count"
        elif determiner:
            yield self.number(noun, count) if count else "aucune" if feminine else "aucun", "count"
        if more:
            yield "autres" if count > 1 else "autre", "count"
        if before:
            yield size, "size"
        yield name, "noun"
        if noun_phrase.colour:
            yield _romance(self.lexicon.colours[noun_phrase.colour], noun, count), "colour"
        if size and not before:
            yield size, "size"
        if noun_phrase.facing:
            yield _romance(self.lexicon.facing[noun_phrase.facing], noun, count), "facing"

    def agreeing(self, forms: Forms, noun: Noun, count: int) -> str:
        return _romance(forms, noun, count)

    def number(self, noun: Noun, count: int) -> str:
        return self.lexicon.numbers[count] + "e" * (count in (1, 21) and noun.gender == "f")

    def pronoun(self, noun: Noun, count: int) -> str:
        return self.number(noun, count)


@final
class Spanish(Grammar):
    """Two genders; adjectives after the noun; "el" and "un" before a feminine noun with a stressed a."""

    def _words(
        self, noun_phrase: Appearance, noun: Noun, count: int, determiner: Determiner, more: bool, case: Case
    ) -> Words:
        name = noun.plural if count > 1 else noun.singular
        feminine = noun.gender == "f"
        article = feminine and not (noun.irregular == "el" and count < 2)  # whether it shows the gender
        if determiner == "the":
            yield ("las" if article else "los") if count > 1 else "la" if article else "el", None
            if count > 1:
                yield self.number(noun, count), "count"
        elif determiner and more:
            other = ("otra" if feminine else "otro") + "s" * (count > 1)
            yield f"{other} {self.number(noun, count)}" if count > 1 else other, "count"
        elif determiner:
            one = {0: ("ningún", "ninguna"), 1: ("un", "una")}
            yield one[count][article] if count < 2 else self.number(noun, count), "count"
        yield name, "noun"
        if noun_phrase.colour:
            yield _romance(self.lexicon.colours[noun_phrase.colour], noun, count), "colour"
        if noun_phrase.size:
            yield _romance(self.size(noun_phrase), noun, count), "size"
        if noun_phrase.facing:
            yield _romance(self.lexicon.facing[noun_phrase.facing], noun, count), "facing"

    def agreeing(self, forms: Forms, noun: Noun, count: int) -> str:
        return _romance(forms, noun, count)

    def number(self, noun: Noun, count: int) -> str:
        if count == 21:
            return "veintiuna" if noun.gender == "f" else "veintiún"
        return self.lexicon.numbers[count]

    def pronoun(self, noun: Noun, count: int) -> str:
        word = self.lexicon.numbers[count]
        return word[:-1] + "a" if noun.gender == "f" and count in (1, 21) else word


_GRAMMARS: dict[str, type[Grammar]] = {"en": English, "de": German, "fr": French, "es": Spanish}


@cache
def grammar(language: str) -> Grammar:
    """Return the grammar of a language.

    Raises:
        UnknownNameError: for a language without words.
    """
    lexicon(language)
    return _GRAMMARS[language](language)
