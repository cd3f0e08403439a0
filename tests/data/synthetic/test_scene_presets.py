"""Presets hold, and what they hold out never leaks."""

from __future__ import annotations

import pytest

from counterpoint.data.synthetic.scenes.layout.compositions import (
    colour_part,
    colour_parts,
    relation_part,
    relation_parts,
)
from counterpoint.data.synthetic.scenes.presets import PRESETS
from counterpoint.data.synthetic.scenes.world import Scenes


def test_held_out_compositions_never_leak() -> None:
    world = Scenes.parse("scenes:compositions,train=500,validation=100,test=150")
    for row in world.splits.train:
        scene = world.scene(int(row))
        assert colour_parts(scene) <= {"train"}
        assert relation_parts(scene) <= {"train"}
    sides = {"validation": world.splits.validation, "test": world.splits.test}
    for part, sets in sides.items():
        for row in sets["colours"]:
            scene = world.scene(int(row))
            assert colour_parts(scene) == {part}
            assert all(thing.colour is not None for thing in scene)
            assert relation_parts(scene) <= {"train"}
        for row in sets["relations"]:
            scene = world.scene(int(row))
            assert relation_parts(scene) == {part}
            assert colour_parts(scene) <= {"train"}
            assert len(scene.relations) == 1


def test_the_parts_of_held_out_compositions_train() -> None:
    world = Scenes.parse("scenes:compositions,train=3000")
    seen_concepts, seen_colours, seen_kinds = set(), set(), set()
    for row in world.splits.train[:1200]:
        scene = world.scene(int(row))
        seen_concepts |= {thing.concept for thing in scene}
        seen_colours |= {thing.colour for thing in scene}
        seen_kinds |= {relation.kind for relation in scene.relations}
    held_out = [world.scene(int(row)) for row in world.splits.test["colours"][:100]]
    assert {thing.concept for scene in held_out for thing in scene} <= seen_concepts
    assert {thing.colour for scene in held_out for thing in scene} <= seen_colours
    assert seen_kinds >= {"left of", "right of", "above", "below", "inside", "behind"}
    assert all(colour_part(t.concept, t.colour) == "test" for scene in held_out for t in scene if t.colour)
    for row in world.splits.test["relations"][:50]:
        scene = world.scene(int(row))
        (relation,) = scene.relations
        names = (scene.things[relation.subject].concept, scene.things[relation.object].concept)
        assert relation_part(relation.kind, *names) == "test"


def test_options_change_splits_share_and_leave_they_override() -> None:
    changed = Scenes.parse("scenes:cooccurrence,strength=0.95,train=20000,seed=3").preset
    config = {f"{side} {name}": each for (side, name), (_, each) in changed.splits.items()}
    assert config["train "].strength == config["test as trained"].strength == 0.95
    assert config["test balanced"].strength == 0.5
    assert config["test broken"].strength == 0
    assert changed.splits["train", ""][0] == 20_000
    assert changed.seed == 3
    assert PRESETS["cooccurrence"].config.strength == 0.9


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("scenes:basic,tinted=2", "scenes:basic: tinted: must be at most 1, got '2'"),
        ("scenes:counts,objects=30", "scenes:counts: objects: must be at most 25, got '30'"),
        ("scenes:counts,objects=0-24", "scenes:counts, test 'clutter': 28 things"),
        ("scenes:basic,languages=xx", "unknown language 'xx'"),
        ("scenes:basic,languages=de+de", "at least one language, and none twice; got de, de"),
        ("scenes:basic,table=x++y", "unknown attribute of scenes ''"),
    ],
)
def test_what_is_wrong_with_a_name(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenes.parse(source)
