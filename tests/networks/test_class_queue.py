"""A queue with a place for every class."""

from __future__ import annotations

import copy

import pytest
import torch

from counterpoint.networks.state.class_queue import ClassQueue


def test_every_class_has_its_least_and_its_share_of_the_rest() -> None:
    queue = ClassQueue(50, 2, 4, least=3)
    assert queue.sizes.tolist() == [13, 12, 13, 12]
    queue.divide(torch.tensor([0.9, 0.1, 0.0, 0.0]))
    assert queue.sizes.sum() == 50
    assert queue.sizes.min() >= 3
    assert queue.sizes[0] == 38


def test_each_class_is_a_ring_of_its_own() -> None:
    queue = ClassQueue(6, 1, 2)
    queue.divide(torch.tensor([1.0, 0.0]))
    for step in range(3):
        ids = 10 * step + torch.arange(3)
        queue.enqueue(ids[:, None].float(), ids, torch.tensor([0, 0, 1]))
    assert queue.sizes.tolist() == [4, 2]
    assert queue.ids.tolist() == [20, 21, 10, 11, 22, 12]
    assert queue.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert torch.equal(queue.keys[:, 0].long(), queue.ids)


def test_of_more_keys_than_fit_the_last_stay() -> None:
    queue = ClassQueue(4, 1, 2)
    queue.enqueue(torch.arange(7.0)[:, None], torch.arange(7), torch.zeros(7, dtype=torch.int64))
    assert sorted(queue.ids[:2].tolist()) == [5, 6]
    assert queue.ids[2:].tolist() == [-1, -1]
    kept = copy.deepcopy(queue.state_dict())
    queue.enqueue(torch.ones(2, 1), torch.tensor([8, 9]), torch.tensor([-1, -1]))
    assert all(torch.equal(kept[name], value) for name, value in queue.state_dict().items())


def test_other_priors_empty_it_and_the_same_do_not() -> None:
    queue = ClassQueue(10, 1, 2)
    queue.enqueue(torch.ones(2, 1), torch.arange(2), torch.arange(2))
    queue.divide(torch.tensor([0.5, 0.5]))
    assert (queue.ids >= 0).sum() == 2
    queue.divide(torch.tensor([0.8, 0.2]))
    assert (queue.labels == -1).all()


def test_fewer_places_than_the_classes_are_to_have_are_refused() -> None:
    with pytest.raises(ValueError, match="take 9 or more"):
        ClassQueue(8, 2, 3, least=3)
