"""Items that ask about scenes, besides plain pairs: squares, choices, associations, regions, questions.

A row gives the first of the kinds asked for, in an order drawn for the row, that its scene has something for: so rows
are independent, and no kind crowds out the others. What is asked follows from the row alone, whichever other rows are
asked about. Pictures are drawn when they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from .....reasons import counted
from .....registry import unknown
from ....base import Rows, SomeItems
from ....items import (
    Associations,
    Box,
    Choices,
    Comparisons,
    Correspondences,
    FactCounts,
    Instructions,
    Items,
    LocatedThings,
    MinimalPairs,
    ObjectAnnotations,
    Questions,
    QuestionVariants,
    Regions,
    StatedFacts,
)
from ....rng import Rng
from ..concepts import CONCEPTS
from ..config import SceneConfig
from ..pixels.render import draw, pictures
from ..rows import SceneRows
from ..scene import UNIT, Scene, Thing
from ..words.assertions import judged
from ..words.captions import short
from ..words.grammar import Appearance, grammar
from ..words.referring import groups, noun_phrase
from ..words.wording import noun
from .changes import EDITS, recount
from .comparisons import COMPARISONS, SceneComparisons
from .edits import edit
from .foils import FOILS, foil
from .instructions import INSTRUCTIONS, SceneInstructions
from .item_rows import PER_ROW, RowPictures, ask_rows
from .keypoints import SceneCorrespondences
from .question_variants import SceneQuestionVariants
from .questions import ABSURD, QUESTIONS, TAGGED, widowed
from .scene_questions import SceneQuestions
from .truth import looks_like

PAPERS = {
    "bivlc": ("SceneMinimalPairs",),
    "concept-association-bias": ("SceneAssociations",),
    "count-to-ten": ("SceneChoices",),
    "inpaintcoco": ("SceneMinimalPairs",),
    "visual-experts-ive": ("SceneThings",),
}

COUNTED = range(2, 11)
"""The numbers to choose among: CountBench's, which all take a plural."""
CHOICES = (*EDITS, *FOILS, "count")
ASSOCIATIONS = ("colour",)
REGIONS = ("object", "look")
CORRESPONDENCES = ("object",)
ANNOTATIONS = ("objects",)
FACTS = ("facts",)


def items_of(
    world: SceneRows, form: type[SomeItems], rows: Rows, kinds: Sequence[str] | None = None
) -> SomeItems:
    """Return the items of some rows of a world.

    Args:
        world: whose.
        form: `MinimalPairs`, `Choices`, `Associations`, `Regions`, `Correspondences`, `Questions`, `Comparisons`,
            `ObjectAnnotations`, `LocatedThings`, `StatedFacts` or `Instructions`.
        rows: of the world; those with nothing to ask about are passed over.
        kinds: which kinds. Unless given: all `EDITS` of squares and, of choices, in a world whose things are all the
            same ``"count"``, else all `EDITS`; of regions ``"object"``, plain names; all `QUESTIONS`, which
            absurd and tagged ones are not among; all `INSTRUCTIONS`. Contents have one kind, ``"objects"``, and so have
            facts, ``"facts"``.

    Raises:
        UnknownNameError: for a kind that the form does not have.
        LookupError: for another form, or where none of the rows has anything to ask about.
    """
    if form not in _FORMS:
        raise LookupError(f"{world.name!r} has no {form.called}")
    make, known = _FORMS[form]
    if kinds is None:
        kinds = _usual(world, form)
    for kind in kinds:
        if kind not in known:
            raise unknown(f"kind of {form.called}", kind, known)
    items: SomeItems = make(world, rows, tuple(kinds))
    if not len(items):
        raise LookupError(
            f"none of {counted(len(rows), 'row')} of {world.name!r} has {form.called} of kind {', '.join(kinds)}: "
            "their scenes lack what these are about; ask for other kinds, or of a world that has it"
        )
    return items


def _usual(world: SceneRows, form: type[Items]) -> Sequence[str]:
    if form is Choices:
        return ("count",) if world.preset.config.same else EDITS
    if form is Questions:
        return QUESTIONS
    return ("object",) if form is Regions else _FORMS[form][1]


