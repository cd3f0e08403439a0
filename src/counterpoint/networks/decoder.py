"""A decoder for masked pictures: from the states of visible patches to predictions of all patches."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .heads import Linear
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
