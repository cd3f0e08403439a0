"""Examples as a method gets them: views of columns, batches of views, and what is computed of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAPERS = {"crl-framework": ("View",)}

Embeddings = dict[str, Tensor]
"""Tensors that a method computed per sample, by name (``"image"``, ``"text.1"``); the first axis is the batch."""
Pairs = dict[str, Tensor]
"""Pairs of rows of a batch, by name: indices of rows, labels; the first axis is the pair. Their names are not those of
`Embeddings`."""


@dataclass(frozen=True)
class View:
    """One look at one column of an example.

    Attributes:
        modality: of the column, by its name in ``counterpoint.modalities``.
        augmentation: a view that the modality has (``"plain"``, ``"weak"``, ``"strong"``, ``"simclr"``).
        column: that is looked at; the first of its modality, which bears the modality's name, unless given.
        like: the name of the view that this one is derived from: it shows the same part of the example (the same
            caption, crop and mirroring, seconds or steps), whatever else is done to either. Of columns that were
            recorded together it shows the same time.
        size: side of the view, as a share of the one that the column's tower takes; of pictures. A pass of a view of
            half the side counts as a quarter.
        framed: ``Batch.frames`` says where in the picture the view lies.

    Raises:
        ValueError: for a size that is not above 0 and at most 1.
    """

    modality: str
    augmentation: str = "plain"
    column: str = ""
    like: str = ""
    size: float = 1.0
    framed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column or self.modality)
        if not 0 < self.size <= 1:
            raise ValueError(
                f"a view of size {self.size:g}: give a share of the tower's side above 0 and at most 1, as it takes no "
                "more pixels than that"
            )


ViewSpec = Mapping[str, View]
"""The views that a batch holds, by name. ``{"image": View("image", "weak"), "text": View("text")}``"""


@dataclass(frozen=True)
class Batch:
    """Some examples, seen through some views.

    Attributes:
        ids: stable integers, the same on every rank and in every epoch.
        views: a view's name to its tensor, the input of its tower: images ``(B, 3, H, W)`` in [0, 1], token ids
            ``(B, L)``.
        labels: the data's labels by name: classes ``(B,)``, −1 where an example has none; tags ``(B, C)``, 1 where one
            applies, 0 where it does not, −1 where that is not known; numbers ``(B,)`` as floats, NaN where they are not
            known; points ``(B, 2)``, x and y as shares of width and height in [0, 1], NaN where they are not known;
            timelines ``(B, T)``, a number for each place in time, NaN where it is not known and behind the last.
        present: a column to which of the examples have a value in it, ``(B,)``; of a column that is not named, all have
            one. The views of the others hold some tensor, which must not matter.
        frames: of each view that asks for it, ``View.framed``, where in the picture it lies ``(B, 2, 3)``; see
            `counterpoint.frames`. The picture is the whole one, upright, also where the data gives a square of it.
    """

    ids: Int[Tensor, " B"]
    views: Mapping[str, Tensor]
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    present: Mapping[str, Bool[Tensor, " B"]] = field(default_factory=dict)
    frames: Mapping[str, Float[Tensor, "B 2 3"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, view: str) -> Tensor:
        return self.views[view]

    def has(self, column: str) -> Bool[Tensor, " B"]:
        """Return which of the examples have a value in a column.

        >>> batch = Batch(torch.arange(3), {}, present={"audio": torch.tensor([True, False, True])})
        >>> batch.has("audio").tolist(), batch.has("text").tolist()
        ([True, False, True], [True, True, True])
        """
        there = self.present.get(column)
        return torch.ones_like(self.ids, dtype=torch.bool) if there is None else there

    def to(self, device: Any) -> Batch:
        return self.map(lambda t: t.to(device, non_blocking=True))

    def split(self, size: int) -> Iterator[Batch]:
        """Yield consecutive parts of at most ``size`` examples; of none, one part without any."""
        for start in range(0, max(len(self), 1), size):
            yield self.map(itemgetter(slice(start, start + size)))

    def divide(self, count: int) -> Iterator[Batch]:
        """Yield consecutive parts, so many, whose sizes differ by 1 at most."""
        ends = [len(self) * number // count for number in range(count + 1)]
        for start, end in pairwise(ends):
            yield self.map(itemgetter(slice(start, end)))

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with every tensor of it changed in the same way: moved, or cut to some examples."""
        named = (self.views, self.labels, self.present, self.frames)
        return Batch(function(self.ids), *({k: function(v) for k, v in m.items()} for m in named))


@runtime_checkable
class TrainingExamples(Protocol):
    """All examples that a run trains on, in the order of the data; the same on every rank.

    Attributes:
        ids: of the examples.
        labels: by name, as in a batch.
    """

    ids: Int[Tensor, " N"]
    labels: Mapping[str, Tensor]

    def map(self, function: Callable[[Batch], Tensor]) -> Tensor:
        """Return what a function of batches says of all examples ``(N, …)``, in their order, on the processor.

        The batches hold the plain view of each column that the method looks at, by the column's name. The ranks share
        the work, and each gets the whole; the function must work example by example, and return as many rows as a
        batch has.
        """
        ...
