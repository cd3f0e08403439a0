"""Questions about scenes in other pictures and other words, with the same answer, and an exact judge of that.

Three operators change the picture (add something, take something away, show more around it), four the question (other
words, another way to put it, something relevant or irrelevant said before). They propose; whether the answer is still
the only right one, and still has to be seen, is looked up in the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from ....base import Rows
from ....items import Question, QuestionVariants
from ....rng import Rng
from ...world import GREY
from ..concepts import CONCEPTS
from ..config import SIDES, SceneConfig
from ..pixels.render import draw
from ..rows import SceneRows
from ..scene import UNIT, Scene, Thing
from ..words.meaning import facts, holds, mentioned, needs, right_answers, settles
from ..words.reading import caption, read
from ..words.wording import PLAIN, STYLES, QuestionMeaning, Statement, Wording, question
from .changes import PLACES, overlap, recount
from .item_rows import RowPictures
from .scene_questions import SceneQuestions

PAPERS = {"vlb": ("SceneQuestionVariants", "still_right")}

RATIO = 150
"""The side of a picture that shows more around it, in hundredths of what it was."""
MOST_SAID = 2
"""The largest number of statements in a relevant context."""


@dataclass(frozen=True)
class SceneSample:
    """A question about a scene, and how both are shown.

    Attributes:
        scene: what the picture shows.
        asked: the question as it was first asked.
        config: of the scene's world.
        pixels: side of the picture.
        wording: of the question now.
        padded: whether the picture was shrunk as it is, into the middle of a grey one.
    """

    scene: Scene
    asked: Question
    config: SceneConfig
    pixels: int
    wording: Wording = PLAIN
    padded: bool = False

    @property
    def means(self) -> QuestionMeaning:
        """Return the meaning of the question, read from its text.

        Raises:
            ValueError: for a question that is none of those about scenes.
        """
        meaning = read(self.asked.text)
        if meaning is None:
            raise ValueError(
                f"not a question about scenes that can be asked in other words: {self.asked.text!r}"
            )
        return meaning

    @property
    def question(self) -> Question:
        """The question in its present words, with the answer and the options of the first."""
        return replace(self.asked, text=question(self.means, self.wording))

    @property
    def picture(self) -> UInt8[Tensor, "3 H W"]:
        drawn = draw([self.scene], self.pixels).pictures
        if not self.padded:
            return drawn[0]
        inner = self.pixels * 100 // RATIO
        margin = self.pixels - inner
        small = F.interpolate(drawn.float(), size=inner, mode="area").round().to(torch.uint8)
        sides = (margin // 2, margin - margin // 2)
        return F.pad(small, sides * 2, value=GREY)[0]

    @property
    def captions(self) -> tuple[str, ...]:
        """The picture's caption if each option were right; none for a question of yes or no."""
        texts = [caption(self.means, option, self.wording) for option in self.asked.options]
        return tuple(text for text in texts if text is not None)


Proposal = tuple[SceneSample, str] | None
"""A changed sample and what was done; None where nothing can be done."""


