"""Clips as a data set: splits, pictures, items, missing modalities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.items import ContrastCaptions, GeneratedVideos
from counterpoint.data.pictures.frames import sheet
from counterpoint.data.worlds.clips.captions import caption
from counterpoint.data.worlds.clips.hallucinations import CLEAN, HALLUCINATIONS
from counterpoint.data.worlds.clips.items import ClipContrasts, ClipGeneratedVideos
from counterpoint.data.worlds.clips.presets import PRESETS
from counterpoint.data.worlds.clips.truth import faithful, true_of
from counterpoint.data.worlds.clips.world import Clips
from counterpoint.registry import UnknownName

SMALL = "train=40,validation=5,test=10,pixels=16"


def world(preset: str = "basic", more: str = "") -> Clips:
    return Clips.parse(f"clips:{preset},{SMALL}{more}")


def test_pictures_are_sheets_or_middle_frames() -> None:
    rows = np.array([0, 7])
    frames = world().frames(rows)
    assert torch.equal(world().images(rows), sheet(frames))
    assert torch.equal(world(more=",picture=middle").images(rows), frames[:, 6])


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
    data = Clips.parse("clips:sensors,train=200,pixels=16")
    rows = data.splits.train
    there = {column: data.present(column, rows) for column in ("image", "text", "sensor")}
    for mask in there.values():
        assert 0.7 < mask.mean() < 0.9
    lacking = {name: rows[~mask][:2] for name, mask in there.items()}
    assert (data.images(lacking["image"]) == 128).all()
    assert all(data.captions(int(row)) == [""] for row in lacking["text"])
    assert not data.sensors(lacking["sensor"]).any()
    streams = data.sensors(rows[there["sensor"]][:3])
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
    data = Clips.parse("clips:basic,train=90,pixels=16")
    items = data.items(GeneratedVideos, data.splits.train)
    assert isinstance(items, ClipGeneratedVideos)
    assert set(items.kinds) == {CLEAN, *HALLUCINATIONS}
    for row, (clip, kind) in enumerate(zip(items.clips, items.kinds, strict=True)):
        assert items.captions[row] == caption(data.clip(row))
        assert faithful(data.clip(row), clip) == (kind == CLEAN)
        if kind in ("omission error", "numeric variability"):
            assert not true_of(data.clip(row), clip)


def test_a_picture_is_one_that_clips_have() -> None:
    with pytest.raises(UnknownName, match="unknown picture of a clip 'sheets': did you mean 'sheet'"):
        Clips.parse("clips:order,picture=sheets")


def test_an_override_is_described_as_it_is_written() -> None:
    assert world("order").describe()["overrides"] == {"events": "2-3", "settings": "none"}
