"""Scenes drawn without the composer: any things anywhere, with every relation that holds offered to the words."""

from __future__ import annotations

from random import Random

from counterpoint.data.synthetic.scenes.concepts import CONCEPTS
from counterpoint.data.synthetic.scenes.pixels.backgrounds import BACKGROUNDS
from counterpoint.data.synthetic.scenes.scene import (
    COLOURS,
    RELATIONS,
    SIZES,
    Relation,
    Scene,
    Thing,
    relation_holds,
)

SIDES = {"small": 150, "medium": 260, "large": 420}


def random_scene(seed: int) -> Scene:
    draw = Random(seed)
    few = draw.sample(sorted(CONCEPTS), draw.randint(1, 4))  # so that things of one concept come together
    colours, sizes = [None, *draw.sample(COLOURS, draw.randint(0, 3))], draw.sample(SIZES, draw.randint(1, 3))

    def thing() -> Thing:
        size = draw.choice(sizes)
        half = SIDES[size] // 2
        x, y = (draw.randint(half, 1000 - half) for _ in "xy")
        return Thing(
            draw.choice(few),
            draw.choice(colours),
            size,
            SIDES[size],
            x,
            y,
            facing=draw.choice(("left", "right")),
            clutter=draw.random() < 0.1,
        )

    things = tuple(thing() for _ in range(draw.randint(0, 7)))
    true = [
        Relation(kind, i, j)
        for i, a in enumerate(things)
        for j, b in enumerate(things)
        for kind in RELATIONS
        if i != j and not a.clutter and not b.clutter and relation_holds(kind, a, b, hidden=i < j)
    ]
    relations = tuple(draw.sample(true, min(len(true), draw.randint(0, 4))))
    return Scene(seed, things, relations, draw.choice(sorted(BACKGROUNDS)))
