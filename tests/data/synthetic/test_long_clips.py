"""Long clips: what is key by rule, what a query asks for, and near-duplicates."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from counterpoint.data.source import load_any
from counterpoint.data.synthetic.clips.long_clip import LongClip, compose_long_clip
from counterpoint.data.synthetic.clips.long_config import LongClipConfig
from counterpoint.data.synthetic.clips.long_world import LongClips
from counterpoint.networks.towers.footage import Footage
from counterpoint.registry import UnknownNameError

CLIPS = [compose_long_clip(LongClipConfig(near_duplicates=0.5), 0, index) for index in range(120)]
SMALL = "train=6,validation=2,test=3,pixels=16"


def shown(clip: LongClip) -> list[tuple[bool, bool, int]]:
    """Of each frame whether its thing is large, whether its sentence names the thing twice, and whether it is key."""
    twice = [text.count(" yes, ") == 1 for _, _, text in clip.transcript.sentences]
    starts = [round(it.start / 2) for it in clip.transcript.sentences]
    of_frame = [twice[sum(start <= k for start in starts) - 1] for k in range(len(clip.frames))]
    large = [scene.things[0].size == "large" for scene in clip.scenes]
    return list(zip(large, of_frame, clip.key_frames, strict=True))


def test_key_frames_need_both() -> None:
    counts = Counter(it for clip in CLIPS for it in shown(clip))
    assert set(counts) == {(False, False, 0), (False, True, 0), (True, False, 0), (True, True, 1)}
    assert min(counts.values()) > 100, "neither column says it alone"


def test_key_sentences_need_both() -> None:
    for clip in CLIPS:
        start = 0
        for segment, key, sentence in zip(
            clip.segments, clip.key_sentences, clip.transcript.sentences, strict=True
        ):
            frames = shown(clip)[start : start + segment.frames]
            assert key == (any(large for large, _, _ in frames) and " yes, " in sentence.text)
            start += segment.frames
        assert 0 < sum(clip.key_sentences) < len(clip.segments)
    alone = {
        (" yes, " in s.text, k)
        for c in CLIPS
        for s, k in zip(c.transcript.sentences, c.key_sentences, strict=True)
    }
    assert {(True, 0), (True, 1)} <= alone


def test_sizes_are_within_what_towers_see() -> None:
    assert {len(clip.segments) for clip in CLIPS} == set(range(8, 17))
    assert all(len(clip.frames) <= 32 for clip in CLIPS)
    assert {segment.frames for clip in CLIPS for segment in clip.segments} == {1, 2, 3}
    for clip in CLIPS:
        assert all(0 <= edge <= 1000 for scene in clip.scenes for edge in scene.things[0].box)
        assert clip.transcript.seconds == 2 * len(clip.frames)


def test_query_names_what_its_moments_show() -> None:
    for clip in CLIPS:
        start = 0
        for segment, sentence in zip(clip.segments, clip.transcript.sentences, strict=True):
            part = slice(start, start + segment.frames)
            asked = clip.query in sentence.text
            assert clip.moments[part] == [asked] * segment.frames
            for saliency, (large, _, _) in zip(clip.saliency[part], shown(clip)[part], strict=True):
                assert saliency == (0 if not asked else 4 if large else 2)
            start += segment.frames
    runs = [int((np.diff([0, *clip.moments]) == 1).sum()) for clip in CLIPS]
    assert max(runs) > 1


def test_near_duplicates_show_a_key_segment_again_that_is_not_key() -> None:
    def repeated(clip: LongClip) -> int:
        pairs = zip(clip.segments, clip.segments[1:], strict=False)
        return sum(
            one.is_key
            and not other.stressed
            and abs(one.thing.x - other.thing.x) <= 10
            and one.thing.y == other.thing.y
            for one, other in pairs
        )

    none = [compose_long_clip(LongClipConfig(), 0, index) for index in range(60)]
    always = [compose_long_clip(LongClipConfig(near_duplicates=1.0), 0, index) for index in range(60)]
    assert sum(map(repeated, none)) <= 1
    assert sum(map(repeated, always)) > 60


def test_world_reads_columns_and_labels() -> None:
    data = load_any(f"clips:long,{SMALL}")
    assert isinstance(data, LongClips)
    rows = np.arange(6)
    clips = data.read("video", rows)
    lengths = clips.lengths.numpy()
    for name, label in data.labels.items():
        counts = (~np.isnan(label.values[rows])).sum(1)
        said = [len(it.sentences) for it in data.read("transcript", rows)]
        assert counts.tolist() == (said if name == "key_sentences" else lengths.tolist())
    larger = data.suited({"video": Footage(24, 32)})
    assert larger.read("video", rows).frames.shape[-1] == 32
    assert pickle.loads(pickle.dumps(larger)).read("text", rows) == data.read("text", rows)
    with pytest.raises(UnknownNameError, match="column of clips:long"):
        data.read("audio", rows)
    with pytest.raises(ValueError, match="name more concepts or colours"):
        LongClips.parse("clips:long,concepts=cat+dog,colours=red+blue")
