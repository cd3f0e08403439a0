"""Clips beside clips that differ in one thing, so that the caption of the other is false: VideoCon's misalignments.

A contrast is a clip itself, so its caption is a contrast caption of the first clip, and both make a square.

Source: Bansal et al., "VideoCon: Robust Video-Language Alignment via Contrast Captions" (2023), arXiv 2311.10111; by
rule here, where the paper asks a language model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar, get_args

from .....registry import unknown
from ....rng import Rng
from ...scenes.layout.compositions import pair_part
from ...scenes.scene import OPPOSITE, UNIT, Thing
from ..clip import Action, Clip, Event
from ..compose import apart, swept
from ..config import COUNTS, ClipConfig
from ..truth import faithful, true_of

PAPERS = {"videocon": ("contrast",)}

T = TypeVar("T")

Contrast = Literal["object", "action", "attribute", "counting", "relation", "hallucination", "flip"]
CONTRASTS: tuple[Contrast, ...] = get_args(Contrast)
REVERSED: dict[Action, Action] = {
    "appear": "vanish",
    "vanish": "appear",
    "move left": "move right",
    "move right": "move left",
    "move up": "move down",
    "move down": "move up",
    "grow": "shrink",
    "shrink": "grow",
}
_TRIES = 40


def contrast(kind: str, clip: Clip, draws: Rng, config: ClipConfig | None = None) -> Clip | None:
    """Return a clip that differs from another one in one thing; None where it has nothing that can differ so.

    ``object``: a thing is of another concept. ``action``: what happens to a thing is turned round. ``attribute``: a
    thing is dyed in another colour. ``counting``: there are more or fewer of what is counted. ``relation``: two things
    have exchanged places. ``hallucination``: something more happens, to a thing that is not there. ``flip``: two
    events have exchanged their times. The contrast's caption is false of the clip and, but for ``hallucination``, the
    clip's of the contrast.

    Args:
        kind: one of `CONTRASTS`.
        clip: what it differs from.
        draws: decides among the ways to do it.
        config: of the world that the clip is from.

    Raises:
        UnknownNameError: for a kind that is not known.

    >>> from counterpoint.data.synthetic.clips.words.captions import caption
    >>> from counterpoint.data.synthetic.scenes.scene import Scene
    >>> cat = Thing("cat", "red", "small", 200, 300, 500)
    >>> clip = Clip(Scene(0, (cat,)), (Event("move right", 0, 2, 6, by=400),), 8)
    >>> caption(contrast("action", clip, Rng(0, 0)))
    'a red cat moves to the left'
    """
    if kind not in _MADE:
        raise unknown("kind of contrast", kind, CONTRASTS)
    other = _MADE[kind](clip, draws, config or ClipConfig())
    if other is None or true_of(other, clip) or not faithful(other, other):
        return None
    return other if kind == "hallucination" or not true_of(clip, other) else None


class Contrasted(NamedTuple):
    """A clip beside another one that differs from it in one thing.

    Attributes:
        kind: in what.
        shown: the clip.
        other: the one whose caption is false of it.
    """

    kind: str
    shown: Clip
    other: Clip


def contrasted(
    clip: Clip, draws: Rng, config: ClipConfig, kinds: Sequence[str] = CONTRASTS
) -> Contrasted | None:
    """Return a clip beside its contrast of the first of some kinds, in an order that is drawn, that it has one of.

    Mostly either of the two may be the one that is shown, so that words do not give the right caption away: a
    hallucination is always in the other one.
    """
    for kind in draws.sample("kind of contrast", kinds, len(kinds)):
        other = contrast(kind, clip, Rng(draws.word("contrast"), 0, kind), config)
        if other:
            turned = kind != "hallucination" and draws.happens("contrast is shown", 0.5)
            return Contrasted(kind, *((other, clip) if turned else (clip, other)))
    return None


def with_things(clip: Clip, things: Sequence[Thing]) -> Clip:
    return replace(clip, scene=replace(clip.scene, things=tuple(things)))


def changed(clip: Clip, indices: Sequence[int], **fields: object) -> Clip:
    """Return a clip in which some things are otherwise from the beginning."""
    things = [replace(t, **fields) if p in indices else t for p, t in enumerate(clip.scene)]  # type: ignore[arg-type] # fields of a Thing
    return with_things(clip, things)


def without(clip: Clip, index: int) -> Clip:
    """Return a clip that lacks one thing and what happens to it."""
    left = [p for p in range(len(clip.scene.things)) if p != index]
    new = {old: k for k, old in enumerate(left)}
    relations = tuple(
        replace(r, subject=new[r.subject], object=new[r.object])
        for r in clip.scene.relations
        if index not in (r.subject, r.object)
    )
    scene = replace(clip.scene, things=tuple(clip.scene.things[p] for p in left), relations=relations)
    return replace(
        clip,
        scene=scene,
        events=tuple(replace(e, thing=new[e.thing]) for e in clip.events if e.thing != index),
    )


def exchanged(clip: Clip, i: int, j: int) -> Clip:
    """Return a clip in which two of the events have exchanged their times."""
    events = list(clip.events)
    one, other = events[i], events[j]
    events[i] = replace(other, start=one.start, end=one.end)
    events[j] = replace(one, start=other.start, end=other.end)
    return replace(clip, events=tuple(events))


def alike(clip: Clip) -> tuple[int, ...]:
    """Return places of what is counted; none where nothing is."""
    concepts = [clip.scene.things[index].concept for index in clip.still]
    return clip.still if len(concepts) > 1 and len(set(concepts)) == 1 else ()


def recounted(clip: Clip, draws: Rng) -> Clip | None:
    """Return a clip with one or two more or fewer of what is counted, each number as likely as among all clips."""
    counted = alike(clip)
    if len(counted) not in COUNTS:
        return None
    wanted = draws.choice("number", [count for count in COUNTS if count != len(counted)])
    while len(counted) > wanted:
        clip = without(clip, counted[-1])
        counted = alike(clip)
    for number in range(wanted - len(counted)):
        more = _added(clip, clip.scene.things[counted[0]], draws, f"more {number}")
        if more is None:
            return None
        clip = more
    return clip


def _added(clip: Clip, model: Thing, draws: Rng, purpose: str) -> Clip | None:
    """Return a clip with one more thing behind all others, where nothing comes by; None if no place is found."""
    taken = [swept(clip, index) for index in range(len(clip.scene.things))]
    half = model.side // 2
    for number in range(_TRIES):
        x, y = (draws.integer(f"{purpose} {axis} {number}", half, UNIT - half) for axis in "xy")
        new = replace(model, x=x, y=y)
        if all(apart(new.box, other) for other in taken):
            relations = tuple(
                replace(r, subject=r.subject + 1, object=r.object + 1) for r in clip.scene.relations
            )
            scene = replace(clip.scene, things=(new, *clip.scene), relations=relations)
            return replace(
                clip, scene=scene, events=tuple(replace(e, thing=e.thing + 1) for e in clip.events)
            )
    return None


def _another(clip: Clip, draws: Rng, config: ClipConfig, besides: Collection[int]) -> str | None:
    """Draw a concept that is not there and may be seen besides the things at some places; None if there is none."""
    near = {clip.scene.things[index].concept for index in besides}
    options = [
        concept
        for concept in config.concepts
        if concept not in clip.scene.counts()
        and (config.pair_compositions != "train" or all(pair_part(concept, c) == "train" for c in near))
    ]
    return draws.choice("concept", options) if options else None


def _object(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    index = draws.choice("thing", range(len(clip.scene.things)))
    indices = alike(clip) if index in alike(clip) else (index,)
    left = [other for other in range(len(clip.scene.things)) if other not in indices]
    concept = _another(clip, draws, config, left)
    return changed(clip, indices, concept=concept) if concept else None


def _action(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    options = [k for k, event in enumerate(clip.events) if event.action in REVERSED]
    if not options:
        return None
    k = draws.choice("event", options)
    event = clip.events[k]
    whole = replace(clip, events=tuple(e for i, e in enumerate(clip.events) if i != k))
    if event.action not in ("appear", "vanish"):  # it begins as it ended
        end = Clip(clip.scene, (event,), clip.frames).thing(event.thing, clip.frames - 1)
        assert end is not None
        whole = with_things(whole, [end if p == event.thing else t for p, t in enumerate(clip.scene)])
    events = (*clip.events[:k], replace(event, action=REVERSED[event.action]), *clip.events[k + 1 :])
    return replace(whole, events=events)


def _attribute(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    dyed = [index for index, thing in enumerate(clip.scene) if thing.colour]
    if not dyed:
        return None
    index = draws.choice("thing", dyed)
    event_colours = {event.colour for event in clip.events if event.thing == index}
    others = [c for c in config.colours if c != clip.scene.things[index].colour and c not in event_colours]
    if not others:
        return None
    indices = alike(clip) if index in alike(clip) else (index,)
    return changed(clip, indices, colour=draws.choice("colour", others))


def _counting(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    return recounted(clip, draws)


def _relation(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    if not clip.scene.relations:
        return None
    relation = clip.scene.relations[0]
    things = list(clip.scene)
    one, other = things[relation.subject], things[relation.object]
    things[relation.subject] = replace(one, x=other.x, y=other.y)
    things[relation.object] = replace(other, x=one.x, y=one.y)
    scene = replace(
        clip.scene, things=tuple(things), relations=(replace(relation, kind=OPPOSITE[relation.kind]),)
    )
    return replace(clip, scene=scene)


def _hallucination(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    """Return a clip with a thing that appears or vanishes, before, between or after what happens else."""
    concept = _another(clip, draws, config, range(len(clip.scene.things)))
    if concept is None:
        return None
    model = replace(draws.choice("model", clip.scene.things), concept=concept)
    if model.colour:
        model = replace(model, colour=draws.choice("colour", config.colours))
    more = _added(clip, model, draws, "place")
    if more is None:
        return None
    started = {event.start for event in clip.events}  # "then" needs starts that differ
    start = draws.choice("start", [frame for frame in range(1, clip.frames) if frame not in started])
    action: Action = draws.choice("action", ("appear", "vanish"))
    events = (*more.events, Event(action, 0, start, start + 1))
    return replace(more, events=tuple(sorted(events, key=lambda event: event.start)))


def _flip(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    if len(clip.events) < 2:
        return None
    i, j = sorted(draws.sample("events", range(len(clip.events)), 2))
    return exchanged(clip, i, j)


_MADE: dict[str, Callable[[Clip, Rng, ClipConfig], Clip | None]] = {
    "object": _object,
    "action": _action,
    "attribute": _attribute,
    "counting": _counting,
    "relation": _relation,
    "hallucination": _hallucination,
    "flip": _flip,
}
