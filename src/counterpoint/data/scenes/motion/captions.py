"""Clips in words: what happens, in its order, and what else there is. In English only.

Sizes are not told, so that what grows is not named by a size that it loses.

>>> from counterpoint.data.scenes.scene import Scene, Thing
>>> from counterpoint.data.scenes.motion.clip import Event
>>> cat, dog = Thing("cat", "red", "small", 200, 200, 200), Thing("dog", None, "small", 200, 700, 700)
>>> tree = Thing("tree", None, "small", 160, 800, 200)
>>> events = Event("appear", 0, 1, 5), Event("move left", 1, 6, 12, by=300)
>>> caption(Clip(Scene(0, (cat, dog, tree)), events, 12))
'a red cat appears, then a dog moves to the left, with a tree in the scene'
"""

from __future__ import annotations

from ..grammar import Look, grammar
from ..scene import Thing
from .clip import Action, Clip, Event

VERBS: dict[Action, str] = {
    "appear": "appears",
    "vanish": "vanishes",
    "move left": "moves to the left",
    "move right": "moves to the right",
    "move up": "moves up",
    "move down": "moves down",
    "grow": "grows",
    "shrink": "shrinks",
}


def told(thing: Thing) -> Look:
    """What captions of clips say of a thing: its concept and its dye."""
    return Look(thing.concept, colour=thing.colour)


def caption(clip: Clip) -> str:
    """One sentence about all of a clip but its background.

    Things to which nothing happens are told at the end: counted where they are alike, else in the relation that
    the scene has.
    """
    parts = [", then ".join(f"{_named(clip, event.thing)} {_verb(event)}" for event in clip.events)]
    if clip.still:
        parts.append(f"with {_rest(clip)} in the scene")
    return ", ".join(part for part in parts if part)


def _named(clip: Clip, place: int) -> str:
    return grammar("en").phrase(told(clip.scene.things[place])).text


def _verb(event: Event) -> str:
    return f"turns {event.colour}" if event.action == "change colour" else VERBS[event.action]


def _rest(clip: Clip) -> str:
    words = grammar("en")
    for relation in clip.scene.relations:
        if relation.subject in clip.still and relation.object in clip.still:
            between = words.lexicon.relations[relation.kind][0]
            return f"{_named(clip, relation.subject)} {between} {_named(clip, relation.object)}"
    looks = [told(clip.scene.things[place]) for place in clip.still]
    return " and ".join(words.phrase(look, looks.count(look)).text for look in dict.fromkeys(looks))
