"""The truth about a scene."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from counterpoint.data.synthetic.scenes.config import SceneConfig
from counterpoint.data.synthetic.scenes.items.truth import looks_like, relations_of, true_of
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.pixels.palette import palette
from counterpoint.data.synthetic.scenes.scene import COLOURS, OPPOSITE, Relation, Scene, Thing
from counterpoint.data.synthetic.scenes.words.grammar import Appearance
from counterpoint.data.synthetic.scenes.words.referring import Attribute

CAT = Thing("cat", "red", "small", 160, 200, 500)
DOG = Thing("dog", "blue", "small", 160, 800, 500)


def scene(*things: Thing, relations: tuple[Relation, ...] = ()) -> Scene:
    return Scene(0, things, relations)


def test_a_scene_is_true_of_itself_however_its_things_are_listed() -> None:
    said = scene(CAT, DOG, relations=(Relation("left of", 0, 1),))
    assert true_of(said, said)
    assert true_of(said, scene(DOG, CAT))


@pytest.mark.parametrize(
    ("change", "exact", "expected"),
    [
        ({"concept": "pig"}, (), False),
        ({"colour": "green"}, (), False),
        ({"size": "large"}, (), False),
        ({"size": "medium"}, (), False),
        ({"facing": "right"}, (), True),
        ({"facing": "right"}, ("facing",), False),
        ({"x": 300, "side": 150, "artist": 1}, ("size", "facing"), True),
    ],
)
def test_a_thing_must_be_all_that_is_said_of_it(
    change: dict[str, Any], exact: tuple[Attribute, ...], expected: bool
) -> None:
    assert true_of(scene(CAT, DOG), scene(replace(CAT, **change), DOG), exact) is expected


def test_a_medium_size_is_said_only_if_exact() -> None:
    medium, large = replace(CAT, size="medium"), replace(CAT, size="large")
    assert true_of(scene(medium), scene(large))
    exact: tuple[Attribute, ...] = ("size",)
    assert not true_of(scene(medium), scene(large), exact)


def test_is_not_spoken_of_may_be_there_but_not_more_of_what_is() -> None:
    assert true_of(scene(CAT), scene(CAT, DOG))
    assert not true_of(scene(CAT, DOG), scene(CAT))
    other = replace(CAT, x=500)
    assert not true_of(scene(CAT), scene(CAT, other))
    assert not true_of(scene(CAT, other), scene(CAT))


def test_two_things_said_are_two_things_shown() -> None:
    plain = replace(CAT, colour=None)
    # "a cat and a red cat" is about two red cats too, but "a red cat" twice is not about one.
    assert true_of(scene(plain, CAT), scene(CAT, CAT))
    assert not true_of(scene(CAT, CAT), scene(CAT, replace(CAT, colour="blue")))
    # The plain one may be either of them; the red one must be left for the other.
    assert true_of(scene(plain, CAT), scene(CAT, replace(CAT, colour="blue")))
    assert true_of(scene(plain, CAT), scene(replace(CAT, colour="blue"), CAT))


def test_ten_alike_are_matched_at_once() -> None:
    cats = tuple(replace(CAT, colour=COLOURS[i % 9]) for i in range(9))
    assert true_of(scene(*cats, CAT), scene(*cats[::-1], CAT))
    assert not true_of(scene(*cats, CAT), scene(*cats, replace(CAT, colour="blue")))


def test_clutter_is_not_spoken_of_but_is_there() -> None:
    clutter = replace(DOG, clutter=True)
    assert true_of(scene(CAT, clutter), scene(CAT))
    assert not true_of(scene(CAT, replace(CAT, x=500)), scene(CAT, clutter))


def test_relations_must_hold_of_the_things_spoken_of() -> None:
    for kind in OPPOSITE:
        said = scene(CAT, DOG, relations=(Relation(kind, 0, 1),))
        assert true_of(said, scene(CAT, DOG)) is (kind == "left of")
    # Of two cats, the blue one is right of the dog.
    blue, dog = replace(CAT, colour="blue", x=800), replace(DOG, x=500)
    shown = scene(CAT, dog, blue)
    assert true_of(scene(blue, dog, CAT, relations=(Relation("right of", 0, 1),)), shown)
    assert not true_of(scene(CAT, dog, blue, relations=(Relation("right of", 0, 1),)), shown)


def test_behind_depends_on_depth() -> None:
    front, back = replace(DOG, x=300), CAT
    said = scene(back, front, relations=(Relation("behind", 0, 1),))
    assert true_of(said, scene(back, front))
    assert not true_of(said, scene(front, back))


def test_an_undyed_thing_may_have_a_colour_of_its_own() -> None:
    rose = Thing("rose", None, "small", 160, 500, 500)
    assert looks_like(Appearance("rose", colour="red"), rose)
    assert not looks_like(Appearance("rose", colour="blue"), rose)
    assert not looks_like(Appearance("rose", colour="red"), replace(rose, colour="blue"))
    assert not looks_like(Appearance("tulip"), rose)
    assert palette("sheep") == frozenset()


def test_every_composed_scene_true_of_itself_and_shows_relations() -> None:
    config = SceneConfig(objects=(1, 5), repeats=0.4, clutter=(0, 2), facings=("left", "right"))
    for index in range(30):
        composed = compose(config, 0, index)
        assert true_of(composed, composed, ("size", "facing"))
        visible = relations_of(composed)
        assert all(r.kind in visible[r.subject, r.object] for r in composed.relations)
