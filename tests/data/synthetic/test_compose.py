"""Scenes are the same bytes everywhere, stand as they should, and show what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.annotations import annotation, canonical, scene_of
from counterpoint.data.synthetic.scenes.concepts import CONCEPTS
from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.layout.compositions import (
    colour_part,
    relation_part,
    relation_parts,
)
from counterpoint.data.synthetic.scenes.layout.placing import behind
from counterpoint.data.synthetic.scenes.scene import (
    COLOURS,
    OPPOSITE,
    RELATIONS,
    SIZES,
    UNIT,
    Scene,
    relation_holds,
)

EVERYTHING = SceneConfig(
    objects="0-4",
    repeats=0.3,
    clutter="0-3",
    tail=0.7,
    relations=0.7,
    backgrounds="white+meadow+brick",
    artists="twemoji+openmoji",
    facings="left+right",
    corrupted=0.2,
)
HASH = "63a133eb35e10de3cc0a32a0e782cda1"


def digest(order: list[int]) -> str:
    made = {index: canonical(compose(EVERYTHING, 5, index, "train")) for index in order}
    return blake2b(b"\n".join(made[index] for index in sorted(made)), digest_size=16).hexdigest()


def test_annotations_of_thousand_scenes_are_these_bytes_in_order() -> None:
    assert digest(list(range(1000))) == HASH
    assert digest(list(range(300, 200, -1))) == digest(list(range(201, 301)))


def test_another_process_makes_the_same_scene_by_itself() -> None:
    script = """
import sys
from counterpoint.data.synthetic.scenes.annotations import canonical
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.config import SceneConfig
config = SceneConfig.model_validate_json(sys.stdin.read())
sys.stdout.buffer.write(canonical(compose(config, 5, 777, "train")))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=EVERYTHING.model_dump_json().encode(),
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == canonical(compose(EVERYTHING, 5, 777, "train"))


def test_seed_index_and_stream_all_matter() -> None:
    def things(*where: object) -> object:
        return compose(EVERYTHING, *where).things  # type: ignore[arg-type] # one of them is changed in turn

    first = [things(0, index, "a") for index in range(20)]
    assert first != [things(1, index, "a") for index in range(20)]
    assert first != [things(0, index, "b") for index in range(20)]
    assert first != [things(0, index + 20, "a") for index in range(20)]


TURNED = st.fixed_dictionaries(
    {
        "objects": st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted).map(tuple),
        "clutter": st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted).map(tuple),
        "same": st.booleans(),
        "repeats": st.sampled_from([0.0, 0.5, 1.0]),
        "sizes": st.sampled_from([("small",), ("small", "medium"), SIZES]),
        "relations": st.sampled_from([0.0, 0.5, 1.0]),
        "facings": st.sampled_from([("left",), ("left", "right")]),
        "tail": st.sampled_from([0.0, 1.5]),
    }
)


@given(TURNED, st.integers(0, 2**63))
def test_whatever_configuration_things_stand_within_and_apart(options: dict[str, object], index: int) -> None:
    scene = compose(SceneConfig.model_validate(options), 0, index)
    assert all(min(thing.box) >= 0 and max(thing.box) <= UNIT for thing in scene)
    assert all(thing.side % 2 == 0 for thing in scene)
    together = {frozenset((r.subject, r.object)) for r in scene.relations if r.kind in ("inside", "behind")}
    for i, a in enumerate(scene):
        for j, b in enumerate(scene):
            if i < j and frozenset((i, j)) not in together:
                assert 2 * max(abs(a.x - b.x), abs(a.y - b.y)) >= a.side + b.side


def visible(scene: Scene, subject: int, object: int) -> set[str]:
    a, b = scene.things[subject], scene.things[object]
    return {kind for kind in RELATIONS if relation_holds(kind, a, b, hidden=subject < object)}


def test_a_composed_relation_is_the_only_one_of_its_things() -> None:
    for index in range(400):
        scene = compose(SceneConfig(objects="2-5", relations=1), 1, index)
        for relation in scene.relations:
            assert {relation.subject, relation.object} == {0, 1}
            assert visible(scene, relation.subject, relation.object) == {relation.kind}
            opposite = OPPOSITE.get(relation.kind)
            assert visible(scene, relation.object, relation.subject) == ({opposite} if opposite else set())
            if relation.kind == "inside":
                assert CONCEPTS[scene.things[relation.object].concept].kind == "container"


@pytest.mark.parametrize(("back", "front"), [(160, 160), (320, 260), (460, 160), (460, 460)])
def test_what_is_behind_is_seen_and_hidden_in_part(back: int, front: int) -> None:
    for index in range(200):
        unit = behind(Rng(0, index), back, front)
        (x, y), (x_, y_) = unit.members
        across = min(x + back // 2, x_ + front // 2) - max(x - back // 2, x_ - front // 2)
        down = min(y + back // 2, y_ + front // 2) - max(y - back // 2, y_ - front // 2)
        assert across > 0
        assert down > 0
        assert across * down < 0.6 * back * back  # of it, at least 40 % of the square are free
        for centre, side in ((unit.members[0], back), (unit.members[1], front)):
            assert all(2 * abs(c) + side <= unit.side for c in centre)


def test_annotations_are_read_back() -> None:
    for index in range(50):
        scene = compose(EVERYTHING, 0, index)
        assert scene_of(annotation(scene)) == scene


def test_every_concept_and_colour_has_its_share_of_every_part() -> None:
    for concept in CONCEPTS:
        parts = [colour_part(concept, colour) for colour in COLOURS]
        assert (parts.count("train"), parts.count("validation"), parts.count("test")) == (6, 1, 2)
    for colour in COLOURS:
        parts = [colour_part(concept, colour) for concept in list(CONCEPTS)[:72]]
        assert (parts.count("train"), parts.count("validation"), parts.count("test")) == (48, 8, 16)


def test_relation_turned_round_same_composition_and_order_is_not() -> None:
    names = list(CONCEPTS)
    pairs = [(a, b) for a in names[:30] for b in names[:30] if a != b]
    assert all(relation_part("right of", a, b) == relation_part("left of", b, a) for a, b in pairs)
    assert all(relation_part("below", a, b) == relation_part("above", b, a) for a, b in pairs)
    assert any(relation_part("left of", a, b) != relation_part("left of", b, a) for a, b in pairs)
    for kind in RELATIONS:
        assert {relation_part(kind, a, names[70]) for a in names[:60]} == {"train", "validation", "test"}


def test_no_relation_of_another_part_is_visible() -> None:
    for part, objects in (("train", "1-2"), ("validation", "2"), ("test", "2")):
        config = SceneConfig(relation_compositions=part, relations=1, objects=objects)
        found = [relation_parts(compose(config, 0, index, part)) for index in range(200)]
        assert set().union(*found) == {part}
