"""Clips: what every frame shows, how they are composed, written and told."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from counterpoint.data.pictures.frames import centres, middle, sheet
from counterpoint.data.rng import Rng
from counterpoint.data.synthetic.clips.clip import ACTIONS, Clip, Event, film, save
from counterpoint.data.synthetic.clips.compose import apart, compose_clip, swept
from counterpoint.data.synthetic.clips.config import ClipConfig
from counterpoint.data.synthetic.clips.sensors import acceleration, path
from counterpoint.data.synthetic.clips.truth import faithful
from counterpoint.data.synthetic.clips.words.captions import caption
from counterpoint.data.synthetic.scenes.pixels.render import draw
from counterpoint.data.synthetic.scenes.scene import UNIT, Relation, Scene, Thing, relation_holds

CAT = Thing("cat", "red", "small", 200, 300, 500)
TREE = Thing("tree", None, "small", 160, 800, 200)
CONFIG = ClipConfig()


def of(event: Event, frames: int = 8) -> Clip:
    return Clip(Scene(0, (CAT,)), (event,), frames)


def test_appears_is_there_from_start_on_and_what_vanishes_until() -> None:
    appearing, vanishing = of(Event("appear", 0, 3, 5)), of(Event("vanish", 0, 3, 5))
    assert [len(appearing.at(frame).things) for frame in range(8)] == [0, 0, 0, 1, 1, 1, 1, 1]
    assert [len(vanishing.at(frame).things) for frame in range(8)] == [1, 1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("action", "axis", "sign"),
    [("move left", "x", -1), ("move right", "x", 1), ("move up", "y", -1), ("move down", "y", 1)],
)
def test_things_move_evenly_and_in_one_direction(action: str, axis: str, sign: int) -> None:
    clip = of(Event(action, 0, 2, 5, by=100))  # type: ignore[arg-type] # an action
    moved = [getattr(clip.at(frame).things[0], axis) - getattr(CAT, axis) for frame in range(8)]
    assert moved == [sign * by for by in (0, 0, 33, 66, 100, 100, 100, 100)]


def test_growing_ends_in_next_size_and_a_colour_changes_at_once() -> None:
    grown = of(Event("grow", 0, 2, 4, by=80))
    assert [(t.side, t.size) for f in range(5) for t in grown.at(f)] == [
        (200, "small"),
        (200, "small"),
        (240, "small"),
        (280, "medium"),
        (280, "medium"),
    ]
    turned = of(Event("change colour", 0, 2, 6, colour="blue"))
    assert [turned.at(f).things[0].colour for f in range(4)] == ["red", "red", "blue", "blue"]


def test_a_frame_has_the_relations_that_hold_in_it() -> None:
    scene = Scene(0, (CAT, TREE, TREE), (Relation("left of", 0, 1),))
    clip = Clip(scene, (Event("vanish", 0, 4, 5),), 8)
    assert clip.at(0).relations == (Relation("left of", 0, 1),)
    assert clip.at(4).relations == ()


def test_impossible_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="1 thing"):
        of(Event("appear", 1, 1, 2))
    for start, end in ((3, 3), (-1, 2), (7, 9)):
        with pytest.raises(ValueError, match="within 8 frames"):
            of(Event("appear", 0, start, end))
    with pytest.raises(IndexError, match="frame 8 of a clip of 8"):
        of(Event("appear", 0, 1, 2)).at(8)
    with pytest.raises(ValueError, match=r"one length, got \[8, 9\]"):
        film([of(Event("appear", 0, 1, 2), frames) for frames in (8, 9)])


def test_frames_are_the_pictures_of_their_scenes() -> None:
    clips = [compose_clip(CONFIG, 0, index) for index in range(2)]
    frames = film(clips, 32)
    assert frames.shape == (2, 12, 3, 32, 32)
    assert torch.equal(frames[1, 5], draw([clips[1].at(5)], 32).pictures[0])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_files_hold_the_frames(tmp_path: Path, suffix: str) -> None:
    frames = film([of(Event("move right", 0, 1, 8, by=400))], 32)[0]
    with Image.open(save(frames, tmp_path / f"clip{suffix}", milliseconds=50)) as file:
        assert (file.n_frames, file.size) == (8, (32, 32))
        file.seek(7)
        last = np.asarray(file.convert("RGB"), dtype=int)
    if suffix != ".gif":  # which has 256 colours
        assert (last == frames[7].permute(1, 2, 0).numpy()).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_composed_clips_say_what_they_show_and_nothing_overlaps(index: int) -> None:
    clip = compose_clip(CONFIG, 1, index)
    assert faithful(clip, clip)
    boxes = [swept(clip, place) for place in range(len(clip.scene.things))]
    assert all(min(box) >= 0 and max(box) <= UNIT for box in boxes)
    assert all(apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    starts = [event.start for event in clip.events]
    assert starts == sorted(set(starts))
    assert starts[0] > 0
    assert all(one.end <= other.start for one, other in zip(clip.events, clip.events[1:], strict=False))
    for relation in clip.scene.relations:
        assert relation_holds(
            relation.kind, clip.scene.things[relation.subject], clip.scene.things[relation.object]
        )


def test_crowded_clips_fall_back_on_a_grid() -> None:
    """Three long ways and four things besides find no place at random now and then; there still is a clip."""
    config = ClipConfig(events=3, settings="count", actions="move left+move right+grow+shrink", frames=9)
    for index in range(40):
        clip = compose_clip(config, 2, index)
        boxes = [swept(clip, place) for place in range(len(clip.scene.things))]
        assert all(apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert max(map(max, boxes)) <= UNIT


def test_every_action_and_setting_occurs_and_ways_are_visible() -> None:
    clips = [compose_clip(CONFIG, 0, index) for index in range(120)]
    events = [event for clip in clips for event in clip.events]
    assert {event.action for event in events} == set(ACTIONS)
    assert min(event.by for event in events if event.action.startswith("move")) >= 100
    assert {len(clip.still) for clip in clips} == {0, 2, 3, 4}
    assert {len(clip.events) for clip in clips} == {1, 2, 3}


def test_clips_are_the_same_everywhere() -> None:
    """Annotations do not depend on the machine: a change here needs another version of the presets."""
    text = repr([compose_clip(CONFIG, 0, index, "train") for index in range(30)])
    assert blake2b(text.encode(), digest_size=8).hexdigest() == "4724ab14d49dad73"


def test_captions_tell_happens_in_order_and_what_else_there_is() -> None:
    scene = Scene(0, (TREE, TREE, CAT, Thing("duck", None, "small", 160, 100, 100)))
    events = (Event("vanish", 2, 1, 2), Event("change colour", 3, 4, 5, colour="orange"))
    said = "a red cat vanishes, then a duck turns orange, with two trees in the scene"
    assert caption(Clip(scene, events, 8)) == said
    beside = Scene(0, (TREE, CAT), (Relation("right of", 0, 1),))
    assert caption(Clip(beside, (), 8)) == "with a tree to the right of a red cat in the scene"


def test_options_out_of_range_are_refused() -> None:
    assert ClipConfig(events="2-3", actions="grow+shrink").actions == ("grow", "shrink")
    for config, reason in (
        ({"actions": "vanishes"}, "did you mean 'vanish'"),
        ({"events": "3-2"}, "fewest to the most"),
        ({"frames": 8}, "3 events need 9 frames or more, got 8"),
        ({"concepts": "cat+dog+cow"}, "need 6 concepts, got 3"),
        ({"colours": "red"}, "two or more"),
        ({"tinted": "2"}, "tinted"),
    ):
        with pytest.raises(ValueError, match=reason):
            CONFIG.changed(config)


def test_centres_sheets_and_middles() -> None:
    assert centres(4, 4).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="got 0 of 3"):
        centres(3, 0)
    videos = torch.arange(18, dtype=torch.uint8)[None, :, None, None, None].expand(2, 18, 3, 2, 2)
    tiles = sheet(videos)[0, 0, ::2, ::2]
    assert tiles.tolist() == [[1, 3, 5], [7, 9, 11], [13, 15, 17]]
    assert middle(videos)[0, 0, 0, 0] == 9


@pytest.mark.parametrize("rate", [1, 4])
def test_acceleration_summed_up_twice_is_the_path(rate: int) -> None:
    clip = of(Event("move left", 0, 2, 6, by=200))
    velocity = np.cumsum(acceleration(clip, 0, rate), 0) / rate**2
    # The first measurement pushes from rest to the second position.
    positions = path(clip, 0, rate)
    assert np.allclose(positions[0] + np.cumsum(velocity, 0)[:-1], positions[1:], atol=1e-9)
    assert [clip.at(frame).things[0].x for frame in range(8)] == positions[rate - 1 :: rate, 0].tolist()


def test_thing_that_stays_feels_nothing_and_noise_is_repeatable() -> None:
    clip = of(Event("grow", 0, 2, 6, by=40))
    assert not acceleration(clip, 0, 3).any()
    noise = acceleration(clip, 0, 100, noise=2.0, draws=Rng(0, 1))
    assert (noise == acceleration(clip, 0, 100, noise=2.0, draws=Rng(0, 1))).all()
    assert abs(noise.mean()) < 4 * 2 / np.sqrt(noise.size)
    assert abs(noise.std() - 2) < 4 * 2 / np.sqrt(2 * noise.size)
    with pytest.raises(ValueError, match="noise needs draws"):
        acceleration(clip, 0, noise=1.0)
    with pytest.raises(ValueError, match="rate must be at least 1"):
        acceleration(clip, 0, rate=0)
