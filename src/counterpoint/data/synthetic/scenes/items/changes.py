"""Changes of one thing of a scene: candidates for minimal pairs, one kind at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from ....rng import Rng
from ..concepts import CONCEPTS, FACED
from ..config import SIDES, SceneConfig
from ..layout.placing import behind, inside
from ..scene import UNIT, Relation, RelationKind, Scene, Thing, relation_holds
from ..words.referring import groups

T = TypeVar("T")

EditKind = Literal[
    "replace object",
    "replace colour",
    "replace size",
    "replace count",
    "replace relation",
    "replace facing",
    "swap object",
    "swap colour",
    "swap size",
    "add object",
    "add colour",
]
EDITS: tuple[EditKind, ...] = get_args(EditKind)

_STEP = 20  # of sides, as scenes are composed
PLACES = 100
"""Places that are tried for a thing that moves or is new."""


class Change(NamedTuple):
    """The scene after a change, and the places of what differs, before and after."""

    after: Scene
    old: tuple[int, ...]
    new: tuple[int, ...]


def changes(kind: EditKind, scene: Scene, draws: Rng, config: SceneConfig) -> Iterator[Change]:
    """Yield ways to change one thing of a scene, in random order; not all of them are valid edits.

    Args:
        kind: what changes.
        scene: of which.
        draws: decides in which order.
        config: of the world, for what may appear in it.
    """
    if kind in _OPTIONS:
        return _altered(scene, draws, partial(_OPTIONS[kind], scene=scene, draws=draws, config=config))
    if kind in _SWAPPED:
        return _swapped(scene, draws, _SWAPPED[kind])
    return _BUILT[kind](scene, draws, config)


def _alike(scene: Scene) -> list[tuple[int, ...]]:
    """Return the places of things that words count together, and that change together."""
    return [group.things for group in groups(scene, ("colour", "size", "facing"))] if scene.subjects else []


def recount(scene: Scene, group: tuple[int, ...], count: int, copies: Sequence[Thing] = ()) -> Scene:
    """Return a scene in which a group has lost its last members or won some copies, which are drawn last.

    Args:
        scene: as it is.
        group: some places.
        count: how many of them there shall be.
        copies: the new ones; they hide the first member unless given, which serves where only words are needed.
    """
    lost = group[count:]
    kept = [index for index in range(len(scene.things)) if index not in lost]
    copies = copies or (scene.things[group[0]],) * (count - len(group))
    return replace(
        scene,
        things=(*(scene.things[index] for index in kept), *copies),
        relations=tuple(_renumbered(r, kept) for r in scene.relations if {r.subject, r.object} <= set(kept)),
    )


def overlap(a: Thing, b: Thing) -> bool:
    """Return whether the squares of two things share a pixel."""
    (left, top, right, bottom), (left_, top_, right_, bottom_) = a.box, b.box
    return left < right_ and left_ < right and top < bottom_ and top_ < bottom


Option = dict[str, Any]
"""Fields of a thing, and what they become."""


def _objects(thing: Thing, scene: Scene, draws: Rng, config: SceneConfig) -> list[Option]:
    """Return other concepts for a thing; a container becomes a container only, as something may be inside."""
    hollow, present = CONCEPTS[thing.concept].kind == "container", scene.counts()
    fitting = [c for c in config.concepts if (CONCEPTS[c].kind == "container") == hollow and c not in present]
    return [{"concept": c} for c in fitting]


def _colours(thing: Thing, scene: Scene, draws: Rng, config: SceneConfig) -> list[Option]:
    return [{"colour": colour} for colour in config.colours if thing.colour not in (None, colour)]


def _first_colours(thing: Thing, scene: Scene, draws: Rng, config: SceneConfig) -> list[Option]:
    dyed = config.tinted or config.colour_compositions in ("validation", "test")
    return [{"colour": colour} for colour in config.colours if dyed and thing.colour is None]


def _sizes(thing: Thing, scene: Scene, draws: Rng, config: SceneConfig) -> list[Option]:
    options = []
    for size in config.sizes:
        low, high = SIDES[size]
        side = low + _STEP * draws.integer(f"edit side {size}", 0, (high - low) // _STEP)
        options += [{"size": size, "side": side}] if size != thing.size else []
    return options


def _facings(thing: Thing, scene: Scene, draws: Rng, config: SceneConfig) -> list[Option]:
    facings = [facing for facing in config.facings if facing != thing.facing and thing.concept in FACED]
    return [{"facing": facing} for facing in facings]


_OPTIONS: dict[str, Callable[..., list[Option]]] = {
    "replace object": _objects,
    "replace colour": _colours,
    "replace size": _sizes,
    "replace facing": _facings,
    "add colour": _first_colours,
}
_SWAPPED: dict[str, tuple[str, ...]] = {
    "swap object": ("concept",),
    "swap colour": ("colour",),
    "swap size": ("size", "side"),
}


def _altered(scene: Scene, draws: Rng, options: Callable[[Thing], list[Option]]) -> Iterator[Change]:
    """Yield changes of one group to other values of a field."""
    for group in _shuffled(draws, "group", _alike(scene)):
        for option in _shuffled(draws, f"option {group}", options(scene.things[group[0]])):
            yield _with(scene, group, dict.fromkeys(group, option))


def _swapped(scene: Scene, draws: Rng, fields: tuple[str, ...]) -> Iterator[Change]:
    """Yield exchanges between two groups of their values of some fields."""
    things = _alike(scene)
    pairs = [(a, b) for index, a in enumerate(things) for b in things[:index]]
    for a, b in _shuffled(draws, "pair", pairs):
        of_a, of_b = ({f: getattr(scene.things[g[0]], f) for f in fields} for g in (a, b))
        if of_a != of_b:
            yield _with(scene, (*a, *b), dict.fromkeys(a, of_b) | dict.fromkeys(b, of_a))


def _recounted(scene: Scene, draws: Rng, config: SceneConfig) -> Iterator[Change]:
    """Yield changes to more or fewer of a group that no relation speaks of; what is lost is the last to have come."""
    spoken = {index for r in scene.relations for index in (r.subject, r.object)}
    free = [group for group in _alike(scene) if not spoken.intersection(group)]
    low, high = (total - len(scene.subjects) for total in config.objects)
    options = [
        (group, len(group) + more)
        for group in free
        for more in range(max(low, 1 - len(group)), high + 1)
        if more and (config.same or config.repeats)
    ]
    for group, count in _shuffled(draws, "count", options):
        copies: list[Thing] = []
        for number in range(len(group), count):
            purpose = f"copy {group} {count} {number}"
            model = scene.things[draws.choice(purpose, group)]
            copy = _placed(model, draws, purpose, partial(_clear, others=(*scene, *copies)))
            copies += [copy] if copy else []
        if len(group) + len(copies) >= count:
            after, lost = recount(scene, group, count, copies), group[count:]
            kept = (index - sum(other < index for other in lost) for index in group[:count])
            new = range(len(after.things) - len(copies), len(after.things))
            yield Change(after, group, (*kept, *new))


def _moved(scene: Scene, draws: Rng, config: SceneConfig) -> Iterator[Change]:
    """Yield moves of a relation's subject into another relation; the object stays where it is."""
    options = [
        (index, kind)
        for index, relation in enumerate(scene.relations)
        for kind in config.relation_kinds
        if kind != relation.kind
    ]
    for index, kind in _shuffled(draws, "relation", options):
        relation = scene.relations[index]
        thing, object = scene.things[relation.subject], scene.things[relation.object]
        others = [it for number, it in enumerate(scene) if number not in (relation.subject, relation.object)]
        fits = partial(_stands, kind=kind, object=object, others=others)
        if kind in ("inside", "behind"):
            moved = _overlapping(thing, object, kind, draws, f"place {index} {kind}", fits)
        else:
            moved = _placed(thing, draws, f"place {index} {kind}", fits)
        if moved:
            yield _reordered(scene, index, kind, moved)


