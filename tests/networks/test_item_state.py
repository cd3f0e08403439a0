"""State by item: numbers and vectors, of no items, and through a saved state."""

from __future__ import annotations

import torch

from counterpoint.networks.state.item_state import ItemState


def test_no_items_store_nothing() -> None:
    state = ItemState(tau=0.5)
    state.store(torch.empty(0, dtype=torch.int64), tau=torch.empty(0))
    (found,) = state.recall(torch.tensor([3]))
    assert found.tolist() == [0.5]


def test_vectors_are_found_by_id_also_in_a_loaded_state() -> None:
    state, other = ItemState(near=[-1.0, -1.0]), ItemState(near=[-1.0, -1.0])
    state.store(torch.tensor([9, -4]), near=torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    other.load_state_dict(state.state_dict())
    for each in (state, other):
        (found,) = each.recall(torch.tensor([-4, 5, 9]))
        assert found.tolist() == [[3.0, 4.0], [-1.0, -1.0], [1.0, 2.0]]
