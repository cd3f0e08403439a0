"""What can be asked about scenes besides plain pairs: squares, choices, associations, regions, questions.

Of the kinds asked for, a row gives the first one, in an order drawn for it, that its scene has something for: so rows
are independent, and no kind crowds out the others. What is asked follows from the row alone, whichever other rows are
asked about. Pictures are drawn when they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, final

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from ...registry import unknown
from ..base import Rows, SomeItems
from ..items import Associations, Choices, Items, Question, Questions, Regions, Squares
from .captions import short
from .changes import EDITS, recount
from .dials import Dials
from .draws import Draws
from .edits import edit
from .grammar import Look, grammar
from .groups import groups, look
from .questions import QUESTIONS, questions
from .render import draw
from .scene import Scene, Thing
from .truth import looks_like
from .world import Scenes

T = TypeVar("T")

COUNTED = range(2, 11)
"""The numbers to choose among: CountBench's, which all take a plural."""
CHOICES = (*EDITS, "count")
ASSOCIATIONS = ("colour",)
REGIONS = ("object", "look")
_PER_ROW = 64  # items of a row at most: their ids start at a multiple of it


def items_of(
    world: Scenes, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None
) -> SomeItems:
    """The items of some rows of a world.

    Args:
        world: whose.
        form: `Squares`, `Choices`, `Associations`, `Regions` or `Questions`.
        rows: of the world; those with nothing to ask about are passed over.
        kinds: which kinds. Unless given: all `EDITS` of squares and, of choices, in a world whose things are all the
            same ``"count"``, else all `EDITS`; of regions ``"object"``, plain names; all `QUESTIONS`.

    Raises:
        UnknownName: for a kind that the form does not have.
        LookupError: for another form, or where none of the rows has anything to ask about.
    """
    if form not in _FORMS:
        raise LookupError(f"{world.name!r} has no {form.__name__.lower()}")
    make, known = _FORMS[form]
    if kinds is None:
        kinds = _usual(world, form)
    for kind in kinds:
        if kind not in known:
            raise unknown(f"kind of {form.__name__.lower()}", kind, known)
    items: SomeItems = make(world, rows, tuple(kinds))
    if not len(items):
        raise LookupError(
            f"none of {len(rows)} row(s) of {world.name!r} has {form.__name__.lower()} of kind {', '.join(kinds)}: "
            "their scenes lack what these are about; ask for other kinds, or of a world that has it"
        )
    return items


def _usual(world: Scenes, form: type[Items]) -> Sequence[str]:
    if form is Choices:
        return ("count",) if world.preset.dials.same else EDITS
    return ("object",) if form is Regions else _FORMS[form][1]


def _asked(
    world: Scenes, rows: Rows, kinds: Sequence[str], ask: Callable[[str, Scene, Draws, Dials], T | None]
) -> Iterator[tuple[int, str, T]]:
    """Each row's kind and what is asked, of rows whose scenes have something for any of the kinds."""
    for row in map(int, rows):
        own = world.draws(row)
        for kind in own.sample("kind of item", kinds, len(kinds)):
            found = ask(kind, world.scene(row), Draws(own.word("item"), 0, kind), world.dials(row))
            if found:
                yield row, kind, found
                break


@final
class SceneSquares(Squares):
    """Scenes beside what they are with one thing changed.

    Picture and caption 0 are the scene's as it was composed, 1 the edited one's; both are drawn in the same way.

    Attributes:
        edits: of each item, with the boxes and the words that differ.
    """

    def __init__(self, world: Scenes, rows: Rows, kinds: Sequence[str]) -> None:
        asked = list(_asked(world, rows, kinds, edit))
        self.world, self.edits = world, [found for _, _, found in asked]
        self.ids = world.ids[[row for row, _, _ in asked]]
        self.kinds = [kind for _, kind, _ in asked]
        said = [found.captions() for found in self.edits]
        self.captions = [(before.text, after.text) for before, after in said]
        self.attribution = world.attribution

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        edits = [self.edits[position] for position in positions]
        both = [scene for each in edits for scene in (each.before, each.after)]
        pictures = draw(both, self.world.pixels).pictures
        return pictures.view(len(edits), 2, *pictures.shape[1:])


class _Choice(NamedTuple):
    options: tuple[str, ...]
    answer: int


def _choice(kind: str, scene: Scene, draws: Draws, dials: Dials) -> _Choice | None:
    if kind != "count":
        found = edit(kind, scene, draws, dials)
        if not found:
            return None
        answer = draws.integer("answer", 0, 1)
        own, other = (caption.text for caption in found.captions())
        return _Choice((other, own) if answer else (own, other), answer)
    counted = max((g.things for g in groups(scene, ("colour", "size", "facing"))), key=len, default=())
    if len(counted) not in COUNTED:
        return None
    said = tuple(short(recount(scene, counted, count)).text for count in COUNTED)
    return _Choice(said, COUNTED.index(len(counted)))


@final
class SceneChoices(Choices):
    """A scene's caption beside that of an edit; or, of kind ``count``, captions that say two to ten."""

    def __init__(self, world: Scenes, rows: Rows, kinds: Sequence[str]) -> None:
        asked = list(_asked(world, rows, kinds, _choice))
        self.world, self.rows = world, np.array([row for row, _, _ in asked], np.int64)
        self.ids = world.ids[self.rows]
        self.kinds = [kind for _, kind, _ in asked]
        self.options = [it.options for _, _, it in asked]
        self.answers = np.array([it.answer for _, _, it in asked], np.int64)
        self.attribution = world.attribution

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return _drawn(self.world, self.rows[positions])