def _stands(it: Thing, kind: RelationKind, object: Thing, others: Sequence[Thing]) -> bool:
    apart = kind in ("inside", "behind") or not overlap(it, object)
    return apart and relation_holds(kind, it, object, hidden=kind == "behind") and _clear(it, others)


def _overlapping(
    thing: Thing, object: Thing, kind: RelationKind, draws: Rng, purpose: str, fits: Callable[[Thing], bool]
) -> Thing | None:
    """Place a thing inside or behind another, as scenes are composed; None where its size does not allow that."""
    if kind == "inside":
        hollow = CONCEPTS[object.concept].kind == "container"
        if not hollow or thing.size != "small" or thing.side > object.side * 3 // 5:
            return None
    elif thing.side < object.side:
        return None
    for number in range(PLACES):
        drawn = Rng(draws.word(purpose), number)
        if kind == "inside":
            (x, y), (x_, y_) = inside(drawn, object.side, thing.side).members
        else:
            (x_, y_), (x, y) = behind(drawn, thing.side, object.side).members
        moved = replace(thing, x=object.x + x_ - x, y=object.y + y_ - y)
        if min(moved.box) >= 0 and max(moved.box) <= UNIT and fits(moved):
            return moved
    return None


def _reordered(scene: Scene, number: int, kind: RelationKind, moved: Thing) -> Change:
    """Replace the subject of a relation, and bring it before or behind the object where needed."""
    subject, object = scene.relations[number].subject, scene.relations[number].object
    order = list(range(len(scene.things)))
    if (kind == "behind" and subject > object) or (kind == "inside" and subject < object):
        order.remove(subject)
        order.insert(order.index(object) + (kind == "inside"), subject)
    relations = [_renumbered(r, order) for r in scene.relations]
    relations[number] = replace(relations[number], kind=kind)
    things = tuple(moved if index == subject else scene.things[index] for index in order)
    after = replace(scene, things=things, relations=tuple(relations))
    return Change(after, (subject,), (order.index(subject),))


