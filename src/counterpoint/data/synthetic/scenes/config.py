"""The configuration of a world of scenes: every option, one frozen type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import isqrt
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ....forms import Fraction
from ....registry import unknown
from ...sides import Side
from ..config import WorldConfig
from .concepts import CONCEPTS, KINDS
from .layout.compositions import colour_part
from .pixels.backgrounds import BACKGROUNDS
from .scene import COLOURS, RELATIONS, SIZES, UNIT, Colour, Facing, RelationKind, Size

MOST_THINGS = 25
SIDES: dict[Size, tuple[int, int]] = {"small": (160, 200), "medium": (260, 320), "large": (400, 460)}
"""The shortest and the longest side of each size, in thousandths; one size is never mistaken for another."""
CORRUPTED = tuple(f"{kind}_{s}" for kind in ("blur", "noise", "contrast", "jpeg") for s in (1, 2, 3))
"""Values that `Scene.corruption` may have: a kind of :mod:`counterpoint.data.corruptions` and its strength."""

MARKS = ("key", "bell", "crown", "candle")

ArtistName = Literal["twemoji", "openmoji"]
ARTIST_NAMES: tuple[ArtistName, ...] = ("twemoji", "openmoji")
"""Names of the artists, in the order of :data:`counterpoint.data.pictures.rendering.ARTISTS`."""
Share = Literal["any", Side]
Number = Annotated[int, Field(ge=0, le=MOST_THINGS)]


class SceneConfig(WorldConfig):
    """The configuration of a world of scenes. Probabilities are exact, and independent unless stated otherwise.

    On the command line a list is written with ``+`` (``colours=red+blue``), a range with ``-`` (``objects=2-4``)
    and pairs with ``:`` (``pairs=cat:dog+car:bus``).

    Attributes:
        objects: the fewest and the most things that words speak of; each number is as likely.
        same: whether they are all alike: of one concept, colour and size (for counting).
        repeats: probability that a further thing is one more of those before it, where no relation is shown.
        recoloured: probability that such a thing is dyed in a colour that none of its concept has so far, where one is
            left; else it has theirs.
        clutter: the fewest and the most small things besides, of other concepts, that captions do not mention.
        marked: probability that a scene carries a mark: one more small thing, which captions do not mention.
        marks: the concepts that marks are of, each as likely; none of ``concepts``.
        concepts: what there is.
        tail: exponent of a Zipf law over ``concepts`` in their order; 0 makes all as likely.
        pairs: concepts that go together, no concept in two pairs: ``strength`` is the probability that a concept's
            partner is present, given that the concept is. A scene shows one pair, whole or in part, or none; its
            other things are of concepts in no pair.
        spurious: what gives the concept away: each has a background (or a colour) of its own, in turn, which it
            is shown with with probability ``strength``, and else with another one.
        strength: of ``pairs`` and of ``spurious``.
        tinted: probability that a thing is dyed in one of ``colours``; else it is in the artist's own.
        colours: to dye with.
        sizes: of the things. Crowded scenes take only those that fit.
        relations: probability that a scene of two things or more is composed to show a relation of the first two.
        relation_kinds: which; those that the other options make impossible are left out. ``inside`` needs a concept
            that is a container, small things and larger ones.
        colour_compositions: ``train``, ``validation`` or ``test`` dyes things only in that part's colours of their
            concept (:mod:`counterpoint.data.synthetic.scenes.layout.compositions`); with the last two, everything is
            dyed.
        relation_compositions: the same for concept × relation × concept.
        backgrounds: each as likely, unless ``spurious``.
        artists: who drew the things; one for a whole scene.
        facings: which way things face; ``right`` mirrors them.
        corrupted: probability that a picture is made worse by one of ``corruptions``.
        corruptions: how.
        label_noise: fraction of rows whose captions are those of another scene. Labels are those of the picture.
        hidden_labels: fraction of labels that are not given, for each kind of label.
        missing_pictures: fraction of rows whose picture is not there (it is grey all over).
        missing_captions: fraction of rows whose caption is not there (it is empty).
        missing_tables: fraction of rows whose row of the table is not there (every cell is empty), where the preset
            has a table.
        lacking: which rows that is a fraction of, as ``LABEL:CLASS``, ``colour:red`` or ``count:2`` say; of all unless
            given.
        click_noise: how far clicks lie from the centre of the first thing: the standard deviation in either direction,
            as a share of the picture's side; a click stays in the picture.
        missing_clicks: fraction of rows without a click.
        one_told: fraction of the rows of several things whose captions speak of one of them alone, as many do on the
            web.
        unsaid: looks of things that captions leave out, though pictures show them: ``colour``, ``size`` or
            ``colour+size``.
        terse: fraction of rows whose captions are lists of key words, in English.
        filler: fraction of rows whose captions stand between English phrases that say nothing about the picture.
        retold: further captions for training, of several sentences, each in words of its own; these speak of what the
            picture shows, label noise or not.
        hallucinated: fraction of their sentences after the first that name a thing which is not there.

    >>> SceneConfig(objects="2-4", colours="red+blue").objects
    (2, 4)

    Raises:
        ValueError: for an unknown option, concept, colour … (naming the nearest that is known), a value out of range,
            or what cannot be: more things than fit, fewer concepts than things.
    """

    ranges: ClassVar[tuple[str, ...]] = ("objects", "clutter")
    known: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "concepts": tuple(CONCEPTS),
        "marks": tuple(CONCEPTS),
        "colours": COLOURS,
        "sizes": SIZES,
        "relation_kinds": RELATIONS,
        "backgrounds": tuple(BACKGROUNDS),
        "artists": ARTIST_NAMES,
        "facings": ("left", "right"),
        "corruptions": CORRUPTED,
    }
    objects: tuple[Number, Number] = (1, 3)
    same: bool = False
    repeats: Fraction = 0.0
    recoloured: Fraction = 0.0
    clutter: tuple[Number, Number] = (0, 0)
    marked: Fraction = 0.0
    marks: tuple[str, ...] = MARKS
    concepts: tuple[str, ...] = tuple(CONCEPTS)
    tail: Annotated[float, Field(ge=0, le=4)] = 0.0
    pairs: tuple[tuple[str, str], ...] = ()
    spurious: Literal["background", "colour"] | None = None
    strength: Fraction = 0.9
    tinted: Fraction = 0.5
    colours: tuple[Colour, ...] = COLOURS
    sizes: tuple[Size, ...] = SIZES
    relations: Fraction = 0.5
    relation_kinds: tuple[RelationKind, ...] = RELATIONS
    colour_compositions: Share = "any"
    relation_compositions: Share = "any"
    backgrounds: tuple[str, ...] = ("white",)
    artists: tuple[ArtistName, ...] = ("twemoji",)
    facings: tuple[Facing, ...] = ("left",)
    corrupted: Fraction = 0.0
    corruptions: tuple[str, ...] = CORRUPTED
    label_noise: Fraction = 0.0
    hidden_labels: Fraction = 0.0
    missing_pictures: Fraction = 0.0
    missing_captions: Fraction = 0.0
    missing_tables: Fraction = 0.0
    click_noise: Fraction = 0.0
    missing_clicks: Fraction = 0.0
    one_told: Fraction = 0.0
    unsaid: Literal["colour", "size", "colour+size"] | None = None
    terse: Fraction = 0.0
    filler: Fraction = 0.0
    retold: Annotated[int, Field(ge=0, le=8)] = 0
    hallucinated: Fraction = 0.0
    lacking: str = ""

    @field_validator("pairs", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        for pair in value.split("+"):
            if pair.count(":") != 1:
                raise ValueError(f"a pair is two concepts, as in cat:dog, got {pair or 'none'}")
        return tuple(tuple(pair.split(":")) for pair in value.split("+"))

    @field_validator("lacking")
    @classmethod
    def _of_a_class(cls, value: str) -> str:
        label, _, of_class = value.partition(":")
        if value and label not in _CLASSES:
            raise unknown("label in lacking", label, _CLASSES)
        if value and of_class not in _CLASSES[label]:
            raise unknown(f"{label} in lacking", of_class, _CLASSES[label])
        return value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for problem in (*_room(self), *_bias(self), *_held_out(self)):
            raise ValueError(problem)
        return self


_CLASSES: Mapping[str, tuple[str, ...]] = {
    "concept": tuple(CONCEPTS),
    "group": KINDS,
    "count": tuple(map(str, range(MOST_THINGS + 1))),
    "colour": COLOURS,
    "background": tuple(BACKGROUNDS),
}
"""Labels of scenes by which some may lack the table, with their classes."""


def grid(units: int) -> tuple[int, int]:
    """Return how many columns the smallest square grid with a cell for each of some units has, and a cell's side."""
    columns = isqrt(max(units, 1) - 1) + 1
    return columns, UNIT // columns