class _Association(NamedTuple):
    options: tuple[str, ...]
    answer: int
    other: int
    things: tuple[str, ...]


def _associations(kind: str, scene: Scene, draws: Draws, dials: Dials) -> list[_Association]:
    """Of one thing, or of either of two that differ in both concept and colour."""
    things, colours = len(scene.things), {thing.colour for thing in scene}
    if things not in (1, 2) or None in colours or len(colours) < things or len(scene.counts()) < things:
        return []
    found = []
    for thing in scene:
        others = [other for other in scene if other is not thing]
        found.append(
            _Association(
                tuple(grammar("en").phrase(Look(thing.concept, colour=c)).text for c in dials.colours),
                _place(thing, dials),
                _place(others[0], dials) if others else -1,
                (thing.concept, *(other.concept for other in others)),
            )
        )
    return found


def _place(thing: Thing, dials: Dials) -> int:
    assert thing.colour is not None
    return dials.colours.index(thing.colour)


@final
class SceneAssociations(Associations):
    """What colour a thing has, alone or beside another one of another colour: ``"a red cat"``, ``"a blue cat"`` …"""

    def __init__(self, world: Scenes, rows: Rows, kinds: Sequence[str]) -> None:
        asked = [
            (row, number, it)
            for row, _, found in _asked(world, rows, kinds, _associations)
            for number, it in enumerate(found)
        ]
        self.world, self.rows = world, np.array([row for row, _, _ in asked], np.int64)
        self.ids = world.ids[self.rows] * _PER_ROW + np.array([number for _, number, _ in asked], np.int64)
        self.options = [it.options for _, _, it in asked]
        self.answers = np.array([it.answer for _, _, it in asked], np.int64)
        self.others = np.array([it.other for _, _, it in asked], np.int64)
        self.things = [it.things for _, _, it in asked]
        self.kinds = ["colour, alone" if it.other < 0 else "colour, beside another" for _, _, it in asked]
        self.attribution = world.attribution

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return _drawn(self.world, self.rows[positions])


def _looks(kinds: Sequence[str], scene: Scene) -> list[tuple[str, Look]]:
    """What there is in a scene by its plain name, and by all that captions say of how it looks."""
    looks = {look(thing) for thing in scene}
    named = {
        "object": {Look(it.concept) for it in looks},
        "look": {it for it in looks if it.size or it.colour},
    }
    return [(kind, it) for kind in kinds for it in sorted(named[kind], key=str)]


@final
class SceneRegions(Regions):
    """Names of what there is, and all pixels in which it is seen.

    A row gives all its things, clutter too. The region of ``"a cat"`` is every cat, that of ``"a small red cat"`` (of
    kind ``look``) every cat of which that is true; so a phrase is never ambiguous.
    """

    def __init__(self, world: Scenes, rows: Rows, kinds: Sequence[str]) -> None:
        asked = [
            (row, number, kind, it)
            for row in map(int, rows)
            for number, (kind, it) in enumerate(_looks(kinds, world.scene(row)))
        ]
        self.world, self.rows = world, np.array([row for row, _, _, _ in asked], np.int64)
        self.ids = world.ids[self.rows] * _PER_ROW + np.array([number for _, number, _, _ in asked], np.int64)
        self.kinds = [kind for _, _, kind, _ in asked]
        self.looks = [it for _, _, _, it in asked]
        self.phrases = [grammar("en").phrase(it).text for it in self.looks]
        self.attribution = world.attribution

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return _drawn(self.world, self.rows[positions])

    def masks(self, positions: Int[np.ndarray, " k"]) -> Bool[Tensor, "k H W"]:
        scenes = [self.world.scene(int(row)) for row in self.rows[positions]]
        seen = draw(scenes, self.world.pixels).masks
        found = [
            masks[[looks_like(self.looks[position], thing) for thing in scene]].any(0)
            for position, scene, masks in zip(positions, scenes, seen, strict=True)
        ]
        return torch.from_numpy(np.stack(found))


@final
class SceneQuestions(Questions):
    """Questions about scenes (:mod:`counterpoint.data.scenes.questions`); yes/no ones two a row, one of each answer."""

    def __init__(self, world: Scenes, rows: Rows, kinds: Sequence[str]) -> None:
        asked = [
            (row, number, question)
            for row, _, found in _asked(world, rows, kinds, questions)
            for number, question in enumerate(found)
        ]
        self.world, self.rows = world, np.array([row for row, _, _ in asked], np.int64)
        self.ids = world.ids[self.rows] * _PER_ROW + np.array([number for _, number, _ in asked], np.int64)
        self.questions: list[Question] = [question for _, _, question in asked]
        self.kinds = [question.kind for question in self.questions]
        self.attribution = world.attribution

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 3 H W"]:
        return _drawn(self.world, self.rows[positions])


def _drawn(world: Scenes, rows: Rows) -> UInt8[Tensor, "k 3 H W"]:
    """The pictures of rows as they are composed, also of those that training does without."""
    return draw([world.scene(int(row)) for row in rows], world.pixels).pictures


_FORMS: dict[type[Items], tuple[Callable[..., Any], Sequence[str]]] = {
    Squares: (SceneSquares, EDITS),
    Choices: (SceneChoices, CHOICES),
    Associations: (SceneAssociations, ASSOCIATIONS),
    Regions: (SceneRegions, REGIONS),
    Questions: (SceneQuestions, QUESTIONS),
}
