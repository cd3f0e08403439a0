"""Statements about two scenes, in exact balance: of each kind one that is true and one that is false."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, final, get_args

import numpy as np

from ....base import Rows
from ....items import Comparisons
from ....rng import Rng
from ..rows import SceneRows
from ..scene import Colour, Scene
from ..words.grammar import Appearance, grammar
from .item_rows import PER_ROW
from .questions import named

ComparisonKind = Literal["both objects", "both colours", "more objects"]
COMPARISONS: tuple[ComparisonKind, ...] = get_args(ComparisonKind)

PAPERS = {"less-bimodal-supervision": ("SceneComparisons",)}


def statements(kind: str, first: Scene, second: Scene, draws: Rng) -> tuple[str, str] | None:
    """Return a true and a false statement of a kind; None where the scenes lack what it is about.

    - ``both objects``: of a concept that both scenes show, and of one that a single one shows.
    - ``both colours``: the same of things with a colour. The false one may differ in the colour alone.
    - ``more objects``: of which scene there are more things of a concept, either way round.

    >>> from counterpoint.data.synthetic.scenes.scene import Thing
    >>> cat, dog = Thing("cat", "red", "small", 160, 200, 500), Thing("dog", None, "large", 400, 700, 500)
    >>> statements("both objects", Scene(0, (cat, dog)), Scene(1, (cat,)), Rng(0, 0))
    ('There is a cat in both pictures.', 'There is a dog in both pictures.')
    """
    return _STATING[kind](first, second, draws)


def _more(first: Scene, second: Scene, draws: Rng) -> tuple[str, str] | None:
    one, two = first.counts(), second.counts()
    differ = [concept for concept in {**one, **two} if one.get(concept, 0) != two.get(concept, 0)]
    if not differ:
        return None
    concept = draws.choice("more objects", differ)
    said = [
        f"There are more {named(concept, '', 2)} in the {a} picture than in the {b} one."
        for a, b in (("first", "second"), ("second", "first"))
    ]
    return (said[0], said[1]) if one.get(concept, 0) > two.get(concept, 0) else (said[1], said[0])


def _both_objects(first: Scene, second: Scene, draws: Rng) -> tuple[str, str] | None:
    appearances = [[Appearance(concept) for concept in scene.counts()] for scene in (first, second)]
    return _in_both("both objects", appearances, draws)


def _both_colours(first: Scene, second: Scene, draws: Rng) -> tuple[str, str] | None:
    appearances = [
        list(dict.fromkeys(_coloured(thing.concept, thing.colour) for thing in scene if thing.colour))
        for scene in (first, second)
    ]
    return _in_both("both colours", appearances, draws)


def _coloured(concept: str, colour: Colour | None) -> Appearance:
    return Appearance(concept, colour=colour)


def _in_both(kind: str, appearances: Sequence[Sequence[Appearance]], draws: Rng) -> tuple[str, str] | None:
    both = [it for it in appearances[0] if it in appearances[1]]
    single = [it for it in (*appearances[0], *appearances[1]) if it not in both]
    if not both or not single:
        return None
    right, wrong = draws.choice(f"{kind}, true", both), draws.choice(f"{kind}, false", single)
    right_text, wrong_text = (
        f"There is {grammar('en').phrase(it).text} in both pictures." for it in (right, wrong)
    )
    return right_text, wrong_text


_STATING: dict[str, Callable[[Scene, Scene, Rng], tuple[str, str] | None]] = {
    "both objects": _both_objects,
    "both colours": _both_colours,
    "more objects": _more,
}


@final
class SceneComparisons(Comparisons):
    """Statements about each scene and the next of the rows that are asked about, the first one behind the last.

    A pair of scenes has the first kind, in an order drawn for the first of them, that it has something for.
    """

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        items = []
        for row, other in zip(map(int, rows), map(int, np.roll(rows, -1)), strict=True):
            draws = world.draws(row)
            for kind in draws.sample("kind of comparison", kinds, len(kinds)):
                said = statements(
                    kind, world.scene(row), world.scene(other), Rng(draws.word("compared"), 0, kind)
                )
                if said:
                    items += [(row, other, kind, number, text) for number, text in enumerate(said)]
                    break
        self.rows = np.array([(row, other) for row, other, *_ in items], np.int64).reshape(-1, 2)
        self.kinds = [kind for _, _, kind, _, _ in items]
        self.ids = world.ids[self.rows[:, 0]] * PER_ROW + np.array(
            [number for *_, number, _ in items], np.int64
        )
        self.statements = [text for *_, text in items]
        self.answers = [("true", "false")[number] for *_, number, _ in items]
        self.attribution = world.attribution
