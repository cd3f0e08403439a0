"""One transformer over the tokens of several columns, read at a token of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..towers.transformer import Embedding, TransformerBlock
from .tokens import ColumnTokens


class SingleStream(nn.Module):
    """``[read-out; tokens of column 1; …; tokens of column n]`` through blocks in which all attend to all.

    Args:
        states: the width of each column's states.
        width: of the transformer; a multiple of 4.
        depth: number of blocks.
        heads: attention heads; divides ``width``.

    >>> stream = SingleStream({"image": 12, "text": 8}, 16, depth=1)
    >>> tokens = torch.ones(2, 5, 16)
    >>> stream(tokens, torch.ones(2, 5, dtype=torch.bool)).shape
    torch.Size([2, 16])
    """

    def __init__(self, states: Mapping[str, int], width: int, depth: int, heads: int = 4) -> None:
        super().__init__()
        self.width = width
        self.tokens = nn.ModuleDict({column: ColumnTokens(of, width) for column, of in states.items()})
        self.start = Embedding(1, width, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, depth, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"]) -> Float[Tensor, "B W"]:
        """Return the state of the read-out token behind the last block.

        Args:
            tokens: of all columns.
            mask: the tokens that are attended to.
        """
        x, mask = self.begun(tokens, mask)
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.norm(x[:, 0])

    def begun(
        self, tokens: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"]
    ) -> tuple[Float[Tensor, "B m W"], Bool[Tensor, "B m"]]:
        """Return tokens and their mask with the read-out token before them, as the first block takes them."""
        x = torch.cat([self.start.weight.to(tokens).expand(len(tokens), 1, -1), tokens], 1)
        return x, torch.cat([mask.new_ones(len(mask), 1), mask], 1)
