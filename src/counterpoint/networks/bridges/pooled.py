"""The mean of all patches, as a few tokens."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from .base import Bridge, Given, Seen


class PooledBridge(Bridge):
    """A linear layer from the mean of the patches to all tokens together.

    The arguments are those of `Bridge`.

    Source: Tsimpoukelli et al., "Multimodal Few-Shot Learning with Frozen Language Models" (2021), arXiv 2106.13884.
    """

    order: ClassVar[bool] = False

    def __init__(
        self, width: int, out: int, grid: tuple[int, int], tokens: int | None = None, std: float = 0.02
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.linear = self.into_words(width, self.tokens * out)

    @property
    def own_tokens(self) -> int:
        return 2

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        return Given(self.linear(seen.last.mean(1)).unflatten(1, (self.tokens, -1)))
