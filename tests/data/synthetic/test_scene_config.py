"""Every option does what it says, measured; and what cannot be is said before anything is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

import pytest
from scipy.stats import binom

from counterpoint.data.corruptions import CORRUPTIONS, STRENGTHS
from counterpoint.data.pictures.rendering import ARTISTS
from counterpoint.data.synthetic.scenes.config import ARTIST_NAMES, CORRUPTED, SIDES, SceneConfig, fitting
from counterpoint.data.synthetic.scenes.layout.compose import compose
from counterpoint.data.synthetic.scenes.scene import COLOURS, RELATIONS, SIZES, Scene

COUNT = 400


def scenes(**options: object) -> list[Scene]:
    config = SceneConfig().changed(options)
    return [compose(config, 0, index, "test") for index in range(COUNT)]


def likely(outcomes: Iterable[bool], probability: float) -> bool:
    """Return whether so many successes are within the central 1 − 10⁻⁶ of the binomial distribution."""
    found = list(outcomes)
    low, high = binom.interval(1 - 1e-6, len(found), probability)
    return bool(low <= sum(found) <= high)


def test_names_that_options_know_are_those_of_things_they_name() -> None:
    assert tuple(artist.name.lower() for artist in ARTISTS) == ARTIST_NAMES
    assert tuple(f"{kind}_{s + 1}" for kind in CORRUPTIONS for s in STRENGTHS) == CORRUPTED


def test_sizes_are_apart_and_fit_as_promised() -> None:
    spans = [SIDES[size] for size in SIZES]
    assert all(low <= high for low, high in spans)
    assert all(spans[k][1] < spans[k + 1][0] for k in range(2))
    assert fitting(SIZES, 1) == SIZES
    assert fitting(SIZES, 4) == SIZES
    assert fitting(SIZES, 5) == ("small", "medium")
    assert fitting(SIZES, 10) == ("small",)
    assert fitting(SIZES, 25) == ("small",)
    assert fitting(SIZES, 26) == ()


def test_every_number_of_things_is_as_likely() -> None:
    found = scenes(objects="2-4")
    assert {len(scene.things) for scene in found} == {2, 3, 4}
    for number in (2, 3, 4):
        assert likely((len(scene.things) == number for scene in found), 1 / 3)


def test_clutter_is_small_of_other_concepts_and_not_spoken_of() -> None:
    for scene in scenes(objects=2, clutter="1-3", relations=0):
        clutter = [thing for thing in scene if thing.clutter]
        assert len(scene.subjects) == 2
        assert 1 <= len(clutter) <= 3
        assert {thing.size for thing in clutter} == {"small"}
        assert len({thing.concept for thing in scene}) == len(scene.things)
        assert scene.things == (*scene.subjects, *clutter)


def test_counting_scenes_are_all_the_same() -> None:
    found = scenes(objects="0-10", same="true", tinted=0.5)
    for scene in found:
        assert len({(t.concept, t.colour, t.size, t.facing) for t in scene}) == min(len(scene.things), 1)
        assert not scene.relations
    assert likely((not scene.things for scene in found), 1 / 11)


def test_repeats_are_one_more_of_the_same() -> None:
    found = scenes(objects=2, repeats=0.3, relations=0)
    again = [len(scene.counts()) == 1 for scene in found]
    assert likely(again, 0.3)
    for scene in found:
        assert len({(t.concept, t.colour, t.size, t.facing) for t in scene}) == len(scene.counts())


def test_repeats_may_have_another_colour() -> None:
    found = scenes(objects=3, repeats=1, relations=0, colours="red+blue", tinted=1, recoloured=0.5)
    assert likely(((a.colour != b.colour) for a, b, _ in (scene.things for scene in found)), 0.5)
    assert {len({t.concept for t in scene}) for scene in found} == {1}
    whole = scenes(objects=3, repeats=1, relations=0, colours="red+blue+green", tinted=1, recoloured=1)
    assert {len({t.colour for t in scene}) for scene in whole} == {3}
    with pytest.raises(ValueError, match="recoloured"):
        SceneConfig(recoloured=1, spurious="colour")


def test_colours_and_their_probability() -> None:
    found = scenes(objects=1, tinted=0.7)
    assert likely((scene.things[0].colour is not None for scene in found), 0.7)
    for colour in COLOURS:
        assert likely((scene.things[0].colour == colour for scene in found), 0.7 / 9)
    assert {t.colour for scene in scenes(tinted=1, colours="red+blue") for t in scene} == {"red", "blue"}


def test_concepts_are_as_likely_or_follow_zipf() -> None:
    names = ("cat", "dog", "car", "key")
    even = scenes(objects=1, concepts="+".join(names))
    tailed = scenes(objects=1, concepts="+".join(names), tail=1)
    for rank, name in enumerate(names):
        assert likely((scene.things[0].concept == name for scene in even), 1 / 4)
        share = Fraction(1, rank + 1) / sum(Fraction(1, k + 1) for k in range(4))
        assert likely((scene.things[0].concept == name for scene in tailed), float(share))


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.9, 1.0])
def test_partner_is_as_likely_as_the_bias_says_given_the_concept(strength: float) -> None:
    pairs = (("cat", "dog"), ("car", "key"), ("hat", "bed"))
    free = ("pig", "bus", "box", "rose")
    concepts = (*(c for pair in pairs for c in pair), *free)
    found = scenes(objects="2-3", pairs=pairs, concepts=concepts, strength=strength, relations=0.5)
    for a, b in (*pairs, *(pair[::-1] for pair in pairs)):
        assert likely((b in scene.counts() for scene in found if a in scene.counts()), strength)
    for scene in found:
        assert sum(set(pair) & scene.counts().keys() != set() for pair in pairs) <= 1


@pytest.mark.parametrize("strength", [0.0, 0.8, 1.0])
def test_spurious_backgrounds_and_colours(strength: float) -> None:
    concepts, grounds = ("cat", "dog", "car", "key"), ("meadow", "beach", "snow")
    found = scenes(
        objects=1, concepts=concepts, spurious="background", strength=strength, backgrounds=grounds
    )
    own = dict(zip(concepts, (*grounds, "meadow"), strict=True))
    assert likely((scene.background == own[scene.things[0].concept] for scene in found), strength)
    rest = [scene for scene in found if scene.background != own[scene.things[0].concept]]
    assert likely((scene.background == "snow" for scene in rest if scene.things[0].concept == "cat"), 0.5)
    dyed = scenes(objects=1, concepts=concepts, spurious="colour", strength=strength, tinted=1)
    given = dict(zip(concepts, COLOURS, strict=False))
    assert likely((scene.things[0].colour == given[scene.things[0].concept] for scene in dyed), strength)


def test_the_background_of_a_mark_alone_is_any() -> None:
    found = scenes(
        objects=0,
        spurious="background",
        backgrounds="white+brick",
        marked=1,
        concepts="cat+dog",
        sizes="small",
    )
    assert all([thing.clutter for thing in scene] == [True] for scene in found)
    assert likely((scene.background == "brick" for scene in found), 0.5)


def test_relations_and_their_probability() -> None:
    found = scenes(objects="2-3", relations=0.6)
    assert likely((bool(scene.relations) for scene in found), 0.6)
    kinds = Counter(relation.kind for scene in found for relation in scene.relations)
    total = sum(kinds.values())
    for kind in RELATIONS:
        assert likely((k < kinds[kind] for k in range(total)), 1 / 6)
    assert {r.kind for s in scenes(objects=2, relations=1, relation_kinds="above") for r in s.relations} == {
        "above"
    }


def test_a_relation_that_cannot_be_is_left_out() -> None:
    flat = scenes(objects=2, relations=1, concepts="cat+dog+key")
    assert {r.kind for scene in flat for r in scene.relations} == set(RELATIONS) - {"inside"}
    assert not any(s.relations for s in scenes(objects=2, concepts="cat+dog", relation_kinds="inside"))


def test_facing_artists_backgrounds_and_corruptions() -> None:
    found = scenes(
        objects=1, artists="twemoji+openmoji", facings="left+right", backgrounds="white+brick", corrupted=0.4
    )
    assert likely((scene.things[0].artist == 1 for scene in found), 0.5)
    assert likely((scene.things[0].facing == "right" for scene in found), 0.5)
    assert likely((scene.background == "brick" for scene in found), 0.5)
    assert likely((scene.corruption is not None for scene in found), 0.4)
    assert {scene.corruption for scene in found} == {None, *CORRUPTED}
    assert all(
        len({thing.artist for thing in scene}) == 1 for scene in scenes(artists="twemoji+openmoji", objects=3)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objcts": 2}, "unknown key in sceneconfig 'objcts': did you mean 'objects'"),
        ({"colours": "rde"}, "options: unknown colours 'rde': did you mean 'red'"),
        ({"concepts": "cat+dgo"}, "did you mean 'dog'"),
        ({"backgrounds": "brik"}, "did you mean 'brick'"),
        ({"corruptions": "blur"}, "unknown corruptions 'blur': did you mean 'blur_"),
        ({"colours": "red+red"}, "none twice; got red, red"),
        ({"objects": "3-2"}, "objects goes from the fewest to the most, got 3-2"),
        ({"objects": 26}, "objects: must be at most 25, got 26"),
        ({"tinted": 1.2}, "tinted: must be at most 1, got 1.2"),
        ({"objects": "many"}, "objects: must be a whole number, got 'many'"),
        ({"same": "maybe"}, "same: must be true or false, got 'maybe'"),
        (
            {"objects": 20, "clutter": 6},
            r"26 things \(objects and clutter\) of size .* do not fit; at most 25 do",
        ),
        ({"objects": 5, "sizes": "large"}, "of size large do not fit; at most 4 do"),
        ({"objects": 3, "concepts": "cat+dog"}, "3 different things in a scene need as many concepts, got 2"),
        ({"pairs": "cat:dog"}, "pairs need scenes of two objects or more"),
        ({"pairs": "cat", "objects": 2}, "pairs: a pair is two concepts, as in cat:dog, got cat"),
        ({"pairs": "cat:dgo", "objects": 2}, "unknown concept in pairs 'dgo'"),
        ({"pairs": "cat:dog+dog:pig", "objects": 2}, "'dog' is in more than one place"),
        (
            {"pairs": "cat:dog", "concepts": "cat+dog+pig", "objects": 2},
            "pairs leave 1 concepts for the other",
        ),
        ({"pairs": "cat:dog", "objects": 2, "tail": 1}, "pairs need tail=0"),
        ({"pairs": "cat:box", "objects": 2}, "'box' is a container"),
        ({"spurious": "background"}, "needs at least two backgrounds, got white"),
        ({"spurious": "colour", "colour_compositions": "train"}, "both choose the colours"),
        ({"colour_compositions": "test", "colours": "red"}, "leaves no colour for"),
        ({"relation_compositions": "train"}, "needs relations=1"),
        ({"relation_compositions": "test", "relations": 1, "objects": "1-2"}, "=test needs objects=2"),
        (
            {"relation_compositions": "test", "relations": 1, "objects": 2, "pairs": "cat:dog"},
            "both choose the",
        ),
    ],
)
def test_what_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneConfig().changed(options)
