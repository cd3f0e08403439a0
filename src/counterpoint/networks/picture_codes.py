"""Pictures as words: each patch is the number of the cluster that its features are in."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .bridges.base import Bridge, Given, Seen
from .towers.transformer import Embedding

PAPERS = {"mixture-of-mamba": ("CodeBridge",)}


class CodeBridge(Bridge):
    """A vector of each patch's code, the number of the nearest of K centres.

        c = argmin_k ‖v − m_k‖,   token = E_c,   logits of a code from a state s: E s

    Args:
        width, out, grid, std: as of `Bridge`.
        codes: K.

    Attributes:
        centres: of k-means; zero until they are fitted.

    Source: discrete tokens of pictures in a language model: Chameleon Team, "Chameleon: Mixed-Modal Early-Fusion
    Foundation Models" (2024), arXiv 2405.09818, which trains a VQ-GAN for them.
    """

    def __init__(self, width: int, out: int, grid: tuple[int, int], std: float, codes: int) -> None:
        super().__init__(width, out, grid, None, std)
        self.embedding = Embedding(codes, out, std=std)
        self.register_buffer("centres", torch.zeros(codes, width))

    centres: Tensor

    @torch.no_grad()
    def codes(self, patches: Float[Tensor, "B n w"]) -> Int[Tensor, "B n"]:
        """Return the code of each patch."""
        return torch.cdist(patches, self.centres.to(patches)[None]).argmin(-1)

    def fit(self, patches: Float[Tensor, "m w"], seed: int) -> None:
        """Find the centres by k-means.

        Args:
            patches: features of patches of many pictures.
            seed: of the first centres, and of the batches.

        Raises:
            ValueError: for fewer patches than codes.
        """
        if (codes := len(self.centres)) > len(patches):
            raise ValueError(f"codes={codes} of {len(patches)} patches to train on: ask for fewer")
        from sklearn.cluster import MiniBatchKMeans

        fitted = MiniBatchKMeans(codes, random_state=seed, n_init=1).fit(patches.cpu().numpy())
        self.centres.copy_(torch.from_numpy(fitted.cluster_centers_))

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        return Given(self.embedding(self.codes(seen.last)))
