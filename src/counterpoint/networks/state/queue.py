"""A queue of past keys: a dictionary of negatives far larger than a batch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...forms import Count
from ...pairwise.ranks import Ranks
from ...ranges import Checked

PAPERS = {"brivl": ("KeyQueue",), "moco": ("KeyQueue",)}


class Queue(Checked, nn.Module):
    """The base of queues of past keys, whose length is that of the checkpoint that they are read from.

    A queue is no longer than the data has rows, which nobody knows where a trained model is read again.

    Attributes:
        keys: ``(K, d)``, without gradient.
        ids: ``(K,)``, the item of each key.
    """

    by_key: ClassVar[tuple[str, ...]] = ("keys", "ids")
    """The buffers with a row for each key."""
    keys: Tensor
    ids: Tensor

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def smallest(self) -> int:
        """The fewest keys that it works with."""
        return 1

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.by_key:
            if (saved := state_dict.get(prefix + name)) is not None:
                buffer = self.get_buffer(name)
                setattr(self, name, buffer.new_empty(len(saved), *buffer.shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *args)


class KeyQueue(Queue):
    """The last ``capacity`` keys, first in, first out, each with the item it is of.

    It starts with random unit vectors, which are nobody's keys. It is the same on every rank, and is saved
    with the model.

    Attributes:
        keys: ``(K, d)``, unit vectors without gradient.
        ids: ``(K,)``, the item of each key; −1 where it is still a random vector.
        pointer: where the next key goes; it holds the oldest.
        filled: how many keys are of items.

    Args:
        capacity: K.
        width: d.

    Raises:
        ValueError: for a capacity or a width below 1.

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (2020), arXiv
    1911.05722.

    >>> queue = KeyQueue(3, 2)
    >>> queue.enqueue(torch.eye(2), torch.tensor([7, 8]))
    >>> queue.ids.tolist(), int(queue.pointer), queue.full
    ([7, 8, -1], 2, False)
    >>> queue.enqueue(torch.eye(2), torch.tensor([9, 7]))
    >>> queue.ids.tolist(), int(queue.pointer), queue.full
    ([7, 8, 9], 1, True)
    """

    pointer: Tensor
    filled: Tensor

    def __init__(self, capacity: Count, width: Count) -> None:
        super().__init__()
        self.register_buffer("keys", torch.empty(capacity, width))
        self.register_buffer("ids", torch.empty(capacity, dtype=torch.int64))
        self.register_buffer("pointer", torch.empty((), dtype=torch.int64))
        self.register_buffer("filled", torch.empty((), dtype=torch.int64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.keys.copy_(F.normalize(torch.randn(self.keys.shape), dim=1))
        self.ids.fill_(-1)
        self.pointer.zero_()
        self.filled.zero_()

    @property
    def full(self) -> bool:
        """Tell whether all keys are of items."""
        return int(self.filled) == len(self)

    @torch.no_grad()
    def enqueue(self, keys: Float[Tensor, "B d"], ids: Int[Tensor, " B"]) -> None:
        """Put the keys of all ranks, in rank order, where the oldest are; of more than fit the last stay.

        Args:
            keys: unit-norm keys of this rank.
            ids: the item of each.

        Raises:
            ValueError: for keys of another width, or ids that are not one per key.
        """
        if keys.ndim != 2 or keys.shape[1] != self.keys.shape[1]:
            raise ValueError(
                f"keys must be (B, {self.keys.shape[1]}) for this queue, got {tuple(keys.shape)}"
            )
        if ids.shape != keys.shape[:1]:
            raise ValueError(f"ids must be one per key, ({len(keys)},), got {tuple(ids.shape)}")
        ranks = Ranks.present()
        counts = ranks.counts(len(keys), keys.device)
        keys, ids = ranks.gather(keys, counts), ranks.gather(ids, counts)
        arrived = len(keys)
        places = (self.pointer + torch.arange(arrived, device=self.keys.device)) % len(self)
        # Where more arrive than fit, a place would be written twice, and which key stays is not defined.
        last = slice(-len(self), None)
        self.keys[places[last]] = keys[last].to(self.keys.dtype)
        self.ids[places[last]] = ids[last]
        self.pointer.add_(arrived).remainder_(len(self))
        self.filled.add_(arrived).clamp_(max=len(self))

    def extra_repr(self) -> str:
        return f"{len(self)}, {self.keys.shape[1]}"
