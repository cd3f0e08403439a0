"""From a configuration to a clip: whole numbers and keyed hashes only, so annotations are the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...rng import Rng
from ..scenes.config import ARTIST_NAMES, SIDES, grid
from ..scenes.layout.compositions import together
from ..scenes.scene import UNIT, Colour, Relation, RelationKind, Scene, Size, Thing, relation_holds
from .clip import DIRECTIONS, Action, Clip, Event
from .config import COUNTS, ClipConfig

Box = tuple[int, int, int, int]
FAR = (200, 480)
"""The shortest and the longest way that a thing moves where there is room, in thousandths."""
_TRIES = 24
_PLACES = 8
_BESIDE: tuple[RelationKind, ...] = ("left of", "right of", "above", "below")


class _Part(NamedTuple):
    """A thing before it has a place: what happens to it, and what it is like."""

    concept: str
    colour: Colour | None
    size: Size
    side: int
    action: Action | None = None


def compose_clip(config: ClipConfig, seed: int, index: int, stream: str = "") -> Clip:
    """Compose the clip with this number: a function of the arguments alone.

    Things never overlap, wherever they move. Those that stay where they are come first and so lie behind; those to
    which something happens follow in the order in which it does.

    Args:
        config: of the world.
        seed: of the world.
        index: of the clip; also its scene's.
        stream: of clips, mostly a split; the clips of two streams are independent.

    >>> compose_clip(ClipConfig(), 0, 7) == compose_clip(ClipConfig(), 0, 7)
    True
    """
    draws = Rng(seed, index, stream)
    setting = draws.choice("setting", config.settings)
    still = _still(draws, config, setting)
    count = draws.integer("events", *config.events)
    concepts = _concepts(draws, config, count)
    movers = [_mover(draws, config, k, concepts[k]) for k in range(count)]
    if still:
        rest = concepts[count:] if setting == "relation" else concepts[count : count + 1] * len(still)
        still = [part._replace(concept=name) for part, name in zip(still, rest, strict=True)]
    parts = [*still, *movers]
    boxes, ways = _trajectories(draws, parts)
    artist = ARTIST_NAMES.index(draws.choice("artist", config.artists))
    things = tuple(
        Thing(part.concept, part.colour, part.size, part.side, *_start(part, box), artist)
        for part, box in zip(parts, boxes, strict=True)
    )
    events = []
    for k, (start, end) in enumerate(_times(draws, config.frames, count)):
        number = len(still) + k
        events.append(_event(draws, config, parts[number], number, start, end, ways[number]))
    relations = _relation(draws, things) if setting == "relation" else ()
    return Clip(
        Scene(index, things, relations, draws.choice("background", config.backgrounds)),
        tuple(events),
        config.frames,
    )


def swept(clip: Clip, index: int) -> Box:
    """Return the square around a thing in all frames, in thousandths; also before it appears."""
    ends = [
        event.end - 1 for event in clip.events if event.thing == index
    ]  # between them, what changes does evenly
    boxes = [thing.box for frame in ends if (thing := clip.thing(index, frame))]
    boxes.append(clip.scene.things[index].box)
    return (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        max(b[2] for b in boxes),
        max(b[3] for b in boxes),
    )


def apart(one: Box, other: Box) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def _concepts(draws: Rng, config: ClipConfig, events: int) -> list[str]:
    """Draw different concepts: those of the events, then two more."""
    part = config.pair_compositions
    if part == "any":
        return draws.sample("concept", config.concepts, events + 2)
    order = draws.sample("concept", config.concepts, len(config.concepts))
    chosen = together(order, events + 2 if part == "train" else events, part)
    assert chosen is not None  # the configuration's checks have seen to it
    return [*chosen, *(concept for concept in order if concept not in chosen)][: events + 2]


def _still(draws: Rng, config: ClipConfig, setting: str) -> list[_Part]:
    if setting == "none":
        return []
    side = _side(draws, "still side", "small")  # alike, so that two of them can exchange places
    if setting == "count":
        colour = _colour(draws, config, "still")
        return [_Part("", colour, "small", side)] * draws.choice("count", COUNTS)
    return [_Part("", _colour(draws, config, f"still {k}"), "small", side) for k in range(2)]


def _mover(draws: Rng, config: ClipConfig, k: int, concept: str) -> _Part:
    action = draws.choice(f"action {k}", config.actions)
    colour = _colour(draws, config, str(k))
    if action == "change colour" and colour is None:
        colour = draws.choice(f"colour {k}", config.colours)
    size: Size = "medium" if action == "shrink" else "small"
    return _Part(concept, colour, size, _side(draws, f"side {k}", size), action)


def _side(draws: Rng, purpose: str, size: Size) -> int:
    return SIDES[size][0] + 40 * draws.integer(purpose, 0, 1)


def _colour(draws: Rng, config: ClipConfig, purpose: str) -> Colour | None:
    dyed = draws.happens(f"tinted {purpose}", config.tinted)
    return draws.choice(f"colour {purpose}", config.colours) if dyed else None


def _trajectories(draws: Rng, parts: Sequence[_Part]) -> tuple[list[Box], list[int]]:
    """Draw the box that each thing sweeps over, and its way: anywhere if room is found, else in the cells of a grid."""
    for attempt in range(_TRIES):
        longest = max(FAR[0], FAR[1] - 12 * attempt)
        ways = [draws.integer(f"way {k} {attempt}", FAR[0] // 2, longest // 2) * 2 for k in range(len(parts))]
        boxes: list[Box] = []
        for k, part in enumerate(parts):
            width, height = _extent(part, ways[k])
            for number in range(_PLACES):
                left = draws.integer(f"left {k} {attempt} {number}", 0, UNIT - width)
                top = draws.integer(f"top {k} {attempt} {number}", 0, UNIT - height)
                box = left, top, left + width, top + height
                if all(apart(box, other) for other in boxes):
                    boxes.append(box)
                    break
            else:
                break
        if len(boxes) == len(parts):
            return boxes, ways
    columns, cell = grid(len(parts))
    cells = draws.sample("cells", range(columns * columns), len(parts))
    ways = [(cell - part.side) // 2 * 2 for part in parts]
    corners = [(at % columns * cell, at // columns * cell) for at in cells]
    extents = [_extent(part, way) for part, way in zip(parts, ways, strict=True)]
    return [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, extents, strict=True)], ways


def _extent(part: _Part, way: int) -> tuple[int, int]:
    """Return width and height of what a thing sweeps over."""
    across, down = DIRECTIONS.get(part.action, (0, 0)) if part.action else (0, 0)
    side = SIDES["medium"][1] if part.action == "grow" else part.side
    return side + abs(across) * way, side + abs(down) * way


def _start(part: _Part, box: Box) -> tuple[int, int]:
    """Return the place of a thing before it moves, within the box that the thing sweeps over."""
    left, top, right, bottom = box
    half = part.side // 2
    if part.action in ("move right", "move down"):
        return left + half, top + half
    if part.action in ("move left", "move up"):
        return right - half, bottom - half
    return (left + right) // 2, (top + bottom) // 2


def _times(draws: Rng, frames: int, count: int) -> list[tuple[int, int]]:
    """Draw frames of the events: one after the other, the first frame shows none, and each begins a little late."""
    times = []
    for k in range(count):
        first, end = k * frames // count, (k + 1) * frames // count
        start = first + draws.integer(f"late {k}", 1, max(1, (end - first) // 3))
        times.append((start, end))
    return times


def _event(draws: Rng, config: ClipConfig, part: _Part, index: int, start: int, end: int, way: int) -> Event:
    assert part.action is not None
    if part.action == "change colour":
        others = [colour for colour in config.colours if colour != part.colour]
        return Event(part.action, index, start, end, colour=draws.choice(f"new colour {index}", others))
    if part.action in DIRECTIONS:
        return Event(part.action, index, start, end, by=way)
    if part.action in ("grow", "shrink"):
        other = _side(draws, f"new side {index}", "medium" if part.action == "grow" else "small")
        return Event(part.action, index, start, end, by=abs(other - part.side))
    return Event(part.action, index, start, end)


def _relation(draws: Rng, things: Sequence[Thing]) -> tuple[Relation, ...]:
    """Choose one of the relations in which the first two things plainly stand, if there is one."""
    relations = [
        Relation(kind, i, 1 - i)
        for i in (0, 1)
        for kind in _BESIDE
        if relation_holds(kind, things[i], things[1 - i])
    ]
    return (draws.choice("relation", relations),) if relations else ()
