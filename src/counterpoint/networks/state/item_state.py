"""State per item of the data, by the item's id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ItemState(nn.Module):
    """Numbers that belong to items, found by id, and saved with the model.

    Ids are any integers of 64 bits; the table grows with those that are stored, and takes the length of a
    state that is loaded. It starts with one entry, of the largest id there is, so that a search always ends
    within it.

    Args:
        start: by name, the number, or the vector of numbers, of an item that was never stored.

    >>> state = ItemState(tau=0.5)
    >>> state.store(torch.tensor([7, -2]), tau=torch.tensor([0.25, 0.125]))
    >>> [v.tolist() for v in state.recall(torch.tensor([-2, 3, 7]))]
    [[0.125, 0.5, 0.25]]
    >>> ItemState(clusters=[0.0, 1.0]).recall(torch.tensor([5]))[0].tolist()
    [[0.0, 1.0]]
    """

    ids: Tensor

    def __init__(self, **start: float | Sequence[float]) -> None:
        super().__init__()
        self.start = start
        # No id is larger than the last, so that a search for any ends at a slot.
        self.register_buffer("ids", torch.tensor([torch.iinfo(torch.int64).max]))
        for name, value in start.items():
            self.register_buffer(name, torch.tensor([value]))

    def recall(self, ids: Int[Tensor, " B"]) -> list[Float[Tensor, "B ..."]]:
        """Return each of the numbers of these items, in the order of the arguments."""
        slot, known = self._find(ids)
        states = []
        for name, value in self.start.items():
            numbers = self.get_buffer(name)
            there = known.view(-1, *[1] * (numbers.ndim - 1))
            states.append(torch.where(there, numbers[slot], numbers.new_tensor(value)))
        return states

    @torch.no_grad()
    def store(self, ids: Int[Tensor, " B"], **values: Float[Tensor, "B ..."]) -> None:
        """Store new numbers for these items; of an id that occurs twice, the first occurrence counts."""
        ids, order = ids.sort(stable=True)
        first = torch.ones_like(ids, dtype=torch.bool)
        first[1:] = ids[1:] != ids[:-1]
        ids, order = ids[first], order[first]
        unseen = ids[~self._find(ids)[1]]
        if len(unseen):
            grown = torch.cat([self.ids, unseen]).sort().values
            old = torch.searchsorted(grown, self.ids)
            for name, value in self.start.items():
                numbers = self.get_buffer(name)
                fresh = numbers.new_tensor(value).expand(len(grown), *numbers.shape[1:])
                setattr(self, name, fresh.index_copy(0, old, numbers))
            self.ids = grown
        slot, _ = self._find(ids)
        for name, new in values.items():
            numbers = self.get_buffer(name)
            numbers[slot] = new[order].to(numbers.dtype)

    def _find(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        slot = torch.searchsorted(self.ids, ids.contiguous())
        return slot, self.ids[slot] == ids

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in list(self.named_buffers(recurse=False)):
            if prefix + name in state_dict:
                setattr(self, name, buffer.new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
