"""A co-attention encoder of pairs: words and patches are two streams, each of which reads the other."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..heads import Linear
from ..towers.transformer import Embedding
from .joint_encoder import JointBlock, is_word

PAPERS = {"less-bimodal-supervision": ("CoEncoder",)}


class CoEncoder(nn.Module):
    """Two stacks of blocks, of words and of patches; each attends to itself and to the other's previous states.

        w ← block_w(w, p),   p ← block_p(p, w)      at once, from the previous values of both

    Patches are projected to the width of words and get learned positions. Words that are zero vectors are padding.

    Args:
        width: of words and of both results.
        context_width: of patches.
        patches: of a picture; 0 for a context that needs no positions.
        depth: number of blocks of each stream.
        heads: attention heads; divides ``width``.

    Source: Segal et al., "Training Vision-Language Models with Less Bimodal Supervision" (2022), arXiv 2211.00262,
    after METER (arXiv 2111.02387); pre-norm.

    >>> import torch
    >>> encoder = CoEncoder(8, 12, patches=4, depth=1, heads=2)
    >>> [states.shape for states in encoder.fused(torch.ones(2, 5, 8), torch.zeros(2, 4, 12))]
    [torch.Size([2, 5, 8]), torch.Size([2, 4, 8])]
    """

    streams: ClassVar[int] = 2

    def __init__(self, width: int, context_width: int, patches: int, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.project = Linear(context_width, width, bias=True)
        self.patch_positions = Embedding(patches, width, std=0.02) if patches else None
        self.word_blocks, self.patch_blocks = (
            nn.ModuleList(JointBlock(width, width, heads, depth) for _ in range(depth)) for _ in range(2)
        )
        self.norm, self.patch_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self, words: Float[Tensor, "B L W"], patches: Float[Tensor, "B P V"]
    ) -> Float[Tensor, "B L W"]:
        """Return the states of words."""
        return self.fused(words, patches)[0]

    def fused(
        self,
        words: Float[Tensor, "B L W"],
        patches: Float[Tensor, "B P V"],
        patch_mask: Bool[Tensor, "B P"] | None = None,
    ) -> tuple[Float[Tensor, "B L W"], Float[Tensor, "B P W"]]:
        """Return the states of words and of patches.

        Args:
            words, patches: their states before.
            patch_mask: the patches that are attended to, one of each row at least; all unless given.
        """
        mask = is_word(words)
        # A text of padding alone sees its first position: without any key, attention is not defined.
        mask = mask | ~mask.any(1, keepdim=True)
        patches = self.project(patches)
        if self.patch_positions is not None:
            patches = patches + self.patch_positions.weight
        seen = patches.new_ones(patches.shape[:2]).bool() if patch_mask is None else patch_mask
        for of_words, of_patches in zip(self.word_blocks, self.patch_blocks, strict=True):
            words, patches = (
                of_words(words, patches, mask, context_mask=seen),
                of_patches(patches, words, seen, context_mask=mask),
            )
        return self.norm(words), self.patch_norm(patches)
