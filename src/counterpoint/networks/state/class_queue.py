"""A queue of past keys with a place for every class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...forms import Count
from ...pairwise.ranks import Ranks
from .queue import Queue

PAPERS = {"gml": ("ClassQueue",)}


class ClassQueue(Queue):
    """The last keys of every class, first in, first out: rare classes keep theirs while frequent ones pass through.

    Each class has ``least`` of the K places, and its share of the rest. They start with random unit vectors, which
    are nobody's keys. The queue is the same on every rank, and is saved with the model.

    Attributes:
        keys: ``(K, d)``, without gradient.
        labels: ``(K,)``, the class of each key; −1 where there is none yet.
        ids: ``(K,)``, the item of each key; −1 where there is none yet.
        sizes: ``(C,)``, the places of each class, which come class by class.
        pointers: ``(C,)``, how many of a class's places come before the one where its next key goes.

    Args:
        capacity: K.
        width: d.
        classes: C; equally frequent until `divide` says otherwise.
        least: the places that every class has.

    Raises:
        ValueError: for fewer places than every class is to have.

    Source: Suh and Seo, "Long-Tailed Recognition by Mutual Information Maximization between Latent Features and
    Ground-Truth Labels" (2023), arXiv 2305.01160; its released code.

    >>> queue = ClassQueue(6, 1, 2)
    >>> queue.divide(torch.tensor([0.8, 0.2]))
    >>> queue.sizes.tolist()
    [4, 2]
    >>> queue.enqueue(torch.arange(5.0)[:, None], torch.arange(5), torch.tensor([0, 1, 1, 1, -1]))
    >>> queue.labels.tolist(), queue.ids.tolist()
    ([0, -1, -1, -1, 1, 1], [0, -1, -1, -1, 3, 2])
    """

    by_key = ("keys", "labels", "ids")
    labels: Tensor
    sizes: Tensor
    pointers: Tensor

    def __init__(self, capacity: Count, width: Count, classes: Count, *, least: Count = 2) -> None:
        super().__init__()
        if capacity < least * classes:
            raise ValueError(
                f"a queue of {capacity} keys has not {least} for each of {classes} classes: take {least * classes} "
                "or more"
            )
        self.least = least
        self.register_buffer("keys", torch.empty(capacity, width))
        for name, size in (
            ("labels", capacity),
            ("ids", capacity),
            ("sizes", classes),
            ("pointers", classes),
        ):
            self.register_buffer(name, torch.empty(size, dtype=torch.int64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.keys.copy_(F.normalize(torch.randn(self.keys.shape), dim=1))
        self.sizes.zero_()
        self.divide(torch.ones(len(self.sizes)) / len(self.sizes))

    @property
    def smallest(self) -> int:
        return self.least * len(self.sizes)

    @torch.no_grad()
    def divide(self, prior: Float[Tensor, " C"]) -> None:
        """Give every class its places by how frequent it is; the queue is emptied where that changes them."""
        shares = self.least + prior.double().cpu() * (len(self) - self.least * len(prior))
        # Rounded up as a running sum, as in the release: the places add up to K, and each class has its least.
        ends = (shares.cumsum(0) - 1e-6).ceil().long().clamp(max=len(self))
        ends[-1] = len(self)
        sizes = ends.diff(prepend=ends.new_zeros(1)).to(self.sizes.device)
        if not torch.equal(sizes, self.sizes):
            self.sizes.copy_(sizes)
            self.labels.fill_(-1)
            self.ids.fill_(-1)
            self.pointers.zero_()

    @torch.no_grad()
    def enqueue(self, keys: Float[Tensor, "B d"], ids: Int[Tensor, " B"], labels: Int[Tensor, " B"]) -> None:
        """Put the keys of all ranks, in rank order, where the oldest of their classes are; of too many the last stay.

        Args:
            keys: of this rank.
            ids: the item of each.
            labels: the class of each; keys labelled −1 are left out.
        """
        ranks = Ranks.present()
        counts = ranks.counts(len(keys), keys.device)
        keys, ids, labels = (ranks.gather(t, counts) for t in (keys, ids, labels))
        order = labels.argsort(stable=True)
        order = order[labels[order] >= 0]
        keys, ids, labels = keys[order], ids[order], labels[order]
        arrived = torch.bincount(labels, minlength=len(self.sizes))
        number = torch.arange(len(labels), device=labels.device) - (arrived.cumsum(0) - arrived)[labels]
        # Where more arrive than fit, a place would be written twice, and which key stays is not defined.
        last = number >= (arrived - self.sizes)[labels]
        first = self.sizes.cumsum(0) - self.sizes
        places = (first[labels] + (self.pointers[labels] + number) % self.sizes[labels].clamp_min(1))[last]
        self.keys[places] = keys[last].to(self.keys.dtype)
        self.ids[places], self.labels[places] = ids[last], labels[last]
        self.pointers.copy_((self.pointers + arrived) % self.sizes.clamp_min(1))

    def extra_repr(self) -> str:
        return f"{len(self)}, {self.keys.shape[1]}, {len(self.sizes)}, least={self.least}"
