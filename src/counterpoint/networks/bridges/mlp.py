"""Two linear layers: a token for each patch."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..heads import Linear
from .base import Bridge, Given, Seen


class MLPBridge(Bridge):
    """Two linear layers with a GELU between them on the features of each patch.

    The arguments are those of `Bridge`.

    Source: Liu et al., "Improved Baselines with Visual Instruction Tuning" (2023), arXiv 2310.03744.
    """

    placed: ClassVar[bool] = True

    def __init__(
        self, width: int, out: int, grid: tuple[int, int], tokens: int | None = None, std: float = 0.02
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.one_for_each()
        self.up, self.down = Linear(width, out, bias=True), self.into_words(out, out)

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        return Given(self.down(F.gelu(self.up(seen.last))))
