"""Clips that break what their caption promises: ViBe's types of hallucination in generated videos.

Source: Rawte et al., "ViBe: A Text-to-Video Benchmark for Evaluating Hallucination in Large Multimodal Models"
(2024), arXiv 2411.10867; made by rule here, where the paper collects what video generators do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

from .....registry import unknown
from ....rng import Rng
from ...scenes.scene import UNIT
from ..clip import DIRECTIONS, Action, Clip, Event
from ..config import ClipConfig
from ..truth import faithful
from .contrasts import alike, recounted, without

PAPERS = {"vibe": ("hallucinate",)}

Hallucination = Literal[
    "vanishing subject",
    "numeric variability",
    "temporal dysmorphia",
    "omission error",
    "physical incongruity",
]
HALLUCINATIONS: tuple[Hallucination, ...] = get_args(Hallucination)
CLEAN = "clean"
"""The kind of a clip that shows its caption and nothing else."""
_JUMP = (250, 450)  # thousandths in one frame


def hallucinate(kind: str, clip: Clip, draws: Rng, config: ClipConfig | None = None) -> Clip | None:
    """Make the clip that a bad generator could show for a clip's caption; None where the clip has nothing for the kind.

    ``vanishing subject``: a thing is gone from some frame in the middle on. ``numeric variability``: there are more
    or fewer of what is counted. ``temporal dysmorphia``: a thing grows, shrinks or changes its colour, which nobody
    said. ``omission error``: a thing is never there, nor does anything happen to it. ``physical incongruity``: a
    thing is suddenly somewhere else.

    Args:
        kind: one of `HALLUCINATIONS`.
        clip: what its caption says.
        draws: decides among the ways to do it.
        config: of the world that the clip is from.

    Raises:
        UnknownNameError: for a kind that is not known.

    >>> from counterpoint.data.synthetic.scenes.scene import Scene, Thing
    >>> cat = Thing("cat", "red", "small", 200, 300, 500)
    >>> clip = Clip(Scene(0, (cat,)), (Event("move right", 0, 1, 3, by=400),), 8)
    >>> len(hallucinate("vanishing subject", clip, Rng(0, 0)).at(7).things)
    0
    """
    if kind not in _MADE:
        raise unknown("kind of hallucination", kind, HALLUCINATIONS)
    other = _MADE[kind](clip, draws, config or ClipConfig())
    return None if other is None or faithful(clip, other) else other


def _happening(clip: Clip, event: Event) -> Clip:
    """Return a clip in which something more happens."""
    return replace(clip, events=tuple(sorted((*clip.events, event), key=lambda each: each.start)))


def _staying(clip: Clip) -> list[tuple[int, int]]:
    """Find things that are there in the last frame and to which nothing happens before it, and from which frame on."""
    staying = []
    for index in range(len(clip.scene.things)):
        events = [event for event in clip.events if event.thing == index]
        since = (
            events[-1].start + 1
            if events and events[-1].action == "appear"
            else events[-1].end
            if events
            else 1
        )
        if since < clip.frames - 1 and clip.thing(index, clip.frames - 1):
            staying.append((index, max(since, 1)))
    return staying


def _vanishing(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    options = _staying(clip)
    if not options:
        return None
    index, since = draws.choice("thing", options)
    frame = draws.integer("frame", max(since, clip.frames // 3), clip.frames - 2)
    return _happening(clip, Event("vanish", index, frame, frame + 1))


def _numeric(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    return recounted(clip, draws)


def _dysmorphia(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    options = _staying(clip)
    if not options:
        return None
    index, since = draws.choice("thing", options)
    thing = clip.thing(index, clip.frames - 1)
    assert thing is not None
    start = draws.integer("start", since, clip.frames - 2)
    action: Action = draws.choice("way", ("grow", "shrink", "change colour"))
    if action == "change colour":
        others = [colour for colour in config.colours if colour != thing.colour]
        return _happening(
            clip, Event(action, index, start, clip.frames, colour=draws.choice("colour", others))
        )
    by = thing.side // 2 // 2 * 2
    room = min(thing.x, thing.y, UNIT - thing.x, UNIT - thing.y) - thing.side // 2
    if action == "grow" and room < by // 2:
        action = "shrink"
    return _happening(clip, Event(action, index, start, clip.frames, by=by))


def _omission(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    options = [index for index in range(len(clip.scene.things)) if index not in alike(clip)]
    return without(clip, draws.choice("thing", options))


def _incongruity(clip: Clip, draws: Rng, config: ClipConfig) -> Clip | None:
    by = draws.integer("by", *_JUMP)
    options = []
    for index, since in _staying(clip):
        thing = clip.thing(index, clip.frames - 1)
        assert thing is not None
        for action, (across, down) in DIRECTIONS.items():
            landed = replace(thing, x=thing.x + across * by, y=thing.y + down * by).box
            if min(landed) >= 0 and max(landed) <= UNIT:
                options.append((index, since, action))
    if not options:
        return None
    index, since, action = draws.choice("jump", options)
    frame = draws.integer("frame", since, clip.frames - 2)
    return _happening(clip, Event(action, index, frame, frame + 1, by=by))


_MADE: dict[str, Callable[[Clip, Rng, ClipConfig], Clip | None]] = {
    "vanishing subject": _vanishing,
    "numeric variability": _numeric,
    "temporal dysmorphia": _dysmorphia,
    "omission error": _omission,
    "physical incongruity": _incongruity,
}
