"""A non-local block: every instance of a bag sees all others."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

PAPERS = {"mil-multimodal": ("NonLocal",)}


class NonLocal(nn.Module):
    """``x'_n = x_n + Σ_k softmax_k(θ(x_n) · φ(x_k)) g(x_k)``, with θ, φ and g linear.

    The result depends on the order of the instances only as the instances do. What x'_n says is no longer
    about instance n alone: maps of where something is come from x.

    >>> import torch
    >>> NonLocal(8)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])

    Args:
        width: of the instances.
        inner: the size that θ and φ map to; half the width unless stated.

    Source: Wang et al., "Non-local Neural Networks" (2018), arXiv 1711.07971, as used for regions of an image
    by Wang et al., "Using Multiple Instance Learning to Build Multimodal Representations" (2022), arXiv
    2212.05561.
    """

    def __init__(self, width: int, inner: int | None = None) -> None:
        super().__init__()
        inner = max(1, width // 2) if inner is None else inner
        self.theta = nn.Linear(width, inner, bias=False)
        self.phi = nn.Linear(width, inner, bias=False)
        self.g = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Float[Tensor, "B N width"], mask: Bool[Tensor, "B N"] | None = None
    ) -> Float[Tensor, "B N width"]:
        """Return the bags after the block; instances where ``mask`` is False are seen by none."""
        scores = self.theta(x) @ self.phi(x).mT
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], float("-inf"))
        return x + scores.softmax(-1) @ self.g(x)