def _added(scene: Scene, draws: Rng, config: SceneConfig) -> Iterator[Change]:
    """Yield additions of a concept that is not there yet, coloured and as large as one of those that are."""
    some = 0 < len(scene.subjects) < config.objects[1] and not config.same
    fitting = [c for c in config.concepts if CONCEPTS[c].kind != "container" and c not in scene.counts()]
    for concept in draws.sample("edit concept", fitting, min(3, len(fitting))) if some else []:
        model = replace(draws.choice(f"model {concept}", scene.subjects), concept=concept)
        if model.colour:
            model = replace(model, colour=draws.choice(f"colour {concept}", config.colours))
        new = _placed(model, draws, f"place {concept}", partial(_clear, others=scene.things))
        if new:
            yield Change(replace(scene, things=(*scene, new)), (), (len(scene.things),))


_BUILT: dict[str, Callable[[Scene, Rng, SceneConfig], Iterator[Change]]] = {
    "replace count": _recounted,
    "replace relation": _moved,
    "add object": _added,
}


def _with(scene: Scene, indices: tuple[int, ...], fields: Mapping[int, Option]) -> Change:
    things = tuple(replace(thing, **fields.get(index, {})) for index, thing in enumerate(scene))
    return Change(replace(scene, things=things), indices, indices)


def _placed(thing: Thing, draws: Rng, purpose: str, fits: Callable[[Thing], bool]) -> Thing | None:
    """Place a thing where it fits, or return None if no place is found."""
    low, high = thing.side // 2, UNIT - thing.side // 2
    for number in range(PLACES):
        x, y = (draws.integer(f"{purpose} {axis} {number}", low, high) for axis in "xy")
        moved = replace(thing, x=x, y=y)
        if fits(moved):
            return moved
    return None


def _clear(thing: Thing, others: Iterable[Thing]) -> bool:
    return not any(overlap(thing, other) for other in others)


def _renumbered(relation: Relation, order: Sequence[int]) -> Relation:
    return replace(relation, subject=order.index(relation.subject), object=order.index(relation.object))


def _shuffled(draws: Rng, purpose: str, options: Sequence[T]) -> list[T]:
    return draws.sample(f"edit {purpose}", options, len(options))
