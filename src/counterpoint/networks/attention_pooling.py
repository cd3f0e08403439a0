"""Pooling of states by learned queries that attend to them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from .towers.transformer import Embedding

PAPERS = {"coca": ("AttentionPooler",)}


class AttentionPooler(nn.Module):
    """One layer of attention from n learned queries to states: ``norm(attention(norm(q), norm(x)))``.

    >>> import torch
    >>> AttentionPooler(8, queries=3, heads=2)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 3, 8])

    Args:
        width: of queries and states.
        queries: n.
        heads: attention heads; divides ``width``.

    Source: Yu et al., "CoCa: Contrastive Captioners are Image-Text Foundation Models" (2022), arXiv 2205.01917; norms
    as in open_clip.
    """

    def __init__(self, width: int, queries: int, heads: int = 4) -> None:
        super().__init__()
        self.query = Embedding(queries, width, std=1.0)
        self.query_norm, self.state_norm, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Float[Tensor, "B P W"]) -> Float[Tensor, "B n W"]:
        states = self.state_norm(x)
        queries = self.query_norm(self.query.weight).expand(len(x), -1, -1)
        return self.norm(self.attention(queries, states, states, need_weights=False)[0])
