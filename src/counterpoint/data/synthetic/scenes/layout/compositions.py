"""Combinations of known parts that are held out of training: fixed once, for every world.

Every concept and every colour is seen in training, only not every concept in every colour: of its nine colours a
concept has six in training, one in validation and two in test, and so has a colour its concepts (a Latin square).
Of the relations between two concepts seven tenths are for training and a tenth for validation, by a hash. ``cat left
of dog`` and ``dog right of cat`` are the same picture, so they are one composition; ``dog left of cat`` is another. Of
the pairs of concepts that are seen together, whichever way round, as many are for each part.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from ....sides import Side
from ..concepts import CONCEPTS
from ..scene import COLOURS, OPPOSITE, RELATIONS, Colour, RelationKind, Scene, relation_holds

Part = Side
"""The side of a split on which a combination is shown."""

_CONCEPT = {name: number for number, name in enumerate(CONCEPTS)}
_COLOUR_PARTS: tuple[Part, ...] = ("train",) * 6 + ("validation", "test", "test")
_HASHED_PARTS: tuple[Part, ...] = ("train",) * 7 + ("validation", "test", "test")
_TURNED: tuple[RelationKind, ...] = ("right of", "below")


def colour_part(concept: str, colour: Colour) -> Part:
    """Return the part in which a concept is shown in a colour.

    >>> sum(colour_part("cat", colour) == "train" for colour in COLOURS)
    6
    """
    return _COLOUR_PARTS[(_CONCEPT[concept] + COLOURS.index(colour)) % len(COLOURS)]


@lru_cache(maxsize=65536)
def relation_part(kind: RelationKind, subject: str, object: str) -> Part:
    """Return the part in which one concept is shown in a relation to another.

    >>> relation_part("left of", "cat", "dog") == relation_part("right of", "dog", "cat")
    True
    """
    if kind in _TURNED:
        return relation_part(OPPOSITE[kind], object, subject)
    word = blake2b(f"{subject} {kind} {object}".encode(), digest_size=8).digest()
    return _HASHED_PARTS[int.from_bytes(word, "little") % len(_HASHED_PARTS)]


@lru_cache(maxsize=65536)
def pair_part(one: str, other: str) -> Part:
    """Return the part in which two concepts are seen together.

    >>> pair_part("cat", "dog") == pair_part("dog", "cat")
    True
    """
    word = blake2b(" and ".join(sorted((one, other))).encode(), digest_size=8).digest()
    return _HASHED_PARTS[int.from_bytes(word, "little") % len(_HASHED_PARTS)]


def together(concepts: Sequence[str], count: int, part: Part) -> list[str] | None:
    """Find the first ``count`` concepts, in the order given, of which all pairs belong to a part; None if none do.

    >>> together(["cat", "dog", "cow", "pig"], 2, "test")
    ['cow', 'pig']
    """
    if count == 0:
        return []
    for index, concept in enumerate(concepts):
        left = [other for other in concepts[index + 1 :] if pair_part(concept, other) == part]
        others = together(left, count - 1, part)
        if others is not None:
            return [concept, *others]
    return None


def colour_parts(scene: Scene) -> set[Part]:
    """Return the parts that the coloured things of a scene belong to."""
    return {colour_part(thing.concept, thing.colour) for thing in scene if thing.colour is not None}


def relation_parts(scene: Scene) -> set[Part]:
    """Return the parts that the relations of a scene belong to: all that are visible, spoken of or not."""
    return {
        relation_part(kind, a.concept, b.concept)
        for i, a in enumerate(scene)
        for j, b in enumerate(scene)
        if i != j
        for kind in RELATIONS
        if relation_holds(kind, a, b, hidden=i < j)
    }