@final
class SceneMinimalPairs(MinimalPairs):
    """Scenes beside what they are with one thing changed.

    Picture and caption 0 are the scene's as it was composed, 1 the edited one's; both are drawn in the same way.

    Attributes:
        edits: of each item, with the boxes and the words that differ.
    """

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        items = list(ask_rows(world, rows, kinds, edit))
        self.world, self.edits = world, [pair for _, _, pair in items]
        self.ids = world.ids[[row for row, _, _ in items]]
        self.kinds = [kind for _, kind, _ in items]
        captions = [pair.captions() for pair in self.edits]
        self.captions = [(before.text, after.text) for before, after in captions]
        self.attribution = world.attribution

    def pictures(self, positions: Int[np.ndarray, " k"]) -> UInt8[Tensor, "k 2 3 H W"]:
        edits = [self.edits[position] for position in positions]
        both = [scene for each in edits for scene in (each.before, each.after)]
        shown = pictures(both, self.world.pixels)
        return shown.view(len(edits), 2, *shown.shape[1:])


class _Choice(NamedTuple):
    options: tuple[str, ...]
    answer: int


def _choice(kind: str, scene: Scene, draws: Rng, config: SceneConfig) -> _Choice | None:
    if kind != "count":
        captions = foil(kind, scene, draws, config) if kind in FOILS else _edited(kind, scene, draws, config)
        if not captions:
            return None
        answer = draws.integer("answer", 0, 1)
        right, other = captions
        return _Choice((other, right) if answer else (right, other), answer)
    counted = max((g.things for g in groups(scene, ("colour", "size", "facing"))), key=len, default=())
    if len(counted) not in COUNTED:
        return None
    options = tuple(short(recount(scene, counted, count)).text for count in COUNTED)
    return _Choice(options, COUNTED.index(len(counted)))


def _edited(kind: str, scene: Scene, draws: Rng, config: SceneConfig) -> tuple[str, str] | None:
    pair = edit(kind, scene, draws, config)
    if not pair:
        return None
    before, after = pair.captions()
    return before.text, after.text


@final
class SceneChoices(RowPictures, Choices):
    """A scene's caption beside that of an edit or another foil; of kind ``count``, captions that say two to ten."""

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        items = list(ask_rows(world, rows, kinds, _choice))
        self.world, self.rows = world, np.array([row for row, _, _ in items], np.int64)
        self.ids = world.ids[self.rows]
        self.kinds = [kind for _, kind, _ in items]
        self.options = [it.options for _, _, it in items]
        self.answers = np.array([it.answer for _, _, it in items], np.int64)
        self.attribution = world.attribution


class _Association(NamedTuple):
    options: tuple[str, ...]
    answer: int
    other: int
    things: tuple[str, ...]


def _associations(kind: str, scene: Scene, draws: Rng, config: SceneConfig) -> list[_Association]:
    """Return an association for each thing of a scene with one thing, or with two of unlike concept and colour."""
    things, colours = len(scene.things), {thing.colour for thing in scene}
    if things not in (1, 2) or None in colours or len(colours) < things or len(scene.counts()) < things:
        return []
    associations = []
    for thing in scene:
        others = [other for other in scene if other is not thing]
        associations.append(
            _Association(
                tuple(grammar("en").phrase(Appearance(thing.concept, colour=c)).text for c in config.colours),
                _colour_index(thing, config),
                _colour_index(others[0], config) if others else -1,
                (thing.concept, *(other.concept for other in others)),
            )
        )
    return associations


def _colour_index(thing: Thing, config: SceneConfig) -> int:
    assert thing.colour is not None
    return config.colours.index(thing.colour)


@final
class SceneAssociations(RowPictures, Associations):
    """The colour of a thing, alone or beside a thing of another colour: ``"a red cat"``, ``"a blue cat"``."""

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        items = [
            (row, number, it)
            for row, _, associations in ask_rows(world, rows, kinds, _associations)
            for number, it in enumerate(associations)
        ]
        self.world, self.rows = world, np.array([row for row, _, _ in items], np.int64)
        self.ids = world.ids[self.rows] * PER_ROW + np.array([number for _, number, _ in items], np.int64)
        self.options = [it.options for _, _, it in items]
        self.answers = np.array([it.answer for _, _, it in items], np.int64)
        self.others = np.array([it.other for _, _, it in items], np.int64)
        self.things = [it.things for _, _, it in items]
        self.kinds = ["colour, alone" if it.other < 0 else "colour, beside another" for _, _, it in items]
        self.attribution = world.attribution


def _phrases(kinds: Sequence[str], scene: Scene) -> list[tuple[str, Appearance]]:
    """Return the looks of a scene's things: the plain name, for kind ``look`` all that captions say of a look."""
    phrases = {noun_phrase(thing) for thing in scene}
    named = {
        "object": {Appearance(it.concept) for it in phrases},
        "look": {it for it in phrases if it.size or it.colour},
    }
    return [(kind, it) for kind in kinds for it in sorted(named[kind], key=str)]


