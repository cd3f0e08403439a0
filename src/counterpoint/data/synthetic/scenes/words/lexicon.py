"""The words of each language: nouns with what their grammar needs, adjectives, numbers, places, turns of phrase.

They are data, in ``words/LANGUAGE.yaml``; how they agree is :mod:`counterpoint.data.synthetic.scenes.words.grammar`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple, get_args

from .....files import parse_yaml
from .....registry import unknown

Language = Literal["en", "de", "fr", "es"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

Case = Literal["nominative", "accusative", "dative"]
"""The grammatical case, which only German nouns have."""

Forms = tuple[str, ...]
"""Forms of an adjective: one, or masculine and feminine singular, then plural. Of a verb: singular and plural."""


class Noun(NamedTuple):
    """A noun.

    Attributes:
        singular, plural: its two forms.
        gender: ``m``, ``f`` or ``n``; empty in English.
        irregular: what else its language must know, named at the top of the language's file.
    """

    singular: str
    plural: str
    gender: str = ""
    irregular: str = ""


class Frame(NamedTuple):
    """Words before what a picture shows: before one thing, before several, and the case that they ask for."""

    one: str
    several: str
    case: Case = "nominative"


class PhraseContext(NamedTuple):
    """Words before and after a phrase, and the case that they ask for."""

    before: str
    after: str
    case: Case = "nominative"


@dataclass(frozen=True)
class Lexicon:
    """All words of one language. The first of several ways to say a thing is the plainest.

    Attributes:
        nouns: of every concept.
        kinds: of every kind of concept.
        colours: the forms of every colour.
        sizes: of every size, the forms of each of its words.
        numbers: names of 0, 1, 2 …
        relations: the prepositions of every relation.
        positions: where a thing is in the picture, by row from the top and column from the left.
        columns: where a thing is, by column alone.
        background: what a sentence about the background begins with.
        backgrounds: how such a sentence ends, and a tag.
        frames: of short captions.
        openings: of long ones, capitalised.
        empty, nothing: the short and the long caption of a picture of nothing.
        conjunction: between the last two of a list; ``also`` where the list begins after a clause of its own.
        stands, is_: "is" of a place, "is" of a property.
        at: between a noun and its place.
        look_verb, facing: verb and adjective of looking left or right.
        contractions: of a preposition's last word with a phrase's first; one that ends in an apostrophe leaves the
            phrase whole.
        actions: what happens in clips: the verb, and what follows it.
        then: between two events.
        scenery: around what there is besides.
    """

    nouns: Mapping[str, Noun]
    kinds: Mapping[str, Noun]
    colours: Mapping[str, Forms]
    sizes: Mapping[str, tuple[Forms, ...]]
    numbers: tuple[str, ...]
    relations: Mapping[str, tuple[str, ...]]
    positions: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...]
    background: str
    backgrounds: Mapping[str, tuple[str, str]]
    frames: tuple[Frame, ...]
    openings: tuple[Frame, ...]
    empty: str
    nothing: str
    conjunction: str
    also: str
    stands: Forms
    is_: Forms
    at: str
    look_verb: Mapping[str, Forms]
    facing: Mapping[str, Forms]
    contractions: Mapping[str, str]
    actions: Mapping[str, tuple[str, str]]
    then: str
    scenery: PhraseContext


@cache
def lexicon(language: str) -> Lexicon:
    """Return the words of a language.

    >>> lexicon("de").nouns["cat"]
    Noun(singular='Katze', plural='Katzen', gender='f', irregular='')

    Raises:
        UnknownNameError: for a language without words.
    """
    if language not in LANGUAGES:
        raise unknown("language", language, LANGUAGES)
    text = (files("counterpoint.data.synthetic.scenes.words") / f"{language}.yaml").read_text(
        encoding="utf-8"
    )
    read: dict[str, Any] = parse_yaml(text)
    nouns = {part: {name: Noun(*forms) for name, forms in read[part].items()} for part in ("nouns", "kinds")}
    frames = {part: tuple(Frame(*frame) for frame in read[part]) for part in ("frames", "openings")}
    return Lexicon(
        nouns=nouns["nouns"],
        kinds=nouns["kinds"],
        colours=_forms(read["colours"]),
        sizes={size: tuple(map(tuple, words)) for size, words in read["sizes"].items()},
        numbers=tuple(read["numbers"]),
        relations=_forms(read["relations"]),
        positions=tuple(map(tuple, read["positions"])),
        columns=tuple(read["columns"]),
        background=read["background"],
        backgrounds={name: (phrase, tag) for name, (phrase, tag) in read["backgrounds"].items()},
        frames=frames["frames"],
        openings=frames["openings"],
        empty=read["empty"],
        nothing=read["nothing"],
        conjunction=read["and"],
        also=read["also"],
        stands=tuple(read["stands"]),
        is_=tuple(read["is"]),
        at=read["at"],
        look_verb=_forms(read["looks"]),
        facing=_forms(read["facing"]),
        contractions=read["contractions"],
        actions={name: (verb, rest) for name, (verb, rest) in read["clips"]["actions"].items()},
        then=read["clips"]["then"],
        scenery=PhraseContext(*read["clips"]["scenery"]),
    )


def _forms(read: Mapping[str, list[str]]) -> dict[str, Forms]:
    return {name: tuple(forms) for name, forms in read.items()}