def fitting(sizes: tuple[Size, ...], units: int) -> tuple[Size, ...]:
    """Return the sizes that always leave room for so many things side by side."""
    return tuple(size for size in sizes if SIDES[size][1] <= grid(units)[1])


def _room(config: SceneConfig) -> list[str]:
    faults = []
    most = config.objects[1] + config.clutter[1] + (config.marked > 0)
    fits = max((n for n in range(1, MOST_THINGS + 1) if fitting(config.sizes, n)), default=0)
    if most > fits:
        faults.append(
            f"{most} things (objects and clutter) of size {' or '.join(config.sizes)} do not fit; at most {fits} do"
        )
    if config.marked and (both := sorted({*config.marks} & {*config.concepts})):
        faults.append(f"marks and concepts both have {', '.join(both)}: leave them out of concepts")
    needed = (1 if config.same else config.objects[1]) + config.clutter[1]
    if needed > len(config.concepts):
        faults.append(
            f"{needed} different things in a scene need as many concepts, got {len(config.concepts)}"
        )
    return faults


def _bias(config: SceneConfig) -> list[str]:
    faults = []
    paired = Counter(concept for pair in config.pairs for concept in pair)
    for concept, times in paired.items():
        if concept not in config.concepts:
            raise unknown("concept in pairs", concept, config.concepts)
        if times > 1:
            faults.append(f"pairs: {concept!r} is in more than one place")
    if config.pairs:
        free = len(config.concepts) - len(paired)
        if config.tail:
            faults.append(
                "pairs need tail=0: of two concepts that are not as common one cannot imply the other alike"
            )
        inner = [concept for concept in paired if CONCEPTS[concept].kind == "container"]
        if inner:
            faults.append(
                f"pairs: {inner[0]!r} is a container, which other things are inside of: choose another"
            )
        if config.same or config.objects[0] < 2:
            faults.append(
                "pairs need scenes of two objects or more, that are not all the same: set objects=2-3"
            )
        if free < config.objects[1] + config.clutter[1]:
            faults.append(
                f"pairs leave {free} concepts for the other things, of which there may be "
                f"{config.objects[1] + config.clutter[1]}: name fewer pairs or more concepts"
            )
        if config.relation_compositions != "any":
            faults.append(
                "pairs and relation_compositions both choose the concepts of a scene: set one of them"
            )
    choices = {"background": config.backgrounds, "colour": config.colours, None: ("", "")}[config.spurious]
    if len(choices) < 2:
        faults.append(
            f"spurious={config.spurious} needs at least two {config.spurious}s, got {', '.join(choices)}"
        )
    return faults


def _held_out(config: SceneConfig) -> list[str]:
    faults = []
    if config.recoloured and config.spurious == "colour":
        faults.append("spurious=colour and recoloured both choose the colours: set one of them")
    part = config.colour_compositions
    if part != "any":
        bare = [c for c in config.concepts if all(colour_part(c, x) != part for x in config.colours)]
        if bare:
            faults.append(f"colour_compositions={part} leaves no colour for {bare[0]!r}: allow all colours")
        if config.spurious == "colour":
            faults.append("spurious=colour and colour_compositions both choose the colours: set one of them")
    part = config.relation_compositions
    if part != "any" and (config.objects[1] > 2 or config.clutter[1] or config.same or config.relations < 1):
        faults.append(
            "relation_compositions needs relations=1, clutter=0 and at most two objects, not the same"
        )
    if part in ("validation", "test") and config.objects != (2, 2):
        faults.append(f"relation_compositions={part} needs objects=2")
    return faults
