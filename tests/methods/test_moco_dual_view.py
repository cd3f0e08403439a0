"""The dual view of MoCo: its two readings, and when they are MoCo."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_stubs import LATE, batch, build, total

from counterpoint.pairwise.ranks import Ranks
from counterpoint.types import Batch


def filled(name: str, **options: Any) -> tuple[Any, Batch]:
    """A method whose queue holds keys of other pictures, and a batch."""
    method = build(name, queue=16, **options)
    given = batch(method, 8)
    for seed in (5, 6):
        other = batch(method, 8, seed=seed)
        method.after_step(method.targets(other), Batch(other.ids + 100, other.views), LATE)
    return method, given


def test_filters_once_the_queue_is_full() -> None:
    method, given = filled("moco-dual-view", num_hard=2)
    plain, _ = filled("moco", symmetric=True)
    assert total(method, given) < total(plain, given)
    method.queue.filled.fill_(15)
    torch.testing.assert_close(total(method, given), total(plain, given), rtol=0, atol=0)


def test_the_key_as_an_anchor_adds_a_little_by_default() -> None:
    _, given = filled("moco-dual-view")
    default, none, whole = (
        total(filled("moco-dual-view", mode="key_anchor", **options)[0], given)
        for options in ({}, {"key_weight": 0.0}, {"key_weight": 1.0})
    )
    assert whole > none
    torch.testing.assert_close(default - none, 0.1 * (whole - none), rtol=1e-4, atol=0)


def test_passes_of_either_reading() -> None:
    assert build("moco-dual-view").passes() == {"image": 4}
    assert build("moco-dual-view", mode="key_anchor").passes() == {"image": 2}


def test_passing_over_the_whole_queue_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="skip_top=16 leaves none of the 16 keys"):
        build("moco-dual-view", queue=16, skip_top=16)


@pytest.mark.parametrize(("mode", "arrived"), [("key_anchor", 8), ("symmetric", 16)])
def test_noise_takes_the_places_of_a_share_of_the_keys(mode: str, arrived: int) -> None:
    clean, noisy = (build("moco-dual-view", queue=16, mode=mode, noise=share) for share in (0.0, 0.25))
    given = batch(clean, 8)
    for method in (clean, noisy):
        torch.manual_seed(9)  # not 0, from which the batch is drawn
        method.after_step(method.targets(given), given, LATE)
    replaced = (noisy.queue.ids < 0) & (torch.arange(16) < arrived)
    assert [int(view.sum()) for view in replaced[:arrived].split(8)] == [2] * (arrived // 8)
    torch.testing.assert_close(noisy.queue.keys[~replaced], clean.queue.keys[~replaced], rtol=0, atol=0)
    assert torch.equal(noisy.queue.ids[~replaced], clean.queue.ids[~replaced])
    keys = noisy.queue.keys[replaced]
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(len(keys)))
    assert not torch.isclose(keys, clean.queue.keys[replaced]).all(1).any()
    assert int(noisy.queue.filled) == arrived


def test_noise_takes_same_places_however_many_ranks_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    method = build("moco-dual-view", queue=32, noise=0.1)
    alone = method._replaced(12)
    assert int(alone.sum()) == 2
    parts = []
    for rank in range(3):
        monkeypatch.setattr(Ranks, "present", lambda rank=rank: Ranks(rank, 3))
        monkeypatch.setattr(Ranks, "counts", lambda self, n, device: [n] * self.size)
        parts.append(method._replaced(4).view(2, 4))
    assert torch.equal(torch.cat(parts, 1).flatten(), alone)


def test_noise_is_of_the_copys_making_and_drawn_anew_every_step() -> None:
    method = build("moco-dual-view", queue=8, mode="key_anchor", noise=0.5)
    given, seen = batch(method, 4), []
    for _ in range(2):
        torch.manual_seed(len(seen))
        method.after_step(method.targets(given), given, LATE)
        seen.append(method.queue.keys[:4] if not seen else method.queue.keys[4:])
    noise = seen[0][method.queue.ids[:4] < 0]
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(noise, F.normalize(method.momentum(pictures), dim=-1))
    assert not torch.allclose(noise, seen[1][method.queue.ids[4:] < 0])


def test_noise_is_refused_where_it_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="noise of MoCoDualView must be less than 1, got 1"):
        build("moco-dual-view", noise=1.0)
    with pytest.raises(ValueError, match=r"noise=0.5: the column 'text' holds no pictures"):
        build("moco-dual-view", on="texts", noise=0.5)
