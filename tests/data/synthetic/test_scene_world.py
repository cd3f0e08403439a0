"""``scenes`` as a data set: rows, labels, noise and what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom

from counterpoint.data.loading.loader import Loader
from counterpoint.data.loading.order import ShuffledOrder
from counterpoint.data.source import load
from counterpoint.data.synthetic.scenes.words import captions
from counterpoint.data.synthetic.scenes.words.lexicon import lexicon
from counterpoint.data.synthetic.scenes.world import GREY, Scenes
from counterpoint.networks.towers.parts.pixels import Square
from counterpoint.networks.towers.tokenizer import BytePairTokenizer
from counterpoint.recipes.schema import Augmentation
from counterpoint.types import View


def likely(outcomes: Iterable[bool], probability: float) -> bool:
    found = list(outcomes)
    low, high = binom.interval(1 - 1e-6, len(found), probability)
    return bool(low <= sum(found) <= high)


@pytest.fixture(scope="module")
def world() -> Scenes:
    return Scenes.parse("scenes:basic,train=150,validation=20,test=30")


def test_a_preset_that_was_changed_in_python_is_another_world(world: Scenes) -> None:
    same = Scenes(world.preset, world.name)
    fewer = world.preset.config.changed({"objects": "1-2"}, "here")
    other = Scenes(replace(world.preset, config=fewer), world.name)
    assert same.made_of() == world.made_of()
    assert other.fingerprint.parts != world.fingerprint.parts


def test_splits_share_no_scene(world: Scenes) -> None:
    things = [world.scene(row).things for row in range(len(world))]
    assert len({str(t) for t in things}) == len(things)


def test_captions_say_plainly_what_there_is_in_each_language() -> None:
    world = Scenes.parse("scenes:basic,train=20,languages=de+en")
    for row in range(20):
        scene = world.scene(row)
        assert world.captions(row) == [captions.short(scene, "de").text, captions.short(scene, "en").text]
        assert world.evaluation_captions(row) == world.captions(row)[:1]
        assert list(world.training_captions(row))[:2] == world.captions(row)


def test_labels_are_what_the_scenes_are(world: Scenes) -> None:
    labels = world.classes
    assert set(labels) == {"concept", "group", "count", "colour", "background"}
    for row in range(len(world)):
        things = world.scene(row).things
        said = {name: one.names[v] if (v := one.values[row]) >= 0 else None for name, one in labels.items()}
        assert said["count"] == ("one thing", "two things", "three things")[len(things) - 1]
        assert (said["concept"] is not None) == (len({t.concept for t in things}) == 1)
        if said["concept"] is not None:
            assert said["concept"] in {f"a {things[0].concept}", f"an {things[0].concept}"}
        colours = {t.colour for t in things}
        assert said["colour"] == (colours.pop() if len(colours) == 1 else None)
        assert world.subsets[row] == said["count"]
    assert "background" not in Scenes.parse("scenes:tiny,train=50").labels


def test_label_noise_gives_captions_of_another_scene_in_training() -> None:
    world = Scenes.parse("scenes:noisy,label_noise=0.3,train=500,test=50,validation=10")
    wrong = [world.captioned(row) != world.scene(row) for row in range(250)]
    assert likely(wrong, 0.3)
    assert not any(world.captioned(int(row)) != world.scene(int(row)) for row in world.splits.test["clean"])
    row = wrong.index(True)
    assert world.captions(row) == [captions.short(world.captioned(row)).text]
    assert world.training_captions(row)[0] == world.captions(row)[0]


def test_labels_that_are_no_classes_are_what_the_scenes_are(world: Scenes) -> None:
    labels = {name: label for name, label in world.labels.items() if name not in world.classes}
    assert {name: label.kind for name, label in labels.items()} == {
        "concepts": "tags",
        "number": "numbers",
        "size": "numbers",
        "click": "points",
    }
    for row in range(len(world)):
        things = world.scene(row).subjects
        tags = dict(zip(labels["concepts"].names, labels["concepts"].values[row].tolist(), strict=True))
        assert {name for name, applies in tags.items() if applies} == {thing.concept for thing in things}
        assert labels["number"].values[row] == len(things)
        assert labels["size"].values[row] == pytest.approx(np.mean([thing.side for thing in things]) / 1000)
        assert labels["click"].values[row].tolist() == [things[0].x / 1000, things[0].y / 1000]


def test_clicks_are_as_far_off_as_said_and_missing_as_often() -> None:
    world = Scenes.parse("scenes:clutter,train=600,click_noise=0.05,missing_clicks=0.25")
    click = world.labels["click"]
    assert likely((~click.known[:600]).tolist(), 0.25)
    rows = np.flatnonzero(click.known)
    firsts = [world.scene(row).things[0] for row in rows.tolist()]
    centres = np.array([(thing.x, thing.y) for thing in firsts]) / 1000
    off = click.values[rows] - centres
    assert np.abs(off.mean(axis=0)).max() < 0.01
    assert off.std(axis=0) == pytest.approx(0.05, rel=0.15)


def test_half_of_the_scenes_carry_a_mark_that_captions_leave_out() -> None:
    world = Scenes.parse("scenes:marked,train=300,validation=8,test=8")
    marked, mark = world.classes["marked"], world.classes["mark"]
    assert likely((marked.values[:300] == 1).tolist(), 0.5)
    assert (marked.templates, mark.templates) == ((), ())  # no task asks about them unless they are named
    for row in range(40):
        extra = [thing for thing in world.scene(row).things if thing.clutter]
        assert [thing.concept for thing in extra] == [
            mark.names[k] for k in mark.values[row : row + 1] if k >= 0
        ]
        assert len(extra) == marked.values[row]
        assert not any(f" {thing.concept}" in world.captions(row)[0] for thing in extra)
    all_marked = Scenes.parse("scenes:marked,marked=1,marks=key,train=30,validation=4,test=4")
    assert not {"marked", "mark"} & all_marked.labels.keys()  # which tell no rows apart
    with pytest.raises(ValueError, match="marks and concepts both have key"):
        Scenes.parse("scenes:basic,marked=0.5,marks=key")


def test_captions_may_speak_of_one_thing_of_several() -> None:
    all_told, some, one = (
        Scenes.parse(f"scenes:associated,one_told={share},train=200,validation=4,test=40")
        for share in (0, 0.5, 1)
    )
    rows = [row for row in map(int, one.splits.train) if len(one.scene(row).things) > 1]
    for row in rows:
        scene, caption = one.scene(row), one.captions(row)[0]
        assert scene == all_told.scene(row)
        assert caption in {captions.phrase(thing) for thing in scene.things}
        assert caption != all_told.captions(row)[0]
        assert some.captions(row)[0] in {caption, all_told.captions(row)[0]}
    assert likely((some.captions(row) == one.captions(row) for row in rows), 0.5)
    # Test scenes tell all, and show what is typical.
    for row in map(int, one.splits.test["typical"]):
        assert one.captions(row)[0] == captions.short(one.scene(row)).text


def test_one_thing_that_is_told_is_none_of_the_clutter() -> None:
    world = Scenes.parse("scenes:basic,objects=0-2,clutter=1-2,sizes=small,one_told=1,train=60,test=4")
    counts = [len(world.scene(row).subjects) for row in range(60)]
    assert {*counts} == {0, 1, 2}
    for row in np.flatnonzero(counts).tolist():
        assert world.captions(row)[0] in {captions.phrase(thing) for thing in world.scene(row).subjects}


@pytest.mark.parametrize("unsaid", ["colour", "size", "colour+size"])
def test_captions_may_leave_out_what_pictures_show(unsaid: str) -> None:
    sizes = "tiny,objects=1,tinted=1,sizes=small+large,train=30,validation=4,test=10"
    silent, said = (Scenes.parse(f"scenes:{sizes}{option}") for option in (f",unsaid={unsaid}", ""))
    for row in range(len(said)):
        (thing,) = said.scene(row).things
        assert silent.scene(row) == said.scene(row)
        words = {"colour": str(thing.colour), "size": str(thing.size)}
        for captions_of in (Scenes.captions, Scenes.training_captions):
            for name, word in words.items():
                assert (word in captions_of(silent, row)[0].split()) == (name not in unsaid)
                assert word in captions_of(said, row)[0].split()


def test_captions_are_retold_and_may_name_what_is_not_there() -> None:
    plain, true, false = (
        Scenes.parse(f"scenes:basic,train=60,validation=4,test=4{options}")
        for options in ("", ",retold=3", ",retold=3,hallucinated=1")
    )
    for row in range(60):
        first, *told = true.training_captions(row)
        _, *wrong = false.training_captions(row)
        assert [first] == list(true.captions(row)) == list(plain.captions(row))
        assert (len(told), len(wrong)) == (3, 3)
        shown = {noun(thing.concept) for thing in true.scene(row).things}
        for one, other in zip(told, wrong, strict=True):
            sentences = other.split(". ")
            assert sentences[0] == one.split(". ")[0]
            assert len(sentences) == len(one.split(". "))
            assert all(not any(f" {word} " in f" {each} " for word in shown) for each in sentences[1:])


def test_is_retold_is_picture_shows_where_caption_is_of_another() -> None:
    noisy = Scenes.parse("scenes:noisy,label_noise=0.5,retold=1,objects=1,train=60,validation=4,test=4")
    wrong = [row for row in range(60) if noisy.captioned(row) != noisy.scene(row)]
    assert wrong
    for row in wrong:
        raw, told = noisy.training_captions(row)
        (shown,), (said,) = noisy.scene(row).things, noisy.captioned(row).things
        assert noun(said.concept) in raw
        assert noun(shown.concept) in told.partition(". ")[0]


def noun(concept: str) -> str:
    return lexicon("en").nouns[concept].singular


def test_missing_pictures_captions_and_labels() -> None:
    world = Scenes.parse("scenes:missing,train=250,test=20,validation=5,objects=1")
    lost = [(world.lacks("image", row), world.lacks("text", row)) for row in range(250)]
    assert likely((picture for picture, _ in lost), 0.2)
    assert likely((caption for _, caption in lost), 0.3)
    pictures = world.images(np.arange(250))
    for row, (picture, caption) in enumerate(lost):
        assert bool((pictures[row] == GREY).all()) == picture
        assert (list(world.captions(row)) == [""]) == caption
        assert (list(world.training_captions(row)) == [""]) == caption
    assert likely((world.labels["concept"].values[:250] == -1).tolist(), 0.5)
    test = world.splits.test["whole"]
    assert all(world.captions(int(row))[0] for row in test)
    assert (world.labels["concept"].values[test] >= 0).all()


def test_a_batch_with_missing_captions_and_pictures_is_a_batch() -> None:
    world = Scenes.parse("scenes:missing,train=64,test=5,validation=5")
    said = [caption for row in range(64) for caption in world.training_captions(row)]
    loader = Loader(
        world,
        ShuffledOrder(world.splits.train, 64, 0),
        {"image": View("image", "weak"), "text": View("text", "weak")},
        augmentation=Augmentation(synonyms=False),
        inputs={"image": Square(32), "text": BytePairTokenizer.train(said, vocabulary=300)},
    )
    batch = loader.batch(0)
    assert batch.views["image"].shape[0] == batch.views["text"].shape[0] == 64


def test_shifts_change_artist_or_the_background_and_nothing_else(world: Scenes) -> None:
    rows = np.arange(6)
    shifts = world.shifts()
    assert set(shifts) == {"artist", "background"}
    drawing = world.draw(rows)
    other = shifts["background"](rows)
    for place in range(6):
        seen = drawing.masks[place].any(0)
        same = (other[place] == drawing.pictures[place]).all(0).numpy()
        assert same[seen].mean() > 0.7  # but for soft edges
        assert not same[~seen].all()
    assert not torch.equal(shifts["artist"](rows), drawing.pictures)


def test_attribution_names_the_artists_that_are_shown(world: Scenes) -> None:
    assert "Twemoji" in world.attribution
    assert "OpenMoji" not in world.attribution
    both = Scenes.parse("scenes:artist,train=10,test=10").attribution
    assert "Twitter" in both
    assert "OpenMoji" in both


def test_larger_views_are_cut_from_larger_pictures() -> None:
    assert load("scenes:basic", 48).images(np.array([0])).shape[-1] == 96
    assert load("scenes:basic", 96).images(np.array([0])).shape[-1] == 128
    assert load("scenes:basic,pixels=40", 96).images(np.array([0])).shape[-1] == 40


def test_it_is_shown(world: Scenes, tmp_path: Path) -> None:
    assert world.show(tmp_path / "sheet.png").stat().st_size > 10_000
