"""Questions about a clip and what is said beside it, which need the one, the other, both, or either.

They are about two things that stay side by side: one is given a name, or its colour is told. What is asked cannot be
told from the words of the question alone, nor what it needs from what is said but for the kind ``either``.

Source: the types of question of Park et al., "Assessing Modality Bias in Video Question Answering Benchmarks with
Multimodal Large Language Models" (2024), arXiv 2408.12763; by rule here, where the paper asks a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .....registry import unknown
from ....rng import Rng
from ...scenes.scene import Thing
from ..clip import Clip
from ..config import ClipConfig

PAPERS = {"modality-importance-score": ("narrate",)}

Narration = Literal["video", "text", "both", "either"]
NARRATIONS: tuple[Narration, ...] = get_args(Narration)
NAMES = ("Bo", "Kim", "Max", "Pia", "Tom")
"""Names of things, which nothing in a picture tells."""
OPTIONS = 5
"""Answers to choose from, where there are as many."""


@dataclass(frozen=True, slots=True)
class NarratedQuestion:
    """A sentence that is said beside a clip, and a question.

    Attributes:
        narration: a sentence about one of the two things.
        question: its text.
        options: statements, of which one is right.
        answer: its place among them.
    """

    narration: str
    question: str
    options: tuple[str, ...]
    answer: int


def sides(clip: Clip) -> tuple[Thing, Thing] | None:
    """Return the left and the right one of a clip's two things, if they are so in every frame, always of two colours.

    >>> from counterpoint.data.synthetic.scenes.scene import Scene
    >>> cat, dog = Thing("cat", "red", "small", 200, 700, 500), Thing("dog", "blue", "small", 200, 200, 300)
    >>> [thing.concept for thing in sides(Clip(Scene(0, (cat, dog)), (), 3))]
    ['dog', 'cat']
    """
    shown = [clip.at(frame).things for frame in range(clip.frames)]
    if any(len(things) != 2 for things in shown):
        return None
    order = [0, 1] if shown[0][0].x < shown[0][1].x else [1, 0]
    left, right = (clip.scene.things[index] for index in order)
    for things in shown:
        one, other = (things[index] for index in order)
        if one.box[2] > other.box[0] or (one.colour, other.colour) != (left.colour, right.colour):
            return None
    return (left, right) if left.colour and right.colour and left.colour != right.colour else None


def narrate(kind: str, clip: Clip, draws: Rng, config: ClipConfig | None = None) -> NarratedQuestion | None:
    """Return a question of a kind; None where the clip does not show two things side by side.

    ``video``: the colour of a thing, which is not said. ``text``: the name of a thing, which is said. ``both``: the
    colour of what has a name. ``either``: a colour that is shown and said.

    Args:
        kind: one of `NARRATIONS`.
        clip: what is shown.
        draws: decides what is asked, and the names.
        config: of the world that the clip is from: the colours to choose from.

    Raises:
        UnknownNameError: for a kind that is not known.

    >>> from counterpoint.data.synthetic.scenes.scene import Scene
    >>> cat, dog = Thing("cat", "red", "small", 200, 700, 500), Thing("dog", "blue", "small", 200, 200, 300)
    >>> found = narrate("both", Clip(Scene(0, (cat, dog)), (), 3), Rng(0, 0))
    >>> found.narration, found.question, found.options[found.answer]
    ('the one on the right is called Bo', 'what colour is Bo?', 'Bo is red')
    """
    if kind not in NARRATIONS:
        raise unknown("kind of narration", kind, NARRATIONS)
    both = sides(clip)
    if both is None:
        return None
    side = draws.integer("side", 0, 1)
    target, name = _side(side), draws.choice("name", NAMES)
    # Of the kind "video" either may be named, so that the name does not say which colour is not asked for.
    named = target if kind != "video" else _side(draws.integer("named", 0, 1))
    statement = f"{named} is called {name}"
    colour, other = str(both[side].colour), str(both[1 - side].colour)
    if kind == "text":
        return _narrated(draws, statement, f"what is {target} called?", f"{target} is called", name, NAMES)
    if kind == "either":
        statement = f"{target} is {colour}"
    subject = name if kind == "both" else target
    return _narrated(
        draws,
        statement,
        f"what colour is {subject}?",
        f"{subject} is",
        colour,
        (other, *(config or ClipConfig()).colours),
    )


def _side(side: int) -> str:
    return f"the one on the {('left', 'right')[side]}"


def _narrated(
    draws: Rng, statement: str, question: str, stem: str, answer: str, wrong: tuple[str, ...]
) -> NarratedQuestion:
    first = [word for word in dict.fromkeys(wrong) if word != answer]
    likely, rest = first[:1], draws.sample("wrong", first[1:], len(first) - 1)
    words = [answer, *likely, *rest][:OPTIONS]
    words = draws.sample("order", words, len(words))
    return NarratedQuestion(
        statement, question, tuple(f"{stem} {word}" for word in words), words.index(answer)
    )
