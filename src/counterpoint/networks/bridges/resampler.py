"""Learned queries that attend to the patches: as few tokens as one likes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..fusion.cross_attention import CrossAttentionBlock
from ..heads import Linear
from ..towers.transformer import Embedding
from .base import Bridge, Given, Seen

_DEPTH = 2


class ResamplerBridge(Bridge):
    """Learned queries attend to the patches and to each other, in two blocks.

    Patches get learned positions. The arguments are those of `Bridge`.

    Source: the Perceiver Resampler of Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning" (2022),
    arXiv 2204.14198.
    """

    def __init__(
        self, width: int, out: int, grid: tuple[int, int], tokens: int | None = None, std: float = 0.02
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.project = Linear(width, out, bias=True)
        self.positions = Embedding(grid[0] * grid[1], out, std=1.0)
        self.queries = Embedding(self.tokens, out, std=1.0)
        heads = math.gcd(out, 4)
        self.blocks = nn.ModuleList(CrossAttentionBlock(out, heads) for _ in range(_DEPTH))
        self.norm, self.out = nn.LayerNorm(out), self.into_words(out, out)

    @property
    def own_tokens(self) -> int:
        return 8

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        patches = self.project(seen.last) + self.positions.weight
        queries = self.queries.weight.expand(len(patches), -1, -1)
        for block in self.blocks:
            queries = block(queries, torch.cat([patches, queries], 1))
        return Given(self.out(self.norm(queries)))
