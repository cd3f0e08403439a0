"""The scene: data first, a picture second, words third.

Lengths are whole thousandths of the picture's side, so that annotations are exact and do not depend on the size at
which a scene is drawn. ``x`` grows to the right, ``y`` downwards, as in pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

UNIT = 1000
"""The side of every scene."""

Size = Literal["small", "medium", "large"]
Colour = Literal["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "grey"]
RelationKind = Literal["left of", "right of", "above", "below", "inside", "behind"]
Facing = Literal["left", "right"]

SIZES: tuple[Size, ...] = get_args(Size)
COLOURS: tuple[Colour, ...] = get_args(Colour)
RELATIONS: tuple[RelationKind, ...] = get_args(RelationKind)
OPPOSITE: dict[RelationKind, RelationKind] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}
"""Relations that turn into another one when subject and object change places."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object of a scene.

    Attributes:
        concept: a name of :data:`counterpoint.data.synthetic.scenes.concepts.CONCEPTS`.
        colour: its tint; None leaves the artist's own colours.
        size: what words call it; ``side`` is exact.
        side: of the square that its emoji fills, in thousandths.
        x, y: of the centre of that square, in thousandths.
        artist: index into :data:`counterpoint.data.pictures.rendering.ARTISTS`.
        facing: ``"right"`` shows the emoji mirrored; as most animals are drawn looking left, ``"left"`` is as it is.
        clutter: whether it is there, and true of the picture, but captions do not speak of it.
    """

    concept: str
    colour: Colour | None
    size: Size
    side: int
    x: int
    y: int
    artist: int = 0
    facing: Facing = "left"
    clutter: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of its square, in thousandths; the drawn pixels' own box is in `Drawing`."""
        half = self.side // 2
        return self.x - half, self.y - half, self.x + half, self.y + half


@dataclass(frozen=True, slots=True)
class Relation:
    """``things[subject]`` is ``kind`` ``things[object]``."""

    kind: RelationKind
    subject: int
    object: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that is true of one picture.

    Attributes:
        index: in its world; with the world's seed it determines the scene.
        things: from back to front: a later one hides an earlier one.
        relations: those that the scene was composed to show (other pairs have positions too: see `relation_holds`).
        background: a name of :data:`counterpoint.data.synthetic.scenes.pixels.backgrounds.BACKGROUNDS`.
        corruption: a name of the corruptions that change the picture and nothing else, or None.
    """

    index: int
    things: tuple[Thing, ...]
    relations: tuple[Relation, ...] = ()
    background: str = "white"
    corruption: str | None = None

    def __iter__(self) -> Iterator[Thing]:
        return iter(self.things)

    @property
    def subjects(self) -> tuple[Thing, ...]:
        """The things that captions speak of: all but the clutter."""
        return tuple(thing for thing in self.things if not thing.clutter)

    def counts(self) -> dict[str, int]:
        """Count the things of each concept, in order of first appearance.

        >>> cat = Thing("cat", "red", "small", 200, 300, 500)
        >>> Scene(0, (cat, cat)).counts()
        {'cat': 2}
        """
        counts: dict[str, int] = {}
        for thing in self.things:
            counts[thing.concept] = counts.get(thing.concept, 0) + 1
        return counts


def relation_holds(kind: RelationKind, subject: Thing, object: Thing, hidden: bool = False) -> bool:
    """Return whether a relation is plainly visible between two things.

    One thing is left of another if its whole square is: squares overlap in neither direction of the relation, and
    the offset across it is smaller than along it. ``inside``: its square lies within the other's. ``behind``: the
    squares overlap, and neither is inside the other.

    Args:
        hidden: whether the subject lies further back than the object; ``behind`` needs it.

    >>> cat, dog = Thing("cat", None, "small", 200, 200, 500), Thing("dog", None, "small", 200, 700, 520)
    >>> relation_holds("left of", cat, dog), relation_holds("above", cat, dog)
    (True, False)
    """
    (left, top, right, bottom), (left_, top_, right_, bottom_) = subject.box, object.box
    across, down = abs(subject.x - object.x), abs(subject.y - object.y)
    if kind == "left of":
        return right <= left_ and down < across
    if kind == "right of":
        return left >= right_ and down < across
    if kind == "above":
        return bottom <= top_ and across < down
    if kind == "below":
        return top >= bottom_ and across < down
    if kind == "inside":
        return not hidden and left_ <= left and top_ <= top and right <= right_ and bottom <= bottom_
    overlap = left < right_ and left_ < right and top < bottom_ and top_ < bottom
    around = left <= left_ and top <= top_ and right_ <= right and bottom_ <= bottom
    return hidden and overlap and not around
