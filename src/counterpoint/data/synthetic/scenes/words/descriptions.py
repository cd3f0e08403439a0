"""Sentences that tell classes apart: for zero-shot classification by descriptions instead of names.

Follow-up differential descriptions ask, of two classes that a picture could be, in which attributes they differ.
Here the answers come from what is known of scenes rather than from a language model.

Source: Esfandiarpoor and Bach, "Follow-Up Differential Descriptions" (2023), arXiv 2311.07593.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple, get_args

from .....files import parse_yaml
from .....registry import unknown
from ..concepts import CONCEPTS, Kind
from ..pixels.palette import palette
from ..scene import COLOURS, Thing
from .wording import indefinite

PAPERS = {"fudd": ("differences",)}

Trait = Literal["concept", "kind", "colour", "size", "shape", "parts", "place"]
TRAITS: tuple[Trait, ...] = get_args(Trait)

TEMPLATE = "a picture of {}"
"""The text for a class when nothing is said of the class."""

_KINDS: dict[Kind, str] = {
    "animal": "an animal",
    "food": "something to eat",
    "vehicle": "a vehicle",
    "tool": "a tool",
    "instrument": "a musical instrument",
    "clothing": "something to wear",
    "plant": "a plant",
    "furniture": "a household object",
    "toy": "a toy",
    "container": "a hollow object",
}
_NAMES = (
    *(
        "dax",
        "wug",
        "blicket",
        "toma",
        "fep",
        "zav",
        "koba",
        "lorp",
        "mivit",
        "nup",
        "pim",
        "rell",
        "sibu",
        "tulver",
    ),
    *(
        "vash",
        "yem",
        "zorb",
        "gazzer",
        "hux",
        "jat",
        "kiv",
        "lum",
        "modi",
        "noop",
        "plig",
        "quon",
        "rint",
        "stroon",
    ),
    *(
        "trell",
        "vimp",
        "wabe",
        "zib",
        "bosa",
        "chim",
        "dof",
        "frub",
        "glorp",
        "hib",
        "jorn",
        "kolp",
        "larb",
        "mip",
    ),
)


@dataclass(frozen=True)
class ClassDescription:
    """A class of things, and what is known of it.

    Attributes:
        name: the noun with its article.
        traits: words of each sort that are true of it; a trait that is not known is left out.
    """

    name: str
    traits: Mapping[Trait, tuple[str, ...]]


class TraitDifference(NamedTuple):
    """A trait in which two classes differ, and the same sentence about each of them."""

    trait: Trait
    first: str
    second: str


def concept(name: str) -> ClassDescription:
    """Describe a concept: its kind, the colours that its artists give it, its shape, parts that show.

    >>> concept("banana").traits["shape"], concept("banana").traits["colour"]
    (('long', 'curved'), ('yellow', 'brown'))

    Raises:
        UnknownNameError: for a name that is no concept.
    """
    if name not in CONCEPTS:
        raise unknown("concept", name, CONCEPTS)
    drawn = _drawn()[name]
    traits: dict[Trait, tuple[str, ...]] = {"kind": (_KINDS[CONCEPTS[name].kind],)}
    colours = tuple(colour for colour in COLOURS if colour in palette(name))
    if colours:
        traits["colour"] = colours
    return ClassDescription(
        indefinite(name), traits | {"shape": tuple(drawn["shape"]), "parts": tuple(drawn["parts"])}
    )


def invented(things: Sequence[Thing]) -> tuple[ClassDescription, ...]:
    """Invent a class for each thing, under a name that no caption has: its concept, size, and dye where it has one.

    Whoever learned words from captions cannot know the name, but can know what is said of it.

    >>> red, blue = (Thing("cat", colour, "small", 150, 500, 500) for colour in ("red", "blue"))
    >>> for each in differences(*invented([red, blue])):
    ...     print(each.first, "|", each.second)
    a picture of a dax, which is red | a picture of a wug, which is blue

    Raises:
        ValueError: for more things than there are names.
    """
    if len(things) > len(_NAMES):
        raise ValueError(f"things: there are {len(_NAMES)} invented names, got {len(things)} things")
    described = []
    for name, thing in zip(_NAMES, things, strict=False):
        traits: dict[Trait, tuple[str, ...]] = {
            "concept": (indefinite(thing.concept),),
            "size": (thing.size,),
        }
        if thing.colour:
            traits["colour"] = (thing.colour,)
        described.append(ClassDescription(indefinite(name), traits))
    return tuple(described)


def statements(described: ClassDescription) -> tuple[str, ...]:
    """Return all that is known of one class, a sentence a word, whatever other classes there are.

    >>> statements(concept("snake"))[-2:]
    ('a picture of a snake, which is curved', 'a picture of a snake, which has a tongue')
    """
    return tuple(
        _sentence(described, trait, (word,)) for trait, words in described.traits.items() for word in words
    )


def differences(first: ClassDescription, second: ClassDescription) -> tuple[TraitDifference, ...]:
    """Return the traits of which each class has words that the other lacks, and sentences with those words alone.

    >>> for each in differences(concept("lemon"), concept("carrot")):
    ...     print(each.trait, "|", each.first, "|", each.second)
    colour | a picture of a lemon, which is yellow | a picture of a carrot, which is orange
    shape | a picture of a lemon, which is oval | a picture of a carrot, which is long and pointed
    parts | a picture of a lemon, which has a peel | a picture of a carrot, which has leaves
    """
    differences = []
    for trait in TRAITS:
        its, others = first.traits.get(trait, ()), second.traits.get(trait, ())
        words = tuple(word for word in its if word not in others)
        other = tuple(word for word in others if word not in its)
        if words and other:
            differences.append(
                TraitDifference(trait, _sentence(first, trait, words), _sentence(second, trait, other))
            )
    return tuple(differences)


def similarities(first: ClassDescription, second: ClassDescription) -> tuple[TraitDifference, ...]:
    """Return the words that are true of both classes, as sentences: what should help nobody to tell them apart.

    >>> [each.first for each in similarities(concept("guitar"), concept("trumpet"))]
    ['a picture of a guitar, which is a musical instrument', 'a picture of a guitar, which is long']
    """
    similarities = []
    for trait in TRAITS:
        both = tuple(word for word in first.traits.get(trait, ()) if word in second.traits.get(trait, ()))
        if both:
            similarities.append(
                TraitDifference(trait, _sentence(first, trait, both), _sentence(second, trait, both))
            )
    return tuple(similarities)


def _sentence(described: ClassDescription, trait: Trait, words: Sequence[str]) -> str:
    *most, last = words
    joint = " or " if trait == "colour" else " and "
    enumeration = f"{', '.join(most)}{joint}{last}" if most else last
    verb = "has" if trait == "parts" else "is"
    return f"{TEMPLATE.format(described.name)}, which {verb} {enumeration}"


@cache
def _drawn() -> dict[str, dict[str, list[str]]]:
    text = (files("counterpoint.data.synthetic.scenes.words") / "traits.yaml").read_text(encoding="utf-8")
    return parse_yaml(text)
