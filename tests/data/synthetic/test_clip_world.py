"""Clips as a data set: splits, pictures, items, missing modalities."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from counterpoint.data import load
from counterpoint.data.items import ContrastCaptions, GeneratedVideos
from counterpoint.data.pictures.frames import sheet
from counterpoint.data.source import load_any
from counterpoint.data.synthetic.clips.items import ClipContrasts, ClipGeneratedVideos
from counterpoint.data.synthetic.clips.pictured import ClipPictures
from counterpoint.data.synthetic.clips.presets import PRESETS
from counterpoint.data.synthetic.clips.sounding import FRAME
from counterpoint.data.synthetic.clips.truth import faithful, true_of
from counterpoint.data.synthetic.clips.words.captions import caption
from counterpoint.data.synthetic.clips.words.hallucinations import CLEAN, HALLUCINATIONS
from counterpoint.data.synthetic.clips.world import VideoClips
from counterpoint.networks.towers.footage import Footage
from counterpoint.networks.towers.sound import Waveform
from counterpoint.registry import UnknownNameError

SMALL = "train=40,validation=5,test=10,pixels=16"


def world(preset: str = "basic", more: str = "") -> VideoClips:
    return VideoClips.parse(f"clips:{preset},{SMALL}{more}")


def test_pictures_are_sheets_or_middle_frames() -> None:
    rows = np.array([0, 7])
    pictured, middle = (
        load(f"clips:basic,{SMALL},as=pictures"),
        load(f"clips:basic,{SMALL},picture=middle,as=pictures"),
    )
    frames = world().frames(rows)
    assert isinstance(pictured, ClipPictures)
    assert torch.equal(pictured.images(rows), sheet(frames))
    assert torch.equal(middle.images(rows), frames[:, 6])
    assert world().identity(()) != pictured.identity(())


def test_models_see_clips_unless_they_are_asked_for_as_pictures() -> None:
    data, rows = load_any(f"clips:basic,{SMALL},languages=en+de"), np.array([0, 45])
    assert isinstance(data, VideoClips)
    assert dict(data.columns) == {"video": "video", "text": "text"}
    clips = data.read("video", rows)
    assert clips.lengths.tolist() == [12, 12]
    assert torch.equal(clips.frames, data.frames(rows))
    assert data.read("text", rows) == [data.captions(int(row))[0] for row in rows]
    assert data.read_training("text", rows) == [data.captions(int(row)) for row in rows]
    assert list(data.evaluation_texts("text", 45)) == data.captions(45)[:1]
    large = data.suited({"video": Footage(24, 8)})
    assert large.read("video", rows).frames.shape[-1] == 32
    assert large.suited({"video": Footage(24, 4)}) is large
    assert pickle.loads(pickle.dumps(large)).read("video", rows).frames.shape[-1] == 32
    with pytest.raises(UnknownNameError, match="column of clips:basic"):
        data.read("series", rows)
    with pytest.raises(UnknownNameError, match="unknown form of clips 'picture': did you mean 'pictures'"):
        load_any("clips:basic,as=picture")


def test_sensors_are_series_beside_clips_and_texts() -> None:
    data = VideoClips.parse("clips:sensors,train=40,pixels=16")
    assert dict(data.columns) == {"video": "video", "series": "series", "text": "text"}
    rows = np.arange(40)
    there = data.present("series", rows)
    series = data.read("series", rows)
    assert series.channels == ("across", "down")
    np.testing.assert_array_equal(series.measured.numpy(), data.sensors(rows).astype(np.float32))
    assert np.array_equal(series.measured.abs().amax((1, 2)).numpy() > 0, there)


def test_thing_is_heard_while_it_moves_higher_the_higher_it_is() -> None:
    data = VideoClips.parse("clips:sounding,train=20,pixels=16")
    assert dict(data.columns) == {"video": "video", "audio": "audio", "text": "text"}
    waves = data.read("audio", np.arange(5))
    assert waves.samples.shape == (5, 12 * FRAME)
    assert data.suited({"audio": Waveform(8000)}).read("audio", np.arange(5)).samples.shape == (5, 6 * FRAME)
    for row, sound in enumerate(waves.samples.numpy()):
        clip, loud = data.clip(row), np.abs(sound).reshape(12, FRAME).max(1) > 0.01
        heard = [any(e.start <= frame < e.end for e in clip.events) for frame in range(12)]
        assert loud.tolist() == heard
        for event in clip.events:
            frames = [event.start, event.end - 1]
            hertz = [
                np.diff(np.sign(sound[f * FRAME : (f + 1) * FRAME])).astype(bool).sum() * 5 for f in frames
            ]
            assert (hertz[1] > hertz[0]) == (event.action == "move up")
            thing = clip.thing(event.thing, event.end - 1)
            assert thing is not None
            assert hertz[1] == pytest.approx(200 + 0.8 * (1000 - thing.y), abs=60)


def test_twins_differ_in_the_order_of_their_events_alone() -> None:
    data = VideoClips.parse("clips:sounding,train=2,validation=2,test=60,pixels=16")
    rows = data.splits.test["twins in order"]
    for one, other in rows.reshape(-1, 2).tolist():
        first, second = data.clip(one), data.clip(other)
        assert first.scene == second.scene
        assert [(e.action, e.thing, e.by) for e in first.events] == [
            (e.action, e.thing, e.by) for e in second.events[::-1]
        ]
        assert [(e.start, e.end) for e in first.events] == [(e.start, e.end) for e in second.events]
        assert data.captions(one) != data.captions(other)
        assert not faithful(first, second)
    assert len({data.clip(row).scene.index for row in rows.tolist()}) == len(rows) / 2
    with pytest.raises(ValueError, match="set events=2-3"):
        VideoClips.parse("clips:basic,twins=true")


def test_another_artist_draws_the_same_kinds_of_clips() -> None:
    data = world()
    assert {t.artist for row in data.splits.test["other artist"] for t in data.clip(int(row)).scene} == {1}
    assert "OpenMoji" in data.attribution


def test_labels_and_subsets_say_what_happens() -> None:
    data = world()
    action = data.labels["action"]
    for row in range(10):
        assert action.values[row] == list(PRESETS["basic"].config.actions).index(
            data.clip(row).events[0].action
        )
    assert set(data.subsets) == {"one event", "two events", "three events"}


def test_rows_may_lack_a_modality() -> None:
    data = VideoClips.parse("clips:sensors,train=200,pixels=16")
    rows = data.splits.train
    there = {column: data.present(column, rows) for column in data.columns}
    for mask in there.values():
        assert 0.7 < mask.mean() < 0.9
    lacking = {name: rows[~mask][:2] for name, mask in there.items()}
    assert (data.read("video", lacking["video"]).frames == 128).all()
    assert all(data.captions(int(row)) == [""] for row in lacking["text"])
    assert not data.sensors(lacking["series"]).any()
    streams = data.sensors(rows[there["series"]][:3])
    assert streams.shape == (3, 48, 2)
    assert (np.abs(streams).max((1, 2)) > 50).all()  # it moves


def test_contrasts_have_the_true_caption_first() -> None:
    data = world()
    items = data.items(ContrastCaptions, data.splits.train)
    assert isinstance(items, ClipContrasts)
    assert len(items) == 40
    assert items.frames(np.array([3, 1])).shape == (2, 12, 3, 16, 16)
    for clip, (right, wrong) in zip(items.clips, items.captions, strict=True):
        assert right == caption(clip)
        assert wrong != right
    again = data.items(ContrastCaptions, data.splits.train[5:9])
    assert again.captions == items.captions[5:9]  # whichever other rows are asked about


def test_renditions_are_faithful_where_they_are_clean() -> None:
    data = VideoClips.parse("clips:basic,train=90,pixels=16")
    items = data.items(GeneratedVideos, data.splits.train)
    assert isinstance(items, ClipGeneratedVideos)
    assert set(items.kinds) == {CLEAN, *HALLUCINATIONS}
    for row, (clip, kind) in enumerate(zip(items.clips, items.kinds, strict=True)):
        assert items.captions[row] == caption(data.clip(row))
        assert faithful(data.clip(row), clip) == (kind == CLEAN)
        if kind in ("omission error", "numeric variability"):
            assert not true_of(data.clip(row), clip)


def test_a_picture_is_one_that_clips_have() -> None:
    with pytest.raises(UnknownNameError, match="unknown picture of a clip 'sheets': did you mean 'sheet'"):
        VideoClips.parse("clips:order,picture=sheets")


def test_an_override_is_described_as_it_is_written() -> None:
    assert world("order").describe()["overrides"] == {"events": "2-3", "settings": "none"}
