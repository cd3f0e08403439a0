"""A joint encoder of pairs in one stream: words and patches side by side, each of which attends to all."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..heads import Linear
from ..towers.transformer import Embedding, TransformerBlock
from .joint_encoder import is_word

PAPERS = {"alpro": ("ConcatEncoder",)}


class ConcatEncoder(nn.Module):
    """``[words; W patches + positions]`` through blocks in which all attend to all.

    Words that are zero vectors are padding.

    Args:
        width: of words and of the result.
        context_width: of patches.
        patches: of a picture.
        depth: number of blocks.
        heads: attention heads; divides ``width``.

    Source: Li et al., "Align and Prompt: Video-and-Language Pre-training with Entity Prompts" (2021), arXiv 2112.09583,
    pre-norm.

    >>> encoder = ConcatEncoder(8, 12, patches=4, depth=1, heads=2)
    >>> [states.shape for states in encoder.both(torch.ones(2, 5, 8), torch.zeros(2, 4, 12))]
    [torch.Size([2, 5, 8]), torch.Size([2, 4, 8])]
    """

    streams: ClassVar[int] = 1
    """A pair is read from its words alone."""

    def __init__(self, width: int, context_width: int, patches: int, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.project = Linear(context_width, width, bias=True)
        self.patch_positions = Embedding(patches, width, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, depth, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def both(
        self, words: Float[Tensor, "B L W"], patches: Float[Tensor, "B P V"]
    ) -> tuple[Float[Tensor, "B L W"], Float[Tensor, "B P W"]]:
        """Return the states of words and of patches."""
        x = torch.cat([words, self.project(patches) + self.patch_positions.weight], 1)
        seen = torch.cat([is_word(words), patches.new_ones(patches.shape[:2]).bool()], 1)
        for block in self.blocks:
            x = block(x, mask=seen)
        states = self.norm(x)
        return states[:, : words.shape[1]], states[:, words.shape[1] :]

    def forward(
        self, words: Float[Tensor, "B L W"], patches: Float[Tensor, "B P V"]
    ) -> Float[Tensor, "B L W"]:
        """Return the states of words."""
        return self.both(words, patches)[0]

    def fused(
        self, words: Float[Tensor, "B L W"], patches: Float[Tensor, "B P V"]
    ) -> tuple[Float[Tensor, "B L W"]]:
        """Return the states that a pair is read from: those of the words."""
        return (self(words, patches),)
