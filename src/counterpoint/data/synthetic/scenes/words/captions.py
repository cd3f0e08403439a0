"""Scenes in words: short captions, long ones and tags, with where in the text each thing is spoken of.

>>> from counterpoint.data.synthetic.scenes.scene import Relation, Scene, Thing
>>> cat, dog = Thing("cat", "red", "medium", 200, 200, 500), Thing("dog", None, "small", 150, 700, 500)
>>> scene = Scene(0, (cat, dog), (Relation("left of", 0, 1),))
>>> short(scene).text
'a red cat to the left of a small dog'
>>> short(scene, "de").text
'eine rote Katze links von einem kleinen Hund'
>>> " ".join(sentence.text for sentence in long(scene)[:2])
'The picture shows a cat and a dog. The red cat is on the left and faces left.'
"""

from __future__ import annotations

from collections.abc import Collection

from ....rng import Rng
from ..concepts import CONCEPTS
from ..scene import Scene, Thing
from .grammar import Appearance, Determiner, Grammar, Phrase, grammar
from .lexicon import Case
from .paragraphs import long
from .referring import Attribute, Clause, Group, clauses, groups, noun_phrase
from .writing import Caption, Mention, Writer

__all__ = ["Caption", "Mention", "long", "phrase", "short", "tags", "terse"]

_PLAIN = 0.4  # how often a short caption is the bare phrase, besides its turn among the frames


def phrase(
    thing: Thing,
    language: str = "en",
    count: int = 1,
    determiner: Determiner = "a",
    exact: Collection[Attribute] = (),
    case: Case = "nominative",
) -> str:
    """Return a noun phrase for a thing, or for several like it.

    Args:
        thing: whose concept, colour and size are said; a medium size is not.
        language: ``en``, ``de``, ``fr`` or ``es``.
        count: how many like it; 0 is "no".
        determiner: ``"a"``, ``"the"`` or none.
        exact: ``"size"`` says a medium size too, ``"facing"`` which way it faces.
        case: of a German phrase.

    >>> phrase(Thing("umbrella", None, "large", 400, 500, 500))
    'a large umbrella'
    >>> phrase(Thing("umbrella", "orange", "medium", 200, 500, 500), count=3, determiner="the")
    'the three orange umbrellas'
    >>> phrase(Thing("anchor", "red", "small", 200, 500, 500), "es", determiner="the")
    'el ancla roja pequeña'

    Raises:
        UnknownNameError: for a language without words.
        ValueError: for a count above 25.
    """
    return grammar(language).phrase(noun_phrase(thing, exact), count, determiner, case=case).text


def short(
    scene: Scene, language: str = "en", draws: Rng | None = None, exact: Collection[Attribute] = ()
) -> Caption:
    """Write one phrase or sentence about all of a scene but its background and its clutter.

    Args:
        scene: to be described.
        language: ``en``, ``de``, ``fr`` or ``es``.
        draws: choose among ways to say it, by the same draws in the same way; None takes the plainest.
        exact: attributes that are said of every thing that has them. Without, colours and sizes that would make
            more than three groups of one concept are left out, as are medium sizes and which way things face.

    >>> apple = Thing("apple", None, "small", 150, 200, 200)
    >>> short(Scene(0, (apple,) * 3)).text, short(Scene(0, ())).text
    ('three small apples', 'an empty picture')

    Raises:
        UnknownNameError: for a language without words.
    """
    words = grammar(language)
    if not scene.things:
        return Caption(words.lexicon.empty)
    word = draws.integer("word", 0, 11) if draws else 0
    linked, rest = clauses(scene, groups(scene, exact, word), exact)
    heads: list[Clause] = [*linked, *map(Clause, rest)]
    frame = words.lexicon.frames[0]
    if draws and not draws.happens("plain caption", _PLAIN):
        frame = draws.choice("frame", words.lexicon.frames)
    several = len(heads[0].subject.things) > 1 or (len(heads) > 1 and not words.nearest)
    writer, looks = Writer(words), list[Appearance]()
    for number, head in enumerate(heads):
        if number == 0:
            before = frame.several if several else frame.one
        elif number <= len(linked):
            before = words.lexicon.also
        else:
            before = words.lexicon.conjunction if number == len(heads) - 1 else ", "
        _tell(writer, words, head, looks, before, frame.case, word)
    return writer.caption()


def _tell(
    writer: Writer,
    words: Grammar,
    clause: Clause,
    mentioned: list[Appearance],
    before: str,
    case: Case,
    word: int,
) -> None:
    """Tell of a group and its relations; ``mentioned`` was spoken of before, so that one more is "another"."""

    def named(group: Group, case: Case) -> Phrase:
        more = any(group.noun_phrase.covers(other) for other in mentioned)
        mentioned.append(group.noun_phrase)
        return words.phrase(group.noun_phrase, len(group.things), "a", more, case)

    writer.phrase(before, named(clause.subject, case), clause.subject)
    for number, (kind, other) in enumerate(clause.links):
        ways = words.lexicon.relations[kind]
        writer.words(words.lexicon.conjunction if number else " ")
        both = clause.subject.things + other.things
        writer.phrase(ways[word % len(ways)], named(other, "dative"), other, link=both)


def terse(scene: Scene, language: str = "en") -> str:
    """Write a scene as a list of key words: a noun, how many there are, colour, size; in the order of the alphabet.

    Relations are not said.

    >>> apple = Thing("apple", "red", "small", 150, 200, 200)
    >>> terse(Scene(0, (apple, apple, Thing("cat", None, "medium", 200, 700, 500))))
    'apples two red small, cat'

    Raises:
        UnknownNameError: for a language without words.
    """
    words, parts = grammar(language), []
    for group in groups(scene):
        look, count = group.noun_phrase, len(group.things)
        number, _, noun = words.phrase(Appearance(look.concept), count, "a").text.partition(" ")
        parts.append(" ".join(filter(None, [noun, number if count > 1 else "", look.colour, look.size])))
    return ", ".join(sorted(parts)) or words.lexicon.empty


def tags(scene: Scene, language: str = "en") -> tuple[str, ...]:
    """Return key words of a scene: its things without their articles, what kinds of things they are, its background.

    >>> apple = Thing("apple", "red", "medium", 200, 200, 200)
    >>> tags(Scene(0, (apple, apple)))
    ('red apples', 'food', 'white background')

    Raises:
        UnknownNameError: for a language without words.
    """
    words = grammar(language)
    parts = groups(scene)
    things = [words.phrase(group.noun_phrase, len(group.things), "").text for group in parts]
    kinds = [words.lexicon.kinds[CONCEPTS[group.noun_phrase.concept].kind].singular for group in parts]
    return (*dict.fromkeys([*things, *kinds]), words.lexicon.backgrounds[scene.background][1])
