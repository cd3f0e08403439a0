"""Items that evaluation asks about scenes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from counterpoint.data.items import (
    Associations,
    Choices,
    Items,
    MinimalPairs,
    ObjectAnnotations,
    Questions,
    Regions,
)
from counterpoint.data.synthetic.scenes.items.changes import EDITS
from counterpoint.data.synthetic.scenes.items.forms import (
    COUNTED,
    SceneMinimalPairs,
    SceneRegions,
    items_of,
)
from counterpoint.data.synthetic.scenes.layout.compositions import colour_parts
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.words.captions import short
from counterpoint.data.synthetic.scenes.words.referring import Attribute
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.registry import UnknownNameError

FORMS = (MinimalPairs, Choices, Associations, Regions, Questions, ObjectAnnotations)


@cache
def world(source: str = "scenes:basic,pixels=48,facings=left+right") -> Scenes:
    return Scenes.parse(source)


def rows(count: int, data: Scenes) -> np.ndarray:
    return data.splits.test["as trained"][:count]


def test_squares_are_a_scene_and_its_edit() -> None:
    data = world()
    squares = items_of(data, MinimalPairs, rows(20, data))
    assert isinstance(squares, SceneMinimalPairs)
    pictures = squares.pictures(np.arange(3))
    assert pictures.shape == (3, 2, 3, 48, 48)
    for k in range(3):
        change = squares.edits[k]
        assert torch.equal(pictures[k], draw([change.before, change.after], 48).pictures)
        assert not torch.equal(pictures[k, 0], pictures[k, 1])
        assert squares.captions[k][0] == short(change.before, exact=change.exact).text
        assert change.before == data.scene(int(rows(20, data)[k]))


@pytest.mark.parametrize("kind", EDITS)
def test_kinds_can_be_asked_for(kind: str) -> None:
    data = world()
    for form in (MinimalPairs, Choices):
        items = items_of(data, form, rows(25, data), [kind])
        assert set(items.kinds) == {kind}


def test_a_choice_is_between_a_scenes_caption_and_a_false_one() -> None:
    data = world()
    choices = items_of(data, Choices, rows(30, data))
    row = dict(zip(data.ids.tolist(), range(len(data)), strict=True))
    for identity, kind, options, answer in zip(
        choices.ids.tolist(), choices.kinds, choices.options, choices.answers, strict=True
    ):
        assert len(set(options)) == 2
        about: dict[str, tuple[Attribute, ...]] = {"size": ("size",), "facing": ("facing",)}
        exact = about.get(kind.split()[1], ())
        assert options[answer] == short(data.scene(row[identity]), exact=exact).text
    assert set(choices.answers.tolist()) == {0, 1}


def test_counting_choices_say_two_to_ten() -> None:
    data = world("scenes:counts,pixels=48")
    choices = items_of(data, Choices, rows(30, data))
    assert set(choices.kinds) == {"count"}
    row = dict(zip(data.ids.tolist(), range(len(data)), strict=True))
    for identity, options, answer in zip(choices.ids.tolist(), choices.options, choices.answers, strict=True):
        scene = data.scene(row[identity])
        assert len(options) == 9
        assert len(scene.things) == COUNTED[answer]
        assert options[answer] == short(scene).text
        assert [text.split()[0] for text in options][:2] == ["two", "three"]
    assert len(items_of(data, Choices, rows(30, data), ["replace colour"]).options[0]) == 2


def test_associations_are_of_things_that_differ() -> None:
    data = world("scenes:basic,pixels=48,tinted=1,objects=1-2,repeats=0,backgrounds=white")
    found = items_of(data, Associations, rows(40, data))
    beside = found.others >= 0
    assert beside.any()
    assert not beside.all()
    assert (found.answers != found.others).all()
    for k in range(len(found)):
        things, options = found.things[k], found.options[k]
        assert len(options) == 9
        assert options[found.answers[k]].endswith(things[0])
        assert (len(things) == 2) == beside[k]
        assert found.kinds[k] == ("colour, beside another" if beside[k] else "colour, alone")
    first = int(np.flatnonzero(beside)[0])  # the other one is asked about next, with both turned round
    assert found.things[first] == found.things[first + 1][::-1]
    assert found.answers[first] == found.others[first + 1]


def test_regions_are_all_pixels_of_what_a_phrase_names() -> None:
    data = world("scenes:basic,pixels=48,repeats=0.8,relations=0,objects=2-3")
    some = rows(12, data)
    regions = items_of(data, Regions, some, ["object", "look"])
    assert isinstance(regions, SceneRegions)
    masks = regions.masks(np.arange(len(regions)))
    drawn = {int(row): draw([data.scene(int(row))], 48).masks[0] for row in some}
    for k in range(len(regions)):
        row = int(regions.rows[k])
        concept = regions.looks[k].concept
        own = [i for i, thing in enumerate(data.scene(row)) if thing.concept == concept]
        assert np.array_equal(masks[k].numpy(), drawn[row][own].any(0))
        assert concept in regions.phrases[k]
    for row in np.unique(regions.rows):
        phrases = [regions.phrases[k] for k in np.flatnonzero(regions.rows == row).tolist()]
        assert len(set(phrases)) == len(phrases)
    assert set(items_of(data, Regions, some).kinds) == {"object"}


def test_questions_come_in_pairs_where_they_answered_yes_or_no() -> None:
    data = world()
    asked = items_of(data, Questions, rows(30, data), ["existence", "colour"])
    answers = [q.answer for q in asked.questions]
    assert answers.count("yes") == answers.count("no") == len(answers) // 2
    assert asked.pictures(np.array([0, 1])).shape == (2, 3, 48, 48)


def test_questions_of_row_are_about_picture_and_can_be_chosen() -> None:
    data = world()
    asked = data.items(Questions, rows(12, data), ["relation"])
    assert set(asked.kinds) == {"relation"}
    assert np.array_equal(asked.rows[::2], asked.rows[1::2])
    assert torch.equal(asked.pictures(np.array([0]))[0], data.images(asked.rows[:1])[0])


def test_contents_are_scene_shows_and_what_usually_goes_with_it() -> None:
    data = world("scenes:cooccurrence,pixels=48")
    some = data.splits.test["broken"][:20]
    contents = data.items(ObjectAnnotations, some)
    usual = dict(data.config(int(some[0])).pairs)
    usual |= {b: a for a, b in usual.items()}
    for row, present, partners in zip(some.tolist(), contents.present, contents.partners, strict=True):
        assert present == {thing.concept for thing in data.scene(row)}
        assert partners == {usual[concept] for concept in present if concept in usual} - present
    assert any(contents.partners)
    assert contents.forms["mouse"] == ("mouse", "mice")
    assert contents.forms["sheep"] == ("sheep", "ram", "rams")
    assert {"palm tree", "teddy bears"} <= {form for forms in contents.forms.values() for form in forms}
    assert {concept for present in contents.present for concept in present} <= {*contents.forms}


def test_squares_of_training_rows_show_nothing_that_is_held_out() -> None:
    data = world("scenes:compositions,pixels=48")
    for split, part in ((data.splits.train[:25], "train"), (data.splits.test["colours"][:25], "test")):
        squares = items_of(data, MinimalPairs, split)
        assert isinstance(squares, SceneMinimalPairs)
        assert all(colour_parts(change.after) <= {part} for change in squares.edits)


def test_bad_requests_are_explained() -> None:
    data = world()
    with pytest.raises(
        UnknownNameError, match="kind of minimal pairs 'swap color': did you mean 'swap colour'"
    ):
        items_of(data, MinimalPairs, rows(2, data), ["swap color"])
    with pytest.raises(UnknownNameError, match="kind of regions 'count'"):
        items_of(data, Regions, rows(2, data), ["count"])
    with pytest.raises(LookupError, match="has no items"):
        items_of(data, Items, rows(2, data))
    single = world("scenes:spurious,pixels=48")
    with pytest.raises(LookupError, match=r"none of 3 row.* has minimal pairs of kind swap object"):
        items_of(single, MinimalPairs, rows(3, single), ["swap object"])
