"""Attention between patches and sentences whose weights are sigmoids, both ways."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..heads import Linear

PAPERS = {"prior": ("SigmoidAttention",)}


class SigmoidAttention(nn.Module):
    """Patches read sentences and sentences read patches, by one layer without residual.

        c_v = σ(Q_v K_sᵀ / √D) V_s,   c_s = σ(Q_s K_vᵀ / √D) V_v

    Weights are sigmoids of single products: they do not compete, and nothing is divided by the number of keys.

    Args:
        width: D, of patches and of sentences.

    Source: Cheng et al., "PRIOR: Prototype Representation Joint Learning from Medical Images and Reports" (2023), arXiv
    2307.12577.

    >>> import torch
    >>> real = torch.ones(2, 3, dtype=torch.bool)
    >>> [c.shape for c in SigmoidAttention(8)(torch.zeros(2, 5, 8), torch.zeros(2, 3, 8), real)]
    [torch.Size([2, 5, 8]), torch.Size([2, 3, 8])]
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_patches = Linear(width, 3 * width, bias=True)
        self.of_sentences = Linear(width, 3 * width, bias=True)

    def forward(
        self,
        patches: Float[Tensor, "B P D"],
        sentences: Float[Tensor, "B K D"],
        real: Bool[Tensor, "B K"],
    ) -> tuple[Float[Tensor, "B P D"], Float[Tensor, "B K D"]]:
        """Return what patches read of sentences, and what sentences read of patches.

        Args:
            patches, sentences: their vectors.
            real: which sentences are no padding. No patch reads the others.
        """
        q_v, k_v, v_v = self.of_patches(patches).chunk(3, -1)
        q_s, k_s, v_s = self.of_sentences(sentences).chunk(3, -1)
        scale = patches.shape[-1] ** -0.5
        of_sentences = (q_v @ k_s.mT * scale).sigmoid() * real[:, None]
        return of_sentences @ v_s, (q_s @ k_v.mT * scale).sigmoid() @ v_v
