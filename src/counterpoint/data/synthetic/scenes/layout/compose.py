"""From a configuration to a scene: whole numbers and keyed hashes only, so that annotations are the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from ....rng import Rng
from ..config import ARTIST_NAMES, SIDES, SceneConfig
from ..scene import Colour, Relation, Scene, Size, Thing
from .placing import PlacedGroup, behind, centres, inside
from .plan import ScenePlan

T = TypeVar("T")
_STEP = 40  # of sides: the fewer there are, the more often a scaled sprite is used again


def compose(config: SceneConfig, seed: int, index: int, stream: str = "") -> Scene:
    """Compose the scene with this number: a function of the arguments alone, whichever scenes are made before it.

    Things overlap only where one is inside or behind another. A relation is of the first two things: a container
    comes before what is inside it, and what is behind before what hides it. Clutter comes last but for a mark.

    Args:
        config: of the world.
        seed: of the world.
        index: of the scene; also its ``index``.
        stream: of scenes, mostly a split; the scenes of two streams are independent.

    >>> compose(SceneConfig(objects=2), 0, 7) == compose(SceneConfig(objects=2), 0, 7)
    True
    """
    plan, draws = _plan(config), Rng(seed, index, stream)
    count = draws.integer("objects", *config.objects)
    clutter = draws.integer("clutter", *config.clutter)
    marked = config.marked > 0 and draws.happens("marked", config.marked)
    total = count + clutter + marked
    relation = _relation(plan, draws, count, total)
    concepts, alike = _concepts(plan, draws, count, count + clutter, relation)
    if marked:
        concepts.append(draws.choice("mark", config.marks))
        alike.append(total - 1)
    sizes, sides = _sizes(plan, draws, count, alike, relation)
    centres = _centres(draws, sides, relation)
    colours: list[Colour | None] = []
    for i, concept in enumerate(concepts):
        if i >= count + clutter:
            colours.append(None)  # a mark looks the same in every scene
        elif alike[i] == i:
            colours.append(_colour(plan, draws, i, concept))
        else:
            used = {colour for name, colour in zip(concepts, colours, strict=False) if name == concept}
            left = [colour for colour in plan.colours[concept] if colour not in used]
            recoloured = left and config.recoloured and draws.happens(f"recoloured {i}", config.recoloured)
            colours.append(draws.choice(f"colour {i}", left) if recoloured else colours[alike[i]])
    artist = ARTIST_NAMES.index(draws.choice("artist", config.artists))
    things = tuple(
        Thing(
            concepts[i],
            colours[i],
            sizes[i],
            sides[i],
            *centres[i],
            artist,
            draws.choice(f"facing {alike[i]}", config.facings),
            i >= count,
        )
        for i in range(total)
    )
    background = _background(plan, draws, concepts[: count + clutter])
    worse = config.corrupted > 0 and draws.happens("corrupted", config.corrupted)
    corruption = draws.choice("corruption", config.corruptions) if worse else None
    return Scene(index, things, (relation,) if relation else (), background, corruption)


@lru_cache(maxsize=64)
def _plan(config: SceneConfig) -> ScenePlan:
    return ScenePlan(config)


def _relation(plan: ScenePlan, draws: Rng, count: int, total: int) -> Relation | None:
    if count < 2 or plan.config.same or not draws.happens("relation", plan.config.relations):
        return None
    kinds = plan.kinds(total)
    if not kinds:
        return None
    kind = draws.choice("relation kind", kinds)
    if kind in ("inside", "behind"):
        subject = 1 if kind == "inside" else 0
    else:
        subject = draws.integer("relation subject", 0, 1)
    return Relation(kind, subject, 1 - subject)


def _concepts(
    plan: ScenePlan, draws: Rng, count: int, total: int, relation: Relation | None
) -> tuple[list[str], list[int]]:
    """Draw the concept of each thing, and the thing of which it is one more: mostly the thing itself."""
    if not total:
        return [], []
    config = plan.config
    chosen = [plan.pick(draws, "concept 0", plan.firsts(relation))]
    alike = [0]
    partner = plan.partners.get(chosen[0]) if draws.happens("partner", plan.partnership) else None
    partner_at = draws.integer("partner place", 1, count - 1) if partner else None
    for i in range(1, total):
        options = plan.further if i > 1 or relation is None else plan.seconds(relation, chosen[0])
        if i == partner_at and partner:
            chosen.append(partner)
            alike.append(i)
        elif i < count and (
            config.same
            or (relation is None and config.repeats and draws.happens(f"repeat {i}", config.repeats))
        ):
            other = alike[draws.integer(f"repeat of {i}", 0, i - 1)]
            chosen.append(chosen[other])
            alike.append(other)
        else:
            left = [concept for concept in options if concept not in chosen]
            chosen.append(plan.pick(draws, f"concept {i}", left))
            alike.append(i)
    return chosen, alike


def _colour(plan: ScenePlan, draws: Rng, i: int, concept: str) -> Colour | None:
    config = plan.config
    dyed = config.colour_compositions in ("validation", "test") or draws.happens(f"tinted {i}", config.tinted)
    if not dyed:
        return None
    if config.spurious == "colour":
        return _spurious(draws, f"colour {i}", config.colours, plan.place[concept], config.strength)
    return draws.choice(f"colour {i}", plan.colours[concept])


def _background(plan: ScenePlan, draws: Rng, concepts: Sequence[str]) -> str:
    """Draw the background; a mark, which is none of the concepts, has none of its own."""
    config = plan.config
    if config.spurious == "background" and concepts:
        return _spurious(draws, "background", config.backgrounds, plan.place[concepts[0]], config.strength)
    return draws.choice("background", config.backgrounds)


def _spurious(draws: Rng, purpose: str, options: Sequence[T], concept: int, strength: float) -> T:
    """Draw the option that belongs to a concept with probability ``strength``, and else any other one."""
    bound = concept % len(options)
    if draws.happens(f"own {purpose}", strength):
        return options[bound]
    return draws.choice(purpose, [option for i, option in enumerate(options) if i != bound])


def _sizes(
    plan: ScenePlan, draws: Rng, count: int, alike: Sequence[int], relation: Relation | None
) -> tuple[list[Size], list[int]]:
    sizes: list[Size] = []
    options = plan.sizes(len(alike), relation)
    for i, other in enumerate(alike):
        if i >= count:
            sizes.append("small")
        elif other != i:
            sizes.append(sizes[other])
        else:
            sizes.append(draws.choice(f"size {i}", options[min(i, 2)]))
    sides: list[int] = []
    for i, size in enumerate(sizes):
        low, high = SIDES[size]
        if i == 1 and relation and relation.kind == "inside":
            high = max(low, min(high, sides[0] * 3 // 5))
        sides.append(low + _STEP * draws.integer(f"side {i}", 0, (high - low) // _STEP))
    if relation and relation.kind == "behind" and sides[0] < sides[1]:  # or nothing of it would be seen
        sizes[:2], sides[:2] = sizes[1::-1], sides[1::-1]
    return sizes, sides


def _centres(draws: Rng, sides: Sequence[int], relation: Relation | None) -> list[tuple[int, int]]:
    units = [PlacedGroup(side) for side in sides]
    order = None
    if relation is None:
        pass
    elif relation.kind == "inside":
        units = [inside(draws, sides[0], sides[1]), *units[2:]]
    elif relation.kind == "behind":
        units = [behind(draws, sides[0], sides[1]), *units[2:]]
    else:
        along = 0 if relation.kind in ("left of", "right of") else 1
        nearer = relation.subject if relation.kind in ("left of", "above") else relation.object
        order = along, nearer
    return centres(draws, units, order)
