"""Pictures that were drawn before: an epoch need not draw again what the last one has drawn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar, final

import torch
from jaxtyping import UInt8
from torch import Tensor

MOST_BYTES = 2**29
"""Memory for pictures of one kind, in a process."""

H = TypeVar("H", bound=Hashable)


@final
class PictureLRU(Generic[H]):
    """Pictures of scenes or clips, from memory where they were drawn lately.

    Args:
        draw: gives the pictures of what is new, at so many pixels a side; they depend on nothing else.
        most: bytes that are kept; those that were asked for least lately are forgotten first.

    >>> drawn = []
    >>> def draw(numbers, pixels):
    ...     drawn.extend(numbers)
    ...     return torch.tensor(numbers, dtype=torch.uint8)[:, None, None].expand(-1, pixels, pixels)
    >>> grey = PictureLRU(draw)
    >>> grey([7, 8, 7], 2)[:, 0, 0], grey([8, 9], 2).shape, drawn
    (tensor([7, 8, 7], dtype=torch.uint8), torch.Size([2, 2, 2]), [7, 8, 9])
    """

    def __init__(self, draw: Callable[[Sequence[H], int], Tensor], most: int = MOST_BYTES) -> None:
        self._draw, self._most = draw, most
        self._known: OrderedDict[tuple[H, int], Tensor] = OrderedDict()
        self._bytes = 0

    def __call__(self, shown: Sequence[H], pixels: int) -> UInt8[Tensor, "n ..."]:
        """Return the pictures of some scenes or clips, in their order; at least one."""
        there = {one: self._known.get((one, pixels)) for one in shown}
        new = [one for one, picture in there.items() if picture is None]
        if new:
            there |= zip(new, self._draw(new, pixels), strict=True)
        for one, picture in there.items():
            if picture is not None:
                self._keep((one, pixels), picture)
        return torch.stack([picture for one in shown if (picture := there[one]) is not None])

    def _keep(self, key: tuple[H, int], picture: Tensor) -> None:
        if key in self._known:
            self._known.move_to_end(key)
            return
        self._known[key] = picture.clone()  # alone: a part of what was drawn together would hold all of that
        self._bytes += picture.nbytes
        while self._bytes > self._most:
            self._bytes -= self._known.popitem(last=False)[1].nbytes