@final
class SceneRegions(RowPictures, Regions):
    """Names of what there is, and all pixels in which it is seen.

    A row gives all its things, clutter too. The region of ``"a cat"`` is every cat, that of ``"a small red cat"`` (of
    kind ``look``) every cat of which that is true; so a phrase is never ambiguous.
    """

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        items = [
            (row, number, kind, it)
            for row in map(int, rows)
            for number, (kind, it) in enumerate(_phrases(kinds, world.scene(row)))
        ]
        self.world, self.rows = world, np.array([row for row, _, _, _ in items], np.int64)
        self.ids = world.ids[self.rows] * PER_ROW + np.array([number for _, number, _, _ in items], np.int64)
        self.kinds = [kind for _, _, kind, _ in items]
        self.looks = [it for _, _, _, it in items]
        self.phrases = [grammar("en").phrase(it).text for it in self.looks]
        self.attribution = world.attribution

    def masks(self, positions: Int[np.ndarray, " k"]) -> Bool[Tensor, "k H W"]:
        scenes = [self.world.scene(int(row)) for row in self.rows[positions]]
        seen = draw(scenes, self.world.pixels).masks
        stacked = [
            masks[[looks_like(self.looks[position], thing) for thing in scene]].any(0)
            for position, scene, masks in zip(positions, scenes, seen, strict=True)
        ]
        return torch.from_numpy(np.stack(stacked))


def _noun_forms(concept: str) -> tuple[str, ...]:
    """Return singular and plural of a concept's plain noun and of its synonym."""
    nouns = (noun(concept), noun(concept, synonyms=True))
    return tuple(dict.fromkeys(form for each in nouns for form in (each.singular, each.plural)))


@final
class SceneAnnotations(RowPictures, ObjectAnnotations):
    """The concepts that scenes show, those of clutter too. A usual partner is that of ``pairs``."""

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        self.world, self.rows = world, np.asarray(rows, np.int64)
        self.ids = world.ids[self.rows]
        self.present = [frozenset(world.scene(int(row)).counts()) for row in self.rows]
        self.partners = [
            frozenset(absent for _, absent in widowed(world.scene(int(row)), world.config(int(row))))
            for row in self.rows
        ]
        self.kinds = ["objects"] * len(self.rows)
        self.forms = {name: _noun_forms(name) for name in CONCEPTS}
        self.attribution = world.attribution


@final
class SceneThings(RowPictures, LocatedThings):
    """The things of scenes, clutter too, with the squares that their emoji fill."""

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        self.world, self.rows = world, np.asarray(rows, np.int64)
        self.ids, self.kinds = world.ids[self.rows], ["objects"] * len(self.rows)
        self.things = [
            [(thing.concept, _shares(thing)) for thing in world.scene(int(row))] for row in self.rows
        ]
        self.names = list(
            dict.fromkeys(name for row in self.rows for name in world.config(int(row)).concepts)
        )
        self.attribution = world.attribution


def _shares(thing: Thing) -> Box:
    left, top, right, bottom = thing.box
    return left / UNIT, top / UNIT, right / UNIT, bottom / UNIT


@final
class SceneFacts(RowPictures, StatedFacts):
    """Scenes, and the truth of what English descriptions say of them."""

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        self.world, self.rows = world, np.asarray(rows, np.int64)
        self.ids, self.kinds = world.ids[self.rows], ["facts"] * len(self.rows)
        self.attribution = world.attribution

    def judge(self, position: int, description: str) -> FactCounts:
        return judged(description, self.world.scene(int(self.rows[position])))


_FORMS: dict[type[Items], tuple[Callable[..., Any], Sequence[str]]] = {
    MinimalPairs: (SceneMinimalPairs, EDITS),
    Choices: (SceneChoices, CHOICES),
    Associations: (SceneAssociations, ASSOCIATIONS),
    Regions: (SceneRegions, REGIONS),
    Correspondences: (SceneCorrespondences, CORRESPONDENCES),
    Questions: (SceneQuestions, (*QUESTIONS, ABSURD, TAGGED)),
    Comparisons: (SceneComparisons, COMPARISONS),
    QuestionVariants: (SceneQuestionVariants, QUESTIONS),
    ObjectAnnotations: (SceneAnnotations, ANNOTATIONS),
    LocatedThings: (SceneThings, ANNOTATIONS),
    StatedFacts: (SceneFacts, FACTS),
    Instructions: (SceneInstructions, tuple(INSTRUCTIONS)),
}
