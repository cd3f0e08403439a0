"""All words that can stand in a caption of a scene, and which concepts a text names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product
from typing import NamedTuple, get_args

from ..scene import COLOURS, SIZES, Facing
from .grammar import Appearance, Determiner, Grammar, grammar
from .lexicon import Case, Lexicon

_LETTERS = re.compile(r"[^\W\d_]+")
_CASES: tuple[Case, ...] = ("nominative", "accusative", "dative")
_DETERMINERS: tuple[Determiner, ...] = ("a", "the", "")


def words_in(text: str) -> list[str]:
    """Return the words of a text, in small letters, without digits and signs.

    >>> words_in("Der Hund, 2 l'ancre")
    ['der', 'hund', 'l', 'ancre']
    """
    return _LETTERS.findall(text.lower())


@cache
def vocabulary(language: str) -> frozenset[str]:
    """Return every word, in every form, that captions of scenes are made of.

    >>> {"katzen", "roter", "links"} <= vocabulary("de"), "cats" in vocabulary("de")
    (True, False)

    Raises:
        UnknownNameError: for a language without words.
    """
    words = grammar(language)
    texts = [*_phrases(words), *_turns(words.lexicon)]
    return frozenset(word for text in texts for word in words_in(text))


def concepts_in(text: str, language: str) -> frozenset[str]:
    """Return the concepts that a text names by a noun of this language, in any number and case.

    >>> sorted(concepts_in("ein roter Hund und zwei Katzen", "de"))
    ['cat', 'dog']
    >>> sorted(concepts_in("un chat rose et une rose", "fr"))
    ['cat', 'rose']

    Raises:
        UnknownNameError: for a language without words.
    """
    nouns = _nouns(language)
    words = " ".join(words_in(text))
    concepts = set()
    for match in nouns.pattern.finditer(words):
        before = words[: match.start()].split()[-1:]
        if match.group() not in nouns.colours or not nouns.modified.intersection(before):
            concepts.add(nouns.concepts[match.group()])
    return frozenset(concepts)


class _Nouns(NamedTuple):
    """The nouns of a language.

    Attributes:
        concepts: from every form to its concept.
        pattern: finds them, the longest first.
        colours: words for colours: a noun among them is none where it stands behind a word of ``modified``.
        modified: ends of nouns, and "is".
    """

    concepts: Mapping[str, str]
    pattern: re.Pattern[str]
    colours: frozenset[str]
    modified: frozenset[str]


@cache
def _nouns(language: str) -> _Nouns:
    words = grammar(language)
    concepts = {
        " ".join(words_in(words.phrase(Appearance(concept), count, "", case=case).text)): concept
        for concept, count, case in product(words.lexicon.nouns, (1, 2), _CASES)
    }
    longest_first = sorted(concepts, key=len, reverse=True)
    colours = (form for forms in words.lexicon.colours.values() for form in forms)
    ends = (form.split()[-1] for form in (*concepts, *words.lexicon.is_))
    return _Nouns(
        concepts, re.compile(rf"\b(?:{'|'.join(longest_first)})\b"), frozenset(colours), frozenset(ends)
    )


def _phrases(words: Grammar) -> Iterator[str]:
    """Yield each noun alone, and each adjective and number with a noun of each gender, in all forms."""
    lexicon = words.lexicon
    genders = {noun.gender: concept for concept, noun in lexicon.nouns.items()}
    looks = [Appearance(concept) for concept in lexicon.nouns]
    for concept in genders.values():
        looks += [Appearance(concept, colour=colour) for colour in COLOURS]
        looks += [
            Appearance(concept, size, word=word) for size in SIZES for word in range(len(lexicon.sizes[size]))
        ]
        looks += [Appearance(concept, facing=facing) for facing in get_args(Facing)]
    for look, count, determiner, case in product(looks, (0, 1, 2), _DETERMINERS, _CASES):
        yield words.phrase(look, count, determiner, case=case).text
        if determiner == "a" and count:
            yield words.phrase(look, count, determiner, True, case).text
    for concept, count in product(genders.values(), range(1, len(lexicon.numbers))):
        noun = lexicon.nouns[concept]
        yield from (words.number(noun, count), words.pronoun(noun, count))


def _turns(lexicon: Lexicon) -> Iterator[str]:
    """Yield the words that stand between noun phrases."""
    yield from (
        lexicon.background,
        lexicon.empty,
        lexicon.nothing,
        lexicon.conjunction,
        lexicon.also,
        lexicon.at,
    )
    yield from (*lexicon.numbers, *lexicon.columns, *lexicon.stands, *lexicon.is_)
    yield from lexicon.contractions.values()
    groups: list[Iterable[Iterable[str]]] = [lexicon.relations.values(), lexicon.backgrounds.values()]
    groups += [
        lexicon.look_verb.values(),
        lexicon.positions,
        lexicon.colours.values(),
        *lexicon.sizes.values(),
    ]
    yield from (text for group in groups for texts in group for text in texts)
    yield from (text for frame in (*lexicon.frames, *lexicon.openings) for text in (frame.one, frame.several))
