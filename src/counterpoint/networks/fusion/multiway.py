"""A block whose attention is shared by the tokens of all columns, and whose perceptrons are not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..heads import Linear

PAPERS = {"a2summ": ("MultiwayBlock",)}


class MultiwayBlock(nn.Module):
    """``x + attention(norm(x))`` over the tokens of all columns, then ``x + mlp_c(norm_c(x))`` for those of column c.

    Args:
        width: of tokens.
        heads: attention heads; divides ``width``.
        depth: the number of blocks in a row, which the start of the weights follows.
        columns: their number.
        dropout: rate at which the outputs of attention and perceptrons are dropped.

    >>> MultiwayBlock(8, 2, 1, 2)(torch.zeros(1, 5, 8), torch.ones(1, 5, 5, dtype=torch.bool), [2, 3]).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, width: int, heads: int, depth: int, columns: int, dropout: float = 0.0) -> None:
        super().__init__()
        residual = (2 * depth * width) ** -0.5
        self.heads, self.dropped = heads, nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.qkv = Linear(width, 3 * width, bias=True)
        self.out = Linear(width, width, std=residual, bias=True)
        self.perceptrons = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                Linear(width, 4 * width, std=(2 * width) ** -0.5, bias=True),
                nn.GELU(),
                Linear(4 * width, width, std=residual, bias=True),
            )
            for _ in range(columns)
        )

    def forward(
        self, x: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n n"], counts: Sequence[int]
    ) -> Float[Tensor, "B n W"]:
        """Return states after the block.

        Args:
            x: the tokens of each column, one column behind the other.
            mask: the tokens that each token attends to.
            counts: the tokens of each column.
        """
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        x = x + self.dropped(self.out(attended.transpose(1, 2).flatten(2)))
        parts = torch.split(x, list(counts), 1)
        fed = [perceptron(part) for perceptron, part in zip(self.perceptrons, parts, strict=True)]
        return x + self.dropped(torch.cat(fed, 1))
