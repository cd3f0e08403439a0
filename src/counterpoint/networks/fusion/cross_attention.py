"""A pre-norm transformer block whose queries attend to the states of another network."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..heads import Linear, ResidualMLP


class CrossAttentionBlock(nn.Module):
    """``y = x + attention(norm(x), norm(context))``, then ``y + mlp(norm(y))``.

    >>> import torch
    >>> block = CrossAttentionBlock(8, heads=2)
    >>> block(torch.zeros(2, 5, 8), torch.zeros(2, 3, 8)).shape
    torch.Size([2, 5, 8])

    Args:
        width: of the queries.
        heads: attention heads; divides ``width``.
        residual: whether x is added to what attention returns. MultiMAE's decoder leaves it out.
        context: width of the context; that of the queries unless given.
    """

    def __init__(self, width: int, heads: int = 4, residual: bool = True, context: int | None = None) -> None:
        super().__init__()
        self.heads, self.residual = heads, residual
        context = context or width
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(context)
        self.q = Linear(width, width, bias=True)
        self.kv = Linear(context, 2 * width, bias=True)
        self.out = Linear(width, width, bias=True)
        self.mlp = ResidualMLP(width)

    def forward(
        self,
        x: Float[Tensor, "B n width"],
        context: Float[Tensor, "B m context"],
        mask: Bool[Tensor, "B m"] | None = None,
    ) -> Float[Tensor, "B n width"]:
        """Return the queries after the block.

        Args:
            x: the queries.
            context: gives keys and values.
            mask: the states of the context that are attended to; all unless given.
        """
        q = self.q(self.norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(self.context_norm(context)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = None if mask is None else mask[:, None, None]
        attended = self.out(
            F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2)
        )
        return self.mlp(x + attended if self.residual else attended)
