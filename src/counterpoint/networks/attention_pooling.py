"""Pooling of states by queries that attend to them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .towers.transformer import Embedding

PAPERS = {"coca": ("AttentionPooler",), "prior": ("MeanQueryPooler",)}


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


class MeanQueryPooler(nn.Module):
    """One layer of attention from the mean of some states to the mean and the states, as CLIP pools a ResNet.

    >>> import torch
    >>> MeanQueryPooler(8, heads=2)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 8])

    Args:
        width: of the states.
        heads: attention heads; divides ``width``.
        positions: states that have learned positions, behind that of the mean; 0 for none. Then the order of the states
            does not matter.

    Source: CLIP (arXiv 2103.00020); without positions, PRIOR (arXiv 2307.12577).
    """

    def __init__(self, width: int, heads: int = 4, positions: int = 0) -> None:
        super().__init__()
        self.positions = Embedding(positions + 1, width, std=width**-0.5) if positions else None
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(
        self, x: Float[Tensor, "B n W"], mask: Bool[Tensor, "B n"] | None = None
    ) -> Float[Tensor, "B W"]:
        """Return one vector of the states.

        Args:
            x: the states.
            mask: which of them count; all unless given. Where none does, the mean is zero.
        """
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        states = torch.cat([mean[:, None], x], 1)
        if self.positions is not None:
            states = states + self.positions.weight
        padding = ~F.pad(mask, (1, 0), value=True)
        pooled: Tensor = self.attention(
            states[:, :1], states, states, key_padding_mask=padding, need_weights=False
        )[0]
        return pooled[:, 0]
