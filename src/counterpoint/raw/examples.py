"""Some examples of a modality in one object, where each of them ends, and windows of long ones."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

WINDOWS = 8
"""Windows of a long sequence that are looked at, at most, where one alone does not show all of it."""


def ends(values: Float[Tensor, "n T *rest"]) -> Int[Tensor, " n"]:
    """Return where each of some sequences ends: behind its last time at which anything was measured.

    >>> ends(torch.tensor([[1.0, float("nan"), 2.0, float("nan")], [float("nan")] * 4]))
    tensor([3, 0])
    """
    is_padding: Bool[Tensor, "n T"] = values.isnan().flatten(2).all(2) if values.ndim > 2 else values.isnan()
    times = values.shape[1]
    if not times:
        return torch.zeros(len(values), dtype=torch.long, device=values.device)
    # The first zero from behind: of a batch of sounds several times as fast as a maximum over all places.
    behind = is_padding.flip(1).to(torch.uint8).argmin(1)
    return torch.where(is_padding.all(1), 0, times - behind)


def padded(arrays: Sequence[np.ndarray]) -> Float[Tensor, "n T *rest"]:
    """Return arrays of different lengths as one tensor, NaN where one has ended; at least one place long."""
    longest = max(1, *map(len, arrays)) if arrays else 1
    rest = arrays[0].shape[1:] if arrays else ()
    whole = np.full((len(arrays), longest, *rest), np.nan, np.float32)
    for one, array in zip(whole, arrays, strict=True):
        one[: len(array)] = array
    return torch.from_numpy(whole)


def read_each(paths: Sequence[str | Path], read: Callable[[bytes], np.ndarray]) -> list[np.ndarray]:
    """Read files by what reads the bytes of one.

    Raises:
        ValueError: for one that cannot be read so; the message names it.
    """
    examples = []
    for path in paths:
        try:
            examples.append(read(Path(path).read_bytes()))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return examples


class Raw(Sequence[Any], ABC):
    """Some examples of a modality in one object, each of them one of its kind again."""

    @property
    @abstractmethod
    def values(self) -> Tensor:
        """The examples, a row each."""

    @abstractmethod
    def with_values(self, values: Tensor) -> Self:
        """Return other examples that are measured alike."""

    def ends(self) -> Int[Tensor, " n"]:
        """Return where the values of each example end."""
        return ends(self.values)

    def taken(self, rows: Tensor) -> Self:
        """Return the examples at some positions."""
        return self.with_values(self.values[rows])

    def without(self, mask: Bool[Tensor, " n"]) -> Self:
        """Return examples of which some say nothing: they are zero all along."""
        return self.with_values(self.values.masked_fill(mask.view(-1, *(1,) * (self.values.ndim - 1)), 0))

    def changed(self, keys: Int[Tensor, " n"], change: Callable[[Tensor, torch.Generator], Tensor]) -> Self:
        """Return every example changed by itself, up to its end, by draws of its own key."""
        values = self.values.clone()
        for row, (end, key) in enumerate(zip(self.ends().tolist(), keys.tolist(), strict=True)):
            values[row, :end] = change(self.values[row, :end], torch.Generator().manual_seed(key))
        return self.with_values(values)

    def windows(self, length: int) -> Iterator[tuple[Int[Tensor, " k"], Self]]:
        """Yield windows of so many places, evenly spread from the beginning to the end of every example.

        An example has as many as cover it, `WINDOWS` at most, and one if it is no longer than a window. Each time
        comes one window of every example that has a further one, with the rows of these examples.
        """
        lengths = ends(self.values)
        counts = (-(-lengths // length)).clamp(1, WINDOWS)
        for number in range(int(counts.max()) if len(counts) else 0):
            rows = torch.nonzero(counts > number)[:, 0]
            spare = (lengths[rows] - length).clamp_min(0)
            starts = spare * number // (counts[rows] - 1).clamp_min(1)
            inside = torch.arange(min(length, self.values.shape[1]), device=self.values.device)
            yield rows, self.with_values(self.values[rows[:, None], starts[:, None] + inside])

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Self:
        """Return one example, or several by a slice, a list or an array of their positions."""
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]  # backwards too, which tensors have no slices for
        elif isinstance(rows, Tensor):
            # A tensor of one element, even a mask, is a number too, and an array is not.
            rows = rows.cpu().numpy()
        try:
            row = operator.index(rows)
        except TypeError:
            chosen = np.ascontiguousarray(rows)
            return self.taken(torch.as_tensor(chosen if chosen.size else chosen.astype(int)))
        if not -len(self) <= row < len(self):
            raise IndexError(f"there are {len(self)} examples, and no number {row}")
        return self.taken(torch.tensor([row % len(self)]))

    def __iter__(self) -> Iterator[Self]:
        return (self[row] for row in range(len(self)))
