"""False captions beside scenes and beside clips, as columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.items import ContrastCaptions, MinimalPairs
from counterpoint.data.synthetic.clips.words.captions import caption
from counterpoint.data.synthetic.clips.world import VideoClips
from counterpoint.data.synthetic.scenes.world import Scenes
from counterpoint.registry import UnknownNameError

KINDS = ("swap colour", "replace size")
SIZES = "train=40,validation=2,test=2"
SCENES = Scenes.parse(f"scenes:tiny,objects=1-2,negatives={'+'.join(KINDS)},pixels=24,{SIZES}")
CLIPS = VideoClips.parse(f"clips:compositions,contrasts=flip+counting,pixels=16,frames=6,{SIZES}")
ROWS = np.arange(40)


def test_negatives_are_the_edits_of_minimal_pairs() -> None:
    there = ROWS[SCENES.present("negative", ROWS)]
    assert 0 < len(there) < len(ROWS)  # what is dyed alone, in a size that is not said, has nothing to change
    items = SCENES.items(MinimalPairs, ROWS, KINDS)
    assert items.ids.tolist() == SCENES.ids[there].tolist()
    assert [false for _, false in items.captions] == SCENES.read("negative", there)
    pictures = items.pictures(np.arange(len(items)))
    assert torch.equal(pictures[:, 0], SCENES.read("image", there))
    assert torch.equal(pictures[:, 1], SCENES.read("edited", there))


def test_training_reads_negatives_as_plain_as_free_as_captions() -> None:
    read = SCENES.read_training("negative", ROWS)
    assert [texts[0] for texts in read] == SCENES.read("negative", ROWS)
    assert {len(texts) for texts in read} == {1, 2}
    true = SCENES.read_training("text", ROWS)
    assert all(set(texts).isdisjoint(captions) for texts, captions in zip(read, true, strict=True))


def test_scene_with_nothing_to_change_empty_caption_grey_picture() -> None:
    gone = ROWS[~SCENES.present("edited", ROWS)]
    assert np.array_equal(SCENES.present("edited", ROWS), SCENES.present("negative", ROWS))
    assert set(SCENES.read("negative", gone)) == {""}
    assert SCENES.read("edited", gone).unique().tolist() == [128]


def test_columns_come_with_negatives_and_change_nothing_else() -> None:
    plain = Scenes.parse(f"scenes:tiny,objects=1-2,pixels=24,{SIZES}")
    assert list(plain.columns) == ["image", "text"]
    assert list(SCENES.columns) == ["image", "text", "negative", "edited"]
    assert plain.read("text", ROWS) == SCENES.read("text", ROWS)
    with pytest.raises(UnknownNameError, match="negative"):
        plain.read("negative", ROWS)
    with pytest.raises(UnknownNameError, match="did you mean 'swap colour'"):
        Scenes.parse("scenes:tiny,negatives=swap color")


def test_contrasts_of_clips_are_what_is_asked_about_them() -> None:
    assert list(CLIPS.columns) == ["video", "text", "contrast"]
    there = ROWS[CLIPS.present("contrast", ROWS)]
    items = CLIPS.items(ContrastCaptions, ROWS)
    assert items.ids.tolist() == CLIPS.ids[there].tolist()
    assert set(items.kinds) == {"flip", "counting"}
    assert [true for true, _ in items.captions] == CLIPS.read("text", there)
    assert [false for _, false in items.captions] == CLIPS.read("contrast", there)
    frames = items.frames(np.arange(len(items)))
    assert torch.equal(frames, CLIPS.read("video", there).frames)


def test_either_clip_of_a_contrast_is_shown() -> None:
    plain = VideoClips.parse(f"clips:compositions,pixels=16,frames=6,{SIZES}")
    turned = [caption(plain.clip(row)) != caption(CLIPS.clip(row)) for row in ROWS.tolist()]
    assert 0.2 < np.mean(turned) < 0.8
    with pytest.raises(UnknownNameError, match="did you mean 'flip'"):
        VideoClips.parse("clips:basic,contrasts=flips")
