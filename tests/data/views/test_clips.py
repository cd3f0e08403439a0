"""Views of clips: frames from the first to the last, all of a clip changed alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.data.views import key
from counterpoint.data.views.clips import video
from counterpoint.networks.towers.footage import Footage
from counterpoint.raw import Clips
from counterpoint.recipes.schema import Augmentation
from counterpoint.registry import UnknownNameError

INPUT = Footage(24, 4)


def levels(*lengths: int) -> Clips:
    """Clips whose frame t is of the value 5 t all over."""
    return Clips.of(
        [
            np.full((n, 3, 32, 32), 5, np.uint8) * np.arange(n, dtype=np.uint8)[:, None, None, None]
            for n in lengths
        ]
    )


def test_plain_is_the_input_itself() -> None:
    rng = np.random.default_rng(0)
    clips = Clips.of([rng.integers(0, 256, (n, 3, 24, 24), np.uint8) for n in (9, 2)])
    torch.testing.assert_close(
        video("plain")(clips, key(0, 0, np.arange(2), "v"), INPUT),
        INPUT(clips),
        rtol=0,
        atol=1e-5,
        equal_nan=True,
    )


@pytest.mark.parametrize("name", ["plain", "weak"])
def test_frames_are_of_equal_parts_in_their_order(name: str) -> None:
    seen = video(name)(levels(40, 3), key(0, 0, np.arange(2), "v"), INPUT)
    assert seen.shape == (2, 4, 3, 24, 24)
    places = (seen[:, :, 0, 0, 0] * 51).round()
    assert all(10 * part <= places[0, part] < 10 * part + 10 for part in range(4))
    assert places[1, :3].tolist() == [0, 1, 2]
    assert seen[1, 3].isnan().all()


def test_the_view_of_pairs_is_the_one_that_is_asked_for() -> None:
    assert video("weak", Augmentation(paired="plain")) == video("plain")
    assert video("simclr", Augmentation(paired="plain")) == video("simclr")


def test_weak_draws_other_frames_every_time() -> None:
    drawn = [
        video("weak")(levels(40), key(0, epoch, np.arange(1), "v"), INPUT)[0, :, 0, 0, 0]
        for epoch in range(8)
    ]
    assert len({tuple(one.tolist()) for one in drawn}) == 8


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    rng = np.random.default_rng(0)
    still = np.repeat(rng.integers(0, 256, (2, 1, 3, 32, 32), np.uint8), 4, 1)
    seen = video("strong")(Clips.of(list(still)), key(0, 0, np.arange(2), "v"), INPUT)
    assert torch.equal(seen, seen[:, :1].expand_as(seen))
    assert not torch.allclose(seen[0], INPUT(Clips.of(list(still)))[0])


def test_refusals() -> None:
    with pytest.raises(UnknownNameError, match="unknown view of clips 'week': did you mean 'weak'"):
        video("week")
    with pytest.raises(ValueError, match="one per clip: got 1 for 2 clips"):
        video("plain")(levels(1, 1), key(0, 0, np.arange(1), "v"), INPUT)
