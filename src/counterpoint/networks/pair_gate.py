"""A gate for every pair of classes: the dimensions in which two classes may be alike."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .batch_norm import BatchNorm1d

PAPERS = {"hydra": ("PairGate",)}


class PairGate(nn.Module):
    """``σ(MLP((e_a + e_b) / 2))`` of classes a and b, the same for b and a.

    The perceptron is ReLU–BatchNorm–linear twice. While training, statistics are over the batch of pairs on all ranks.

    Args:
        classes: their number; −1, for none, has a vector of its own.
        out: dimensions of a gate.
        width: of the vectors e, 512 in the paper; twice that is the hidden layer's.

    Source: Wu et al., "Rethinking Positive Pairs in Contrastive Learning" (2024), arXiv 2410.18200.

    >>> gate = PairGate(5, 3).eval()
    >>> a, b = torch.tensor([0, 1, 4]), torch.tensor([1, 0, 4])
    >>> gate(a, b).shape, torch.equal(gate(a, b), gate(b, a))
    (torch.Size([3, 3]), True)
    """

    def __init__(self, classes: int, out: int, width: int = 512) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, width)
        self.network = nn.Sequential(
            nn.ReLU(),
            BatchNorm1d(width),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            BatchNorm1d(2 * width),
            nn.Linear(2 * width, out),
        )

    def forward(self, a: Int[Tensor, " B"], b: Int[Tensor, " B"]) -> Float[Tensor, "B out"]:
        last = self.embedding.num_embeddings - 1
        first, second = (self.embedding(torch.where(one < 0, last, one)) for one in (a, b))
        return self.network((first + second) / 2).sigmoid()
