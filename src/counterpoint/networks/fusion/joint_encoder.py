"""A joint encoder of pairs: the words of a text attend to each other and to the patches of a picture."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..heads import Linear
from ..towers.transformer import Embedding

PAPERS = {"albef": ("JointEncoder",)}


class JointBlock(nn.Module):
    """``x + self(norm(x))``, then ``x + cross(norm(x), norm(context))``, then ``x + mlp(norm(x))``."""

    def __init__(self, width: int, context_width: int, heads: int, depth: int) -> None:
        super().__init__()
        residual = (2 * depth * width) ** -0.5
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.context_norm = nn.LayerNorm(context_width)
        self.qkv = Linear(width, 3 * width, bias=True)
        self.out = Linear(width, width, std=residual, bias=True)
        self.q, self.kv = Linear(width, width, bias=True), Linear(context_width, 2 * width, bias=True)
        self.cross_out = Linear(width, width, std=residual, bias=True)
        self.up = Linear(width, 4 * width, std=(2 * width) ** -0.5, bias=True)
        self.down = Linear(4 * width, width, std=residual, bias=True)

    def forward(
        self,
        x: Float[Tensor, "B L W"],
        context: Float[Tensor, "B P V"],
        mask: Bool[Tensor, "B L"],
        attention: list[Tensor] | None = None,
        context_mask: Bool[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B L W"]:
        """Return the states of words after the block.

        Args:
            x: those before it.
            context: the states of patches.
            mask: the words that are attended to; the others are padding.
            attention: a list to which the probabilities of cross-attention ``(B, heads, L, P)`` are appended. They are
                part of the graph, and are only computed where they are asked for.
            context_mask: the states of the context that are attended to; all unless given.
        """
        of_self, of_cross, of_mlp = self.norms
        q, k, v = self.qkv(of_self(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        q = self.q(of_cross(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(self.context_norm(context)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if attention is None:
            seen = None if context_mask is None else context_mask[:, None, None]
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        else:
            attention.append((q @ k.mT * q.shape[-1] ** -0.5).softmax(-1))
            attended = attention[-1] @ v
        x = x + self.cross_out(attended.transpose(1, 2).flatten(2))
        fed: Tensor = self.down(F.gelu(self.up(of_mlp(x))))
        return x + fed


class JointEncoder(nn.Module):
    """Blocks in which the words of a text read the patches of a picture.

    Patches get learned positions, as those of a convolutional tower have none. Words that are zero vectors are padding.

    Args:
        width: of words and of the result.
        context_width: of patches.
        patches: of a picture; 0 for a context that needs no positions.
        depth: number of blocks.
        heads: attention heads; divides ``width``.

    Source: the multimodal encoder of ALBEF (arXiv 2107.07651), pre-norm.

    >>> import torch
    >>> encoder = JointEncoder(8, 12, patches=4, depth=1, heads=2)
    >>> encoder(torch.ones(2, 5, 8), torch.zeros(2, 4, 12)).shape
    torch.Size([2, 5, 8])
    """

    streams: ClassVar[int] = 1
    """The number of columns whose states come out."""

    def __init__(self, width: int, context_width: int, patches: int, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.patch_positions = Embedding(patches, context_width, std=0.02) if patches else None
        self.blocks = nn.ModuleList(JointBlock(width, context_width, heads, depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        words: Float[Tensor, "B L W"],
        patches: Float[Tensor, "B P V"],
        attention_of: int | None = None,
        patch_mask: Bool[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B L W"] | tuple[Float[Tensor, "B L W"], Float[Tensor, "B h L P"]]:
        """Return the states of words; with the probabilities of cross-attention where a block is named for these."""
        mask = is_word(words)
        # A text of padding alone sees its first position: without any key, attention is not defined.
        mask = mask | ~mask.any(1, keepdim=True)
        context = patches if self.patch_positions is None else patches + self.patch_positions.weight
        attention: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            words = block(words, context, mask, attention if number == attention_of else None, patch_mask)
        states = self.norm(words)
        return (states, attention[0]) if attention else states

    def fused(
        self,
        words: Float[Tensor, "B L W"],
        patches: Float[Tensor, "B P V"],
        patch_mask: Bool[Tensor, "B P"] | None = None,
    ) -> tuple[Float[Tensor, "B L W"]]:
        """Return the states of every stream: of the words alone."""
        return (self(words, patches, patch_mask=patch_mask),)


def is_word(words: Float[Tensor, "B L W"]) -> Bool[Tensor, "B L"]:
    """Return which words of texts are no padding, whose vectors are zero."""
    return (words != 0).any(-1)
