"""Minimal pairs: one thing changes, and captions say so."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.scenes.concepts import CONCEPTS, FACED
from counterpoint.data.synthetic.scenes.config import SIDES, SceneConfig
from counterpoint.data.synthetic.scenes.items.changes import EDITS, recount
from counterpoint.data.synthetic.scenes.items.edits import ADDING, Edit, edit, is_minimal
from counterpoint.data.synthetic.scenes.items.patterns import PATTERNS
from counterpoint.data.synthetic.scenes.items.truth import relations_of, true_of
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.layout.compositions import (
    colour_part,
    colour_parts,
    relation_parts,
)
from counterpoint.data.synthetic.scenes.scene import UNIT, Relation, Scene, Thing
from counterpoint.data.synthetic.scenes.words.captions import short
from counterpoint.registry import UnknownNameError


def configured(**values: Any) -> SceneConfig:
    """SceneConfig as they are written on a command line."""
    return SceneConfig(**values)


RICH = configured(
    objects="1-4", repeats=0.3, clutter="0-1", facings="left+right", backgrounds=("white", "grey")
)
COUNTS = configured(objects="1-10", same=True, sizes="small")


@cache
def edits(config: SceneConfig = RICH, count: int = 20, kinds: tuple[str, ...] = EDITS) -> list[Edit]:
    scenes = [compose(config, 3, index) for index in range(count)]
    tried = [edit(kind, scene, Rng(3, scene.index, kind), config) for scene in scenes for kind in kinds]
    return [found for found in tried if found]


def differing(change: Edit) -> set[str]:
    """The fields in which things that stay differ."""
    old, new = change.things
    assert len(old) == len(new)
    return {
        field
        for i, j in zip(old, new, strict=True)
        for field in Thing.__dataclass_fields__
        if getattr(change.before.things[i], field) != getattr(change.after.things[j], field)
    }


FIELDS = {
    "replace object": {"concept"},
    "replace colour": {"colour"},
    "replace size": {"size", "side"},
    "replace relation": {"x", "y"},
    "replace facing": {"facing"},
    "swap object": {"concept"},
    "swap colour": {"colour"},
    "swap size": {"size", "side"},
    "add colour": {"colour"},
}


def test_exactly_one_thing_changes() -> None:
    seen = set()
    for change in edits():
        seen.add(change.kind)
        before, after = change.before, change.after
        old, new = change.things
        assert (before.index, before.background) == (after.index, after.background)
        stay = [thing for i, thing in enumerate(before) if i not in old]
        assert stay == [thing for j, thing in enumerate(after) if j not in new]
        assert len(before.relations) == len(after.relations)
        if change.kind in FIELDS:
            assert differing(change) <= FIELDS[change.kind]
            assert differing(change)
    assert seen == set(EDITS)


def test_neither_caption_is_true_of_the_other_scene() -> None:
    for change in edits():
        said = change.exact
        assert true_of(change.before, change.before, said)
        assert true_of(change.after, change.after, said)
        assert not true_of(change.after, change.before, said)
        assert true_of(change.before, change.after, said) is (change.kind in ADDING)
        before, after = change.captions()
        assert before.text != after.text


def test_an_edited_scene_is_sound_and_other_relations_stay() -> None:
    for change in edits():
        after = change.after
        for thing in after:
            low, high = SIDES[thing.size]
            assert low <= thing.side <= high
            assert min(thing.box) >= 0
            assert max(thing.box) <= UNIT
        visible = relations_of(after)
        for relation in after.relations:
            assert relation.kind in visible[relation.subject, relation.object]
            if relation.kind == "inside":
                assert CONCEPTS[after.things[relation.object].concept].kind == "container"
        if change.kind not in ("replace relation", "replace count", "add object"):
            assert visible == relations_of(change.before)
        if change.kind == "replace relation":
            kinds = [r.kind for r in change.before.relations], [r.kind for r in after.relations]
            assert sum(a != b for a, b in zip(*kinds, strict=True)) == 1


def test_what_is_new_hides_nothing() -> None:
    for change in (c for c in edits() if c.kind in ("replace count", "add object")):
        for j in change.things[1]:
            if j < len(change.before.things):
                continue
            left, top, right, bottom = change.after.things[j].box
            for i, other in enumerate(change.after):
                if i != j:
                    left_, top_, right_, bottom_ = other.box
                    assert right <= left_ or right_ <= left or bottom <= top_ or bottom_ <= top


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
@pytest.mark.parametrize("drawn", [False, True])
def test_without_the_changed_spans_captions_are_the_same(language: str, drawn: bool) -> None:
    for number, change in enumerate(edits(count=6)):
        draws = Rng(0, number) if drawn else None
        captions, spans = change.captions(language, draws), change.spans(language, draws)
        rests = []
        for caption, own in zip(captions, spans, strict=True):
            rest = caption.text
            for start, end in reversed(own):
                assert 0 <= start < end <= len(rest)
                rest = rest[:start] + rest[end:]
            rests.append(re.findall(r"\w+|[^\w\s]", rest))
        assert rests[0] == rests[1]
        assert spans[1] or spans[0]


def test_changed_spans_lie_where_changed_things_are_spoken_of() -> None:
    for change in (c for c in edits() if c.kind in FIELDS):
        for caption, own, things in zip(change.captions(), change.spans(), change.things, strict=True):
            for start, end in own:
                around = [m for m in caption.mentions if m.start < end and start < m.end]
                assert any(set(m.things) & set(things) for m in around)


def test_boxes_are_those_of_what_differs() -> None:
    cat, dog = Thing("cat", "red", "small", 160, 200, 500), Thing("dog", "blue", "large", 400, 700, 500)
    change = edit("replace colour", Scene(0, (cat, dog)), Rng(0, 0))
    assert change is not None
    (place,), _ = change.things
    assert change.boxes == (((cat, dog)[place].box,), ((cat, dog)[place].box,))
    new = edit("add object", Scene(0, (cat,)), Rng(0, 0))
    assert new is not None
    assert new.boxes == ((), (new.after.things[1].box,))


def test_the_kinds_by_hand() -> None:
    cat, dog = Thing("cat", "red", "small", 160, 200, 500), Thing("dog", "blue", "large", 400, 700, 500)
    scene = Scene(0, (cat, dog), (Relation("left of", 0, 1),))
    said = {
        kind: found.captions()[1].text
        for kind in ("swap object", "swap colour", "swap size")
        if (found := edit(kind, scene, Rng(0, 0)))
    }
    assert said == {
        "swap object": "a small red dog to the left of a large blue cat",
        "swap colour": "a small blue cat to the left of a large red dog",
        "swap size": "a large red cat to the left of a small blue dog",
    }
    about = edit("replace facing", scene, Rng(0, 0), configured(facings="left+right"))
    assert about is not None
    assert about.spans()[0] != ()
    assert {about.captions()[1].text.count(f"facing {way}") for way in ("left", "right")} == {1}
    moved = edit("replace relation", scene, Rng(0, 0))
    assert moved is not None
    assert moved.after.things[1] == dog
    assert (moved.after.things[0].x, moved.after.things[0].y) != (cat.x, cat.y)


def test_counts_change_alone() -> None:
    seen = set()
    for change in edits(COUNTS, 16, ("replace count",)):
        before, after = len(change.before.things), len(change.after.things)
        assert before != after
        assert 1 <= after <= 10
        assert change.before.counts().keys() == change.after.counts().keys()
        assert len(change.things[1]) == after
        seen.add(after)
    assert len(seen) > 4


def test_counts_change_of_group_said_where_there_two_of_concept() -> None:
    scene = Scene(
        0,
        tuple(
            Thing("cat", colour, "small", 160, 100 + 200 * k, y)
            for colour, y, count in (("red", 100, 2), ("blue", 700, 3))
            for k in range(count)
        ),
    )
    changed = [
        change
        for seed in range(12)
        if (change := edit("replace count", scene, Rng(0, seed), configured(objects="2-6", repeats=0.5)))
    ]
    colours = [
        {
            side.things[index].colour
            for side, places in zip(both, change.things, strict=True)
            for index in places
        }
        for change in changed
        for both in [(change.before, change.after)]
    ]
    assert colours.count({"red"}) + colours.count({"blue"}) == len(changed)
    assert {"red"} in colours
    assert {"blue"} in colours


def test_recount_for_words_needs_no_room() -> None:
    cat, dog = Thing("cat", None, "small", 160, 200, 500), Thing("dog", None, "small", 160, 700, 500)
    scene = Scene(0, (cat, cat, dog, dog), (Relation("left of", 0, 2),))
    assert recount(scene, (2, 3), 1) == Scene(0, (cat, cat, dog), (Relation("left of", 0, 2),))
    assert recount(scene, (0, 1), 1).relations == (Relation("left of", 0, 1),)
    assert short(recount(Scene(0, (cat, dog)), (0,), 10)).text == "ten small cats and a small dog"


def test_what_cannot_change_gives_nothing() -> None:
    cat = Thing("cat", None, "medium", 280, 500, 500)
    for kind in ("swap object", "swap colour", "swap size", "replace colour", "replace relation"):
        assert edit(kind, Scene(0, (cat,)), Rng(0, 0)) is None
    for kind in EDITS:
        assert edit(kind, Scene(0, ()), Rng(0, 0)) is None
    # Two that look the same: the other way round is the same picture in words.
    dog = Thing("dog", None, "medium", 280, 180, 180)
    assert edit("swap object", Scene(0, (cat, dog)), Rng(0, 0)) is None
    # Nobody sees which way a ball faces, and where all face left nothing can be turned.
    ball = Thing("ball", None, "medium", 280, 500, 500)
    assert "ball" not in FACED
    assert edit("replace facing", Scene(0, (ball,)), Rng(0, 0), configured(facings="left+right")) is None
    assert edit("replace facing", Scene(0, (cat,)), Rng(0, 0), configured()) is None


def test_clutter_is_never_what_changes() -> None:
    config = configured(objects=1, clutter="2-3")
    for change in edits(config, 8):
        assert not any(change.before.things[i].clutter for i in change.things[0])
        assert not any(change.after.things[j].clutter for j in change.things[1])


def test_colour_that_an_undyed_thing_may_have_is_not_made_false() -> None:
    rose = Thing("rose", None, "small", 160, 500, 500)
    colours = {
        found.after.things[0].colour
        for index in range(40)
        if (found := edit("add colour", Scene(0, (rose,)), Rng(0, index)))
    }
    assert colours == {"orange", "yellow", "blue", "purple", "pink", "brown", "grey"}


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_an_edit_never_shows_a_composition_of_another_part(part: str) -> None:
    config = configured(objects="1-3", tinted=0.8, colour_compositions=part)
    found = edits(config, 15)
    assert all(colour_parts(change.after) <= {part} for change in found)
    assert {"replace object", "replace size", "add object"} <= {change.kind for change in found}
    config = configured(objects=2, relations=1.0, relation_compositions=part)
    found = edits(config, 15)
    assert all(relation_parts(change.after) <= {part} for change in found)
    assert {"replace object", "replace colour"} <= {change.kind for change in found}


def test_training_would_leak_without_that_rule() -> None:
    cat = Thing(
        "cat",
        next(c for c in ("red", "blue", "green") if colour_part("cat", c) == "train"),
        "small",
        160,
        500,
        500,
    )
    free = {
        colour_part("cat", found.after.things[0].colour)
        for index in range(40)
        if (found := edit("replace colour", Scene(0, (cat,)), Rng(0, index))) and found.after.things[0].colour
    }
    assert free == {"train", "validation", "test"}


def test_an_edit_keeps_to_the_configuration() -> None:
    config = configured(
        concepts=("cat", "dog", "pig", "key", "box"),
        colours=("red", "blue"),
        sizes=("small", "large"),
        relation_kinds=("left of", "right of"),
        objects="1-3",
        tinted=1.0,
    )
    for change in edits(config, 15):
        for thing in change.after:
            assert thing.concept in config.concepts
            assert thing.colour in config.colours
            assert thing.size in config.sizes
            assert thing.facing == "left"
        assert all(r.kind in config.relation_kinds for r in change.after.relations)
        assert 1 <= len(change.after.things) <= 3


@settings(max_examples=30)
@given(seed=st.integers(0, 2**63), index=st.integers(0, 2**40), kind=st.sampled_from(EDITS))
def test_edits_are_minimal_and_repeatable(seed: int, index: int, kind: str) -> None:
    scene = compose(RICH, seed, index)
    found = edit(kind, scene, Rng(seed, index), RICH)
    assert found == edit(kind, scene, Rng(seed, index), RICH)
    assert found is None or is_minimal(found)


def test_edits_are_pinned() -> None:
    cat, dog = Thing("cat", "red", "small", 160, 200, 500), Thing("dog", None, "large", 400, 700, 500)
    scene = Scene(0, (cat, dog), (Relation("left of", 0, 1),))
    config = configured(objects="1-3", facings="left+right")
    made = {kind: edit(kind, scene, Rng(0, 0), config) for kind in EDITS}
    assert {kind: new_things(change) for kind, change in made.items() if change} == PINNED


def new_things(change: Edit) -> list[tuple[object, ...]]:
    things = [change.after.things[j] for j in change.things[1]]
    return [(t.concept, t.colour, t.size, t.side, t.x, t.y, t.facing) for t in things]


PINNED: dict[str, list[tuple[object, ...]]] = {
    "replace object": [("fish", "red", "small", 160, 200, 500, "left")],
    "replace colour": [("cat", "yellow", "small", 160, 200, 500, "left")],
    "replace size": [("cat", "red", "medium", 280, 200, 500, "left")],
    "replace relation": [("cat", "red", "small", 160, 599, 136, "left")],
    "replace facing": [("cat", "red", "small", 160, 200, 500, "right")],
    "swap object": [
        ("cat", None, "large", 400, 700, 500, "left"),
        ("dog", "red", "small", 160, 200, 500, "left"),
    ],
    "swap colour": [
        ("dog", "red", "large", 400, 700, 500, "left"),
        ("cat", None, "small", 160, 200, 500, "left"),
    ],
    "swap size": [
        ("dog", None, "small", 160, 700, 500, "left"),
        ("cat", "red", "large", 400, 200, 500, "left"),
    ],
    "add object": [("duck", "grey", "small", 160, 651, 103, "left")],
    "add colour": [("dog", "pink", "large", 400, 700, 500, "left")],
}


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UnknownNameError, match="kind of edit 'replace color': did you mean 'replace colour'"):
        edit("replace color", Scene(0, ()), Rng(0, 0))


def test_mmvps_patterns_are_nine_and_use_every_edit_but_one() -> None:
    assert len(PATTERNS) == 9
    assert sorted(kind for kinds in PATTERNS.values() for kind in kinds) == sorted(
        kind for kind in EDITS if kind != "replace object"
    )
