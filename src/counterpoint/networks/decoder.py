"""Decoders for masked pictures: from the states of visible patches to predictions of all patches."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .fusion.cross_attention import CrossAttentionBlock
from .heads import Linear
from .masking import gather_patches
from .towers.transformer import Embedding, TransformerBlock


def sine_cosine_positions(width: int, grid: tuple[int, int]) -> Float[Tensor, "n width"]:
    """Return fixed positions of the patches of a grid, row by row.

    The first half of a position encodes the column and the second the row, each as the sines and then the cosines of
    the coordinate at wavelengths from 2π to 10,000 · 2π.

    Raises:
        ValueError: for a width that is no multiple of 4.

    Source: MAE (arXiv 2111.06377).

    >>> sine_cosine_positions(8, (2, 3)).shape
    torch.Size([6, 8])
    """
    if width % 4:
        raise ValueError(f"width={width}: sine-cosine positions of two axes need a multiple of 4")
    frequencies = 10_000 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = (torch.arange(length, dtype=torch.float64)[:, None] * frequencies for length in grid)
    row, column = (torch.cat([angles.sin(), angles.cos()], 1) for angles in (rows, columns))
    both = torch.cat([column.expand(grid[0], -1, -1), row[:, None].expand(-1, grid[1], -1)], 2)
    return both.flatten(0, 1).float()


class MaskedDecoder(nn.Module):
    """A transformer over visible states and mask tokens, with fixed positions.

        x = [W summary, W states at the visible patches and the mask token at all others + positions]
        predictions = norm(blocks(x))

    >>> decoder = MaskedDecoder(8, (3, 3), width=16, depth=1, heads=2)
    >>> summary, patches = decoder(torch.zeros(2, 8), torch.zeros(2, 4, 8), torch.arange(4).expand(2, -1))
    >>> summary.shape, patches.shape
    (torch.Size([2, 16]), torch.Size([2, 9, 16]))

    Args:
        states: the width of the encoder's states.
        grid: rows and columns of the patches.
        width: of the decoder; a multiple of 4.
        depth: number of blocks.
        heads: attention heads; divides ``width``.

    Source: MAE (arXiv 2111.06377).
    """

    positions: Tensor

    def __init__(
        self, states: int, grid: tuple[int, int], width: int = 64, depth: int = 1, heads: int = 4
    ) -> None:
        super().__init__()
        self.embed = Linear(states, width, bias=True)
        self.mask_token = Embedding(1, width, std=0.02)
        self.register_buffer("positions", sine_cosine_positions(width, grid), persistent=False)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, depth, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        summary: Float[Tensor, "B states"],
        states: Float[Tensor, "B k states"],
        index: Int[Tensor, "B k"],
    ) -> tuple[Float[Tensor, "B width"], Float[Tensor, "B n width"]]:
        """Return the decoder's states of the summary, which has no position, and of all patches."""
        visible = self.embed(states)
        tokens = self.mask_token.weight.to(visible.dtype).expand(len(visible), len(self.positions), -1)
        tokens = tokens.scatter(1, index[..., None].expand_as(visible), visible)
        x = torch.cat([self.embed(summary)[:, None], tokens + self.positions], 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x[:, 0], x[:, 1:]


class CrossDecoder(nn.Module):
    """A decoder of one column of several whose visible patches went through one encoder.

        c = W states + positions + e(column),   at the visible patches of all columns
        q = c, or the mask token + positions + e(own),   at the patches of its own column
        predictions = V blocks(y + mlp(norm(y))),   y = attention(norm(q), norm(c))

    The queries are not added to what attention returns.

    >>> decoder = CrossDecoder(8, (3, 3), columns=2, own=1, out=5, width=16, depth=1, heads=2)
    >>> decoder(torch.zeros(2, 4, 8), torch.tensor([[0, 3, 9, 17]] * 2)).shape
    torch.Size([2, 9, 5])

    Args:
        states: the width of the encoder's states.
        grid: rows and columns of the patches, the same for all columns.
        columns: their number.
        own: the number of the column that it decodes, from 0.
        out: the numbers that it predicts of each patch.
        width: of the decoder; a multiple of 4.
        depth: number of blocks behind the cross-attention.
        heads: attention heads; divides ``width``.

    Source: MultiMAE (arXiv 2204.01678). There a global token is part of the context.
    """

    positions: Tensor

    def __init__(
        self,
        states: int,
        grid: tuple[int, int],
        *,
        columns: int,
        own: int,
        out: int,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.columns, self.own = columns, own
        self.embed = Linear(states, width, bias=True)
        self.mask_token = Embedding(1, width, std=0.02)
        self.column_embedding = Embedding(columns, width, std=0.02)
        self.register_buffer("positions", sine_cosine_positions(width, grid), persistent=False)
        self.cross = CrossAttentionBlock(width, heads, residual=False)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, depth, causal=False) for _ in range(depth))
        self.predict = Linear(width, out, bias=True)

    def forward(
        self, states: Float[Tensor, "B k states"], index: Int[Tensor, "B k"]
    ) -> Float[Tensor, "B n out"]:
        """Return predictions of all patches of its column, visible or not.

        Args:
            states: of the visible patches.
            index: of these among the patches of all columns, one column after the other.
        """
        visible, patches = self.embed(states), len(self.positions)
        where = (self.column_embedding.weight[:, None] + self.positions).flatten(0, 1)
        tokens = self.mask_token.weight.to(visible.dtype).expand(len(visible), len(where), -1)
        tokens = tokens.scatter(1, index[..., None].expand_as(visible), visible) + where
        own = tokens[:, self.own * patches : (self.own + 1) * patches]
        x = self.cross(own, gather_patches(tokens, index))
        for block in self.blocks:
            x = block(x)
        return self.predict(x)
