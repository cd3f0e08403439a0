"""The queue of keys: first in, first out, whatever the size of what comes in."""

from __future__ import annotations

from collections import deque
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoint.networks import KeyQueue, initialise


def numbered(start: int, count: int) -> tuple[Tensor, Tensor]:
    """Keys that can be told apart, and their ids."""
    ids = torch.arange(start, start + count)
    return F.normalize(torch.stack([ids + 1.0, torch.ones(count)], 1), dim=1), ids


def test_starts_with_random_unit_vectors_of_no_item() -> None:
    queue = KeyQueue(50, 4)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(50))
    assert len({tuple(key) for key in queue.keys.tolist()}) == 50
    assert queue.ids.eq(-1).all()
    assert (int(queue.pointer), int(queue.filled), queue.full) == (0, 0, False)


def test_its_start_follows_from_the_seed() -> None:
    one, again, other = (KeyQueue(5, 3) for _ in range(3))
    for queue, seed in ((one, 0), (again, 0), (other, 1)):
        initialise(queue, seed)
    assert torch.equal(one.keys, again.keys)
    assert not torch.equal(one.keys, other.keys)


def test_starting_anew_forgets_everything() -> None:
    queue = KeyQueue(3, 2)
    queue.enqueue(*numbered(0, 4))
    queue.reset_parameters()
    assert queue.ids.eq(-1).all()
    assert (int(queue.pointer), int(queue.filled)) == (0, 0)


@pytest.mark.parametrize("sizes", [[2, 2, 2, 2], [3, 1, 4, 2, 4], [5], [12], [2, 12, 3], [0, 3]], ids=str)
def test_the_last_keys_stay_in_the_order_they_came(sizes: list[int]) -> None:
    queue, last, start = KeyQueue(5, 2), deque[tuple[int, Tensor]](maxlen=5), 0
    for size in sizes:
        keys, ids = numbered(start, size)
        queue.enqueue(keys, ids)
        last.extend(zip(ids.tolist(), keys, strict=True))
        start += size
        assert int(queue.pointer) == start % 5
        assert int(queue.filled) == min(start, 5)
        assert queue.full == (start >= 5)
        oldest_first = torch.arange(int(queue.pointer), int(queue.pointer) + 5) % 5
        assert queue.ids[oldest_first].tolist()[5 - len(last) :] == [item for item, _ in last]
        for place, (_, key) in zip(oldest_first[5 - len(last) :], last, strict=True):
            assert torch.equal(queue.keys[place], key)


def test_keys_are_kept_without_their_graph() -> None:
    queue = KeyQueue(4, 2)
    keys, ids = numbered(0, 3)
    queue.enqueue(keys.requires_grad_() * 1.0, ids)
    assert not queue.keys.requires_grad
    assert list(queue.parameters()) == []


def test_goes_on_after_loading_as_if_nothing_had_happened() -> None:
    queue, other = KeyQueue(5, 2), KeyQueue(5, 2)
    queue.enqueue(*numbered(0, 3))
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.enqueue(*numbered(3, 4))
    for name, value in queue.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_keeps_the_precision_it_was_given() -> None:
    queue = KeyQueue(4, 2).double()
    queue.enqueue(*numbered(0, 2))
    assert queue.keys.dtype == torch.float64
    assert queue.ids.dtype == torch.int64


def test_refuses_what_does_not_fit() -> None:
    enqueue = unwrap(KeyQueue.enqueue)  # past the shape annotations, which users' processes do not enforce
    with pytest.raises(ValueError, match=r"keys must be \(B, 2\) for this queue, got \(3, 4\)"):
        enqueue(KeyQueue(5, 2), torch.ones(3, 4), torch.arange(3))
    with pytest.raises(ValueError, match=r"ids must be one per key, \(3,\), got \(2,\)"):
        enqueue(KeyQueue(5, 2), torch.ones(3, 2), torch.arange(2))
