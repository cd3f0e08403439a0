"""The truth of statements about scenes, and what each settles.

A question of :mod:`counterpoint.data.synthetic.scenes.items.questions` is read back into what it asks, whichever of
several ways it is said in; each of its answers is then a statement that a scene makes true or false.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ....items import Question
from ..config import SIDES
from ..pixels.palette import palette
from ..scene import RELATIONS, SIZES, Scene, relation_holds
from .reading import meaning, read
from .wording import QuestionMeaning, Statement

PAPERS = {"vlb": ("right_answers",)}


def holds(statement: Statement, scene: Scene) -> bool | None:
    """Return whether a statement is true of a scene; None where it speaks of "the cat" and there is not exactly one.

    Sizes are what they are called and what they look like: in a picture that was shrunk, a thing that is called large
    and drawn as large as a medium one is neither.
    """
    counts = [scene.counts().get(concept, 0) for concept in statement.things]
    if statement.form == "background":
        return scene.background == statement.value
    if statement.form == "exists":
        return counts[0] > 0
    if statement.form == "exactly":
        return counts[0] == int(statement.value)
    if statement.form == "more":
        return counts[0] > counts[1]
    if any(count != 1 for count in counts):
        return None
    places = [
        next(i for i, thing in enumerate(scene) if thing.concept == concept) for concept in statement.things
    ]
    thing = scene.things[places[0]]
    if statement.form == "colour":
        return statement.value in (palette(thing.concept) if thing.colour is None else {thing.colour})
    if statement.form == "size":
        return thing.size == statement.value and SIDES[thing.size][0] <= thing.side <= SIDES[thing.size][1]
    other = scene.things[places[1]]
    if statement.form == "larger":
        return SIZES.index(thing.size) > SIZES.index(other.size) and thing.side > other.side
    return any(
        kind == statement.value and relation_holds(kind, thing, other, hidden=places[0] < places[1])
        for kind in RELATIONS
    )


def right_answers(question: Question, scene: Scene) -> tuple[str, ...]:
    """Return the options of a question that are right for a scene.

    There are none where the question presupposes what is not so, or is not one of the known questions.
    """
    asked = read(question.text)
    meant = [meaning(asked, option) if asked else None for option in question.options]
    answers = []
    for option, it in zip(question.options, meant, strict=True):
        true = None if it is None else holds(it[0], scene)
        if it is None or true is None:
            return ()
        if true == it[1]:
            answers.append(option)
    return tuple(answers)


Topic = tuple[str, ...]
"""The topic that a statement settles, or that a question is about: an aspect, and the concepts that have it."""


def settles(statement: Statement) -> frozenset[Topic]:
    """Return all topics that are known to somebody who is told a statement and does not look at the picture."""
    topics: set[Topic] = {("exists", concept) for concept in statement.things}
    if statement.form == "background":
        return frozenset({("background",)})
    if statement.form in ("colour", "size", "relation", "larger"):  # "the cat" is the only one
        topics |= {("count", concept) for concept in statement.things}
    topics |= set(_about(statement))
    return frozenset(topics)


def _about(statement: Statement) -> Iterator[Topic]:
    if statement.form in ("colour", "size"):
        yield statement.form, statement.things[0]
    elif statement.form == "relation":
        yield "relation", *sorted(statement.things)
    else:
        aspect = {"exists": "exists", "larger": "size"}.get(statement.form, "count")
        yield from ((aspect, concept) for concept in statement.things)


def needs(asked: QuestionMeaning, options: Sequence[str]) -> frozenset[Topic]:
    """Return the topics that must not be told beforehand: the picture would not be needed for the answer."""
    meant = [meaning(asked, option) for option in options]
    return frozenset(topic for it in meant if it for topic in _about(it[0]))


def mentioned(asked: QuestionMeaning, options: Sequence[str]) -> frozenset[str]:
    """Return the concepts that a question and its answers speak of."""
    meant = [meaning(asked, option) for option in options]
    return frozenset([*asked.things, *(concept for it in meant if it for concept in it[0].things)])


def facts(scene: Scene) -> list[Statement]:
    """Return simple statements that are true of a scene."""
    counts = scene.counts()
    statements = [Statement("background", (), scene.background)]
    for concept, count in counts.items():
        statements += [Statement("exists", (concept,)), Statement("exactly", (concept,), str(count))]
    single = [(index, thing) for index, thing in enumerate(scene) if counts[thing.concept] == 1]
    for i, thing in single:
        candidates = [Statement("size", (thing.concept,), thing.size)]
        candidates += [Statement("colour", (thing.concept,), thing.colour)] if thing.colour else []
        candidates += [
            Statement("relation", (thing.concept, other.concept), kind)
            for j, other in single
            if i != j
            for kind in RELATIONS
            if relation_holds(kind, thing, other, hidden=i < j)
        ]
        statements += [statement for statement in candidates if holds(statement, scene)]
    return statements
