"""Cross-attention that a trained network gets between its layers, behind gates that are closed at the start."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..experts import MixtureOfExperts
from ..heads import Linear

PAPERS = {"evlm": ("GatedCrossAttention",), "cosmo": ("GatedCrossAttention",)}


class GatedCrossAttention(nn.Module):
    """``y = x + tanh(a) attention(norm(x), context)``, then ``y + tanh(b) feed_forward(norm(y))``.

    The gates a and b start at zero, so that the block changes nothing at first. The output layers do not start at
    zero, else nothing would ever get a gradient.

    >>> block = GatedCrossAttention(8, context=6)
    >>> x = torch.randn(2, 5, 8)
    >>> torch.equal(block(x, torch.randn(2, 3, 6)), x)
    True

    Args:
        width: of the queries.
        context: width of the states that are attended to, which come normalised.
        experts: feed-forward networks, of which each token is served by two; 1 for a dense block.
        compression: divides the inner widths, which are ``width`` and four times ``width``.

    Raises:
        ValueError: for a compression that does not divide the width.

    Source: Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning" (2022), arXiv 2204.14198.
    """

    def __init__(self, width: int, context: int, experts: int = 1, compression: int = 1) -> None:
        super().__init__()
        if width % compression:
            raise ValueError(f"compression={compression} does not divide the width {width}")
        inner, hidden = width // compression, 4 * width // compression
        self.heads = math.gcd(inner, 4)
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.kv = Linear(width, inner), Linear(context, 2 * inner)
        self.out = Linear(inner, width)

        def feed_forward() -> nn.Module:
            return nn.Sequential(Linear(width, hidden), nn.GELU(), Linear(hidden, width))

        self.feed_forward: nn.Module = (
            MixtureOfExperts(width, feed_forward, experts, choices=2, renormalise=True)
            if experts > 1
            else feed_forward()
        )
        self.attention_gate, self.feed_gate = (nn.Parameter(torch.zeros(1)) for _ in range(2))

    def forward(
        self, x: Float[Tensor, "B n width"], context: Float[Tensor, "B m context"]
    ) -> Float[Tensor, "B n width"]:
        """Return the queries after the block."""
        q = self.q(self.norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        x = x + self.attention_gate.tanh() * attended
        u = self.feed_norm(x).flatten(0, 1)
        fed: Tensor = (
            self.feed_forward(u)[0]
            if isinstance(self.feed_forward, MixtureOfExperts)
            else self.feed_forward(u)
        )
        return x + self.feed_gate.tanh() * fed.view_as(x)
