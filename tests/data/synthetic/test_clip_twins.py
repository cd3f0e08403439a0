"""Clips beside clips that differ in one thing, and clips that break their captions."""

from __future__ import annotations

from functools import cache

import pytest

from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.clips.clip import Clip, Event
from counterpoint.data.synthetic.clips.compose import apart, compose_clip, swept
from counterpoint.data.synthetic.clips.config import ClipConfig
from counterpoint.data.synthetic.clips.truth import faithful, true_of
from counterpoint.data.synthetic.clips.words.captions import caption
from counterpoint.data.synthetic.clips.words.contrasts import CONTRASTS, REVERSED, contrast
from counterpoint.data.synthetic.clips.words.hallucinations import HALLUCINATIONS, hallucinate
from counterpoint.data.synthetic.scenes.scene import OPPOSITE, UNIT, Scene, Thing
from counterpoint.registry import UnknownNameError

CONFIG = ClipConfig()


@cache
def clips() -> list[Clip]:
    return [compose_clip(CONFIG, 5, index) for index in range(30)]


@cache
def contrasts(kind: str) -> list[tuple[Clip, Clip]]:
    made = [(clip, contrast(kind, clip, Rng(5, clip.scene.index, kind))) for clip in clips()]
    found = [(clip, other) for clip, other in made if other]
    assert len(found) > 2, kind
    return found


@pytest.mark.parametrize("kind", CONTRASTS)
def test_a_contrast_is_false_of_the_clip_and_possible(kind: str) -> None:
    for clip, other in contrasts(kind):
        assert not true_of(other, clip)
        assert true_of(clip, other) == (kind == "hallucination")
        assert faithful(other, other)
        assert caption(clip) != caption(other)
        boxes = [swept(other, place) for place in range(len(other.scene.things))]
        assert all(min(box) >= 0 and max(box) <= UNIT for box in boxes)
        assert all(apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i])


def fields(clip: Clip, other: Clip) -> set[str]:
    """Return the fields in which the things of two clips differ; both clips have as many things."""
    return {
        field
        for a, b in zip(clip.scene, other.scene, strict=True)
        for field in Thing.__dataclass_fields__
        if getattr(a, field) != getattr(b, field)
    }


def test_contrasts_differ_in_one_thing() -> None:
    for clip, other in contrasts("object"):
        assert fields(clip, other) == {"concept"}
        assert clip.events == other.events
    for clip, other in contrasts("attribute"):
        assert fields(clip, other) == {"colour"}
        assert clip.events == other.events
    for clip, other in contrasts("flip"):
        assert clip.scene == other.scene
        assert sorted(caption(clip).replace(",", "").split()) == sorted(
            caption(other).replace(",", "").split()
        )
    for clip, other in contrasts("relation"):
        assert clip.events == other.events
        assert fields(clip, other) <= {"x", "y"}
        (one,), (turned,) = clip.scene.relations, other.scene.relations
        assert turned.kind == OPPOSITE[one.kind]
    for clip, other in contrasts("counting"):
        assert len(clip.events) == len(other.events)
        assert {t.concept for t in clip.scene} == {t.concept for t in other.scene}
        assert len(clip.scene.things) != len(other.scene.things)


def test_an_action_turned_round_sweeps_over_the_same_place() -> None:
    for clip, other in contrasts("action"):
        (k,) = [k for k, (a, b) in enumerate(zip(clip.events, other.events, strict=True)) if a != b]
        one, turned = clip.events[k], other.events[k]
        assert turned.action == REVERSED[one.action]
        assert (turned.start, turned.end, turned.by) == (one.start, one.end, one.by)
        assert swept(clip, one.thing) == swept(other, one.thing)
        assert contrast("action", other, Rng(0, 0)) is not None


def test_counts_of_contrasts_are_as_likely_as_those_of_clips() -> None:
    """Check that counts do not give contrasts away: three must not be more common in contrasts than in clips."""
    config = ClipConfig(events=1, settings="count")
    numbers = {2: 0, 3: 0, 4: 0}
    for index in range(72):
        other = contrast("counting", compose_clip(config, 0, index), Rng(9, index))
        if other:
            numbers[len(other.still)] += 1
    assert min(numbers.values()) > 12


@pytest.mark.parametrize("kind", HALLUCINATIONS)
def test_a_hallucination_breaks_the_caption_in_its_way(kind: str) -> None:
    found = [(c, other) for c in clips() if (other := hallucinate(kind, c, Rng(3, c.scene.index)))]
    assert len(found) > 2
    for clip, other in found:
        assert not faithful(clip, other)
        last, shown = clip.at(clip.frames - 1).things, other.at(clip.frames - 1).things
        more = [event for event in other.events if event not in clip.events]
        if kind in ("vanishing subject", "temporal dysmorphia", "physical incongruity"):
            assert clip.scene == other.scene
            assert [event for event in other.events if event not in more] == list(clip.events)
            assert len(more) == 1
            assert other.at(0) == clip.at(0)  # one frame does not show it
        if kind == "vanishing subject":
            assert len(shown) == len(last) - 1
        if kind == "temporal dysmorphia":
            assert len([1 for a, b in zip(last, shown, strict=True) if a != b]) == 1
            assert more[0].action in ("grow", "shrink", "change colour")
        if kind == "physical incongruity":
            assert more[0].end - more[0].start == 1
            assert more[0].by >= 250
        if kind == "omission error":
            assert len(other.scene.things) == len(clip.scene.things) - 1
            assert not true_of(clip, other)
        if kind == "numeric variability":
            assert {t.concept for t in other.scene} == {t.concept for t in clip.scene}
            assert not true_of(clip, other)


def test_what_a_clip_lacks_cannot_be_contrasted() -> None:
    alone = Clip(Scene(0, (Thing("cat", None, "small", 200, 300, 500),)), (Event("appear", 0, 1, 3),), 6)
    for kind in ("attribute", "counting", "relation", "flip"):
        assert contrast(kind, alone, Rng(0, 0)) is None
    assert hallucinate("numeric variability", alone, Rng(0, 0)) is None
    with pytest.raises(UnknownNameError, match="did you mean 'counting'"):
        contrast("count", alone, Rng(0, 0))
    with pytest.raises(UnknownNameError, match="omission error"):
        hallucinate("omission", alone, Rng(0, 0))


def test_truth_knows_order_looks_and_what_is_not_spoken_of() -> None:
    cat, dog = (Thing(name, None, "small", 200, x, 500) for name, x in (("cat", 200), ("dog", 700)))
    both = Clip(Scene(0, (cat, dog)), (Event("vanish", 0, 1, 2), Event("vanish", 1, 3, 4)), 6)
    one = Clip(Scene(0, (cat, dog)), (Event("vanish", 0, 1, 2),), 6)
    turned = Clip(Scene(0, (cat, dog)), (Event("vanish", 1, 1, 2), Event("vanish", 0, 3, 4)), 6)
    assert not true_of(turned, both)
    assert not true_of(both, one)
    assert not true_of(one, both)  # which says that the dog is in the scene, and it vanishes
    alone = Clip(Scene(0, (cat,)), (Event("vanish", 0, 1, 2),), 6)
    assert true_of(alone, both)
    assert not faithful(alone, both)
