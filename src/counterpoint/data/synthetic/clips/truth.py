"""The truth of one clip's caption about another clip."""

from __future__ import annotations

from dataclasses import replace

from ..scenes.items.truth import looks_like
from ..scenes.items.truth import true_of as true_of_scene
from ..scenes.scene import Relation, Scene
from .clip import Clip
from .words.captions import look_of


def true_of(said: Clip, shown: Clip) -> bool:
    """Return whether everything that the caption of one clip says holds in another clip.

    The events that are said happen, in their order, to things that look as is said; and in every frame there are the
    other things that are said, as many and so related. What is not spoken of may happen too.
    """
    happening = iter(shown.events)
    in_order = all(
        any(
            (event.action, event.colour) == (other.action, other.colour)
            and looks_like(look_of(said.scene.things[event.thing]), shown.scene.things[other.thing])
            for other in happening  # which goes on after the one before: a subsequence
        )
        for event in said.events
    )
    if not in_order or not said.still:
        return in_order
    rest = _rest(said)
    return all(true_of_scene(rest, scene) for scene in {shown.at(frame) for frame in range(shown.frames)})


def faithful(said: Clip, shown: Clip) -> bool:
    """Return whether a clip shows what the caption of another clip says, and nothing else."""
    return (
        len(said.events) == len(shown.events)
        and len(said.scene.things) == len(shown.scene.things)
        and true_of(said, shown)
    )


def _rest(clip: Clip) -> Scene:
    """Return the things that a caption tells without an event, their sizes unsaid."""
    index = {old: new for new, old in enumerate(clip.still)}
    things = tuple(replace(clip.scene.things[old], size="medium") for old in clip.still)
    relations = tuple(
        Relation(r.kind, index[r.subject], index[r.object])
        for r in clip.scene.relations
        if r.subject in index and r.object in index
    )
    return Scene(clip.scene.index, things, relations)