def add(sample: SceneSample, seed: int) -> Proposal:
    """Add something as small as the world's things are, that hides nothing (V1, harder)."""
    scene, config, draws = sample.scene, sample.config, Rng(seed, 0, "add")
    absent = [c for c in config.concepts if CONCEPTS[c].kind != "container" and c not in scene.counts()]
    if not absent:
        return None
    size = min(config.sizes, key=lambda size: SIDES[size])
    side, concept = SIDES[size][0], draws.choice("concept", absent)
    colour = draws.choice("colour", config.colours) if draws.happens("tinted", config.tinted) else None
    artist = scene.things[0].artist if scene.things else 0
    for attempt in range(PLACES):
        x, y = (draws.integer(f"{axis} {attempt}", side // 2, UNIT - side // 2) for axis in "xy")
        thing = Thing(concept, colour, size, side, x, y, artist, clutter=True)
        if not any(overlap(thing, other) for other in scene):
            changed = replace(scene, things=(*scene.things, thing))
            return replace(sample, scene=changed), f"a {concept} was added"
    return None


def remove(sample: SceneSample, seed: int) -> Proposal:
    """Remove one thing (V2, easier)."""
    if not sample.scene.things:
        return None
    index = Rng(seed, 0, "remove").integer("place", 0, len(sample.scene.things) - 1)
    gone = sample.scene.things[index].concept
    return replace(sample, scene=recount(sample.scene, (index,), 0)), f"a {gone} was removed"


def expand(sample: SceneSample, seed: int) -> Proposal:
    """Let the background go on around what was the whole picture (V3, harder)."""
    draws, margin = Rng(seed, 0, "expand"), (UNIT - UNIT * 100 // RATIO) // 2
    across, down = (draws.integer(axis, -margin, margin) for axis in ("across", "down"))

    def shrunk(thing: Thing) -> Thing:
        x, y = (UNIT // 2 + _scaled(middle - UNIT // 2) for middle in (thing.x, thing.y))
        return replace(thing, x=x + across, y=y + down, side=2 * _scaled(thing.side // 2))

    things = tuple(shrunk(thing) for thing in sample.scene)
    return replace(sample, scene=replace(sample.scene, things=things)), "more was shown around the picture"


def _scaled(length: int) -> int:
    return (200 * length + RATIO) // (2 * RATIO)


def pad(sample: SceneSample, seed: int) -> Proposal:
    """Shrink the picture as much as `expand` does, in the middle of a grey one, as its control."""
    return replace(sample, padded=True), "the picture was shrunk and framed in grey"


def substitute(sample: SceneSample, seed: int) -> Proposal:
    """Use other words for things, sizes, relations and the picture (L1, harder)."""
    changed = replace(sample, wording=sample.wording._replace(synonyms=True))
    if changed.question == sample.question:
        return None  # none of its words has one
    return changed, "words were replaced by synonyms"


def rephrase(sample: SceneSample, seed: int) -> Proposal:
    """Put the question in another way (L2, harder)."""
    style = Rng(seed, 0, "rephrase").integer("style", 1, STYLES - 1)
    return replace(sample, wording=sample.wording._replace(style=style)), "the question was rephrased"


def relevant(sample: SceneSample, seed: int) -> Proposal:
    """Say something true before, of what the question speaks of where that does not answer it (L3, easier)."""
    meaning, options = sample.means, sample.asked.options
    things, topics = mentioned(meaning, options), needs(meaning, options)
    draws = Rng(seed, 0, "relevant")
    true = [statement for statement in facts(sample.scene) if not settles(statement) & topics]
    true = draws.sample("order", true, len(true))
    true.sort(key=lambda statement: not things.intersection(statement.things))
    return _after(sample, true[:MOST_SAID], "a relevant statement was put before the question")


def irrelevant(sample: SceneSample, seed: int) -> Proposal:
    """Say something true before, of what the question does not speak of (L4, harder)."""
    things = mentioned(sample.means, sample.asked.options)
    true = [statement for statement in facts(sample.scene) if not things.intersection(statement.things)]
    statements = Rng(seed, 0, "irrelevant").sample("which", true, min(len(true), 1))
    return _after(sample, statements, "an irrelevant statement was put before the question")


def _after(sample: SceneSample, statements: Sequence[Statement], done: str) -> Proposal:
    context = (*sample.wording.context, *statements)
    return (replace(sample, wording=sample.wording._replace(context=context)), done) if statements else None


def still_right(before: SceneSample, after: SceneSample, done: str = "") -> bool:
    """Return whether the first answer is the only right one of a changed sample, and has to be seen: the exact judge.

    The words are read as a model reads them, not as they were meant. What is said before the question must be true of
    the picture and must not answer it. A change that changes nothing is refused.

    >>> cat, dog = Thing("cat", "red", "small", 160, 200, 500), Thing("dog", None, "large", 400, 700, 500)
    >>> asked = Question("count", "How many cats are in the picture?", "one", ("one", "two"))
    >>> one = SceneSample(Scene(0, (cat, dog)), asked, SceneConfig(), 96)
    >>> [still_right(one, replace(one, scene=Scene(0, things))) for things in ((cat,), (cat, cat), (dog,))]
    [True, False, False]
    """
    topics = needs(before.means, before.asked.options)
    return (
        after != before
        and right_answers(after.question, after.scene) == (before.asked.answer,)
        and all(
            holds(statement, after.scene) and not settles(statement) & topics
            for statement in after.wording.context
        )
        and all(min(thing.box) >= 0 and max(thing.box) <= UNIT for thing in after.scene)
    )


@final
class SceneQuestionVariants(RowPictures, QuestionVariants[SceneSample]):
    """Questions about scenes (`SceneQuestions`) that can be asked in other words about changed pictures."""

    operators = {  # noqa: RUF012 # a mapping nobody changes
        "V1": add,
        "V2": remove,
        "V3": expand,
        "pad": pad,
        "L1": substitute,
        "L2": rephrase,
        "L3": relevant,
        "L4": irrelevant,
    }

    def __init__(self, world: SceneRows, rows: Rows, kinds: Sequence[str]) -> None:
        items = SceneQuestions(world, rows, kinds)
        self.world, self.rows, self.ids = items.world, items.rows, items.ids
        self.kinds, self.questions, self.attribution = items.kinds, items.questions, items.attribution

    def sample(self, position: int) -> SceneSample:
        row, world = int(self.rows[position]), self.world
        return SceneSample(world.scene(row), self.questions[position], world.config(row), world.pixels)

    def judge(self, before: SceneSample, after: SceneSample, done: str) -> bool:
        return still_right(before, after, done)
