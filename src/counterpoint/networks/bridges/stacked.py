"""A finer view of the picture, added to the tokens of the coarse one layer by layer."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, get_args

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...registry import unknown
from .base import Bridge, Given, Grouping, Seen

PAPERS = {"deepstack": ("StackedBridge",)}
_FIRST = 1  # layer in front of which the first group is added


class StackedBridge(Bridge):
    """A linear layer on all patches; those of the finer view are added to the coarse tokens in front of layers.

    A finer view of g times the side has g² times the patches. They are divided into g² groups of as many patches as the
    coarse view has; group k is added to the tokens in front of layer 1 + k.

        strided:   group (i, j) is ``H[i::g, j::g]`` of the stitched map H: all patches of a token are in its cell
        tiles:     group (i, j) is one tile of the picture, which no token of the coarse view corresponds to
        repeated:  every group is the coarse view again: depth without detail

    Args:
        width, out, grid, tokens, std: as of `Bridge`.
        tiles: g.
        groups: ``strided``, ``tiles`` or ``repeated``.

    Raises:
        UnknownNameError: for another kind of groups.

    Source: Meng et al., "DeepStack" (2024), arXiv 2406.04334: DeepStack-L with ``start=1`` and ``interval=1``.
    """

    fine: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("tiles", "groups")

    def __init__(
        self,
        width: int,
        out: int,
        grid: tuple[int, int],
        tokens: int | None = None,
        std: float = 0.02,
        tiles: int = 2,
        groups: Grouping = "strided",
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.one_for_each()
        if groups not in get_args(Grouping):
            raise unknown("kind of groups", groups, get_args(Grouping))
        self.tiles, self.groups = tiles, groups
        self.linear = self.into_words(width, out)

    @property
    def deepest(self) -> int:
        return _FIRST + self.tiles**2 - 1

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        coarse = self.linear(seen.last)
        if self.groups == "repeated":
            stacked = [coarse] * self.tiles**2
        else:
            assert seen.fine is not None
            rows, columns = self.grid
            # By rows of the stitched map: tile, row in it, tile, column in it.
            split = (self.tiles, rows, self.tiles, columns)
            if self.groups == "strided":
                split = (rows, self.tiles, columns, self.tiles)
            whole = self.linear(seen.fine).unflatten(1, split)
            axes = (2, 4, 0, 1, 3, 5) if self.groups == "strided" else (1, 3, 0, 2, 4, 5)
            stacked = list(whole.permute(*axes).flatten(3, 4).flatten(0, 1))
        return Given(coarse, {_FIRST + k: partial(_added, group) for k, group in enumerate(stacked)})


def _added(
    group: Float[Tensor, "B K W"], states: Float[Tensor, "B L W"], opening: int
) -> Float[Tensor, "B L W"]:
    """Return states with a group added to the tokens of the picture."""
    behind = states.shape[1] - opening - group.shape[1]
    return states + F.pad(group.to(states.dtype), (0, 0, opening, behind))
