"""One linear layer: a token for each patch."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from .base import Bridge, Given, Seen


class LinearBridge(Bridge):
    """A linear layer on the features of each patch.

    The arguments are those of `Bridge`.

    Source: Liu et al., "Visual Instruction Tuning" (2023), arXiv 2304.08485.
    """

    placed: ClassVar[bool] = True

    def __init__(
        self, width: int, out: int, grid: tuple[int, int], tokens: int | None = None, std: float = 0.02
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.one_for_each()
        self.linear = self.into_words(width, out)

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        return Given(self.linear(seen.last))
