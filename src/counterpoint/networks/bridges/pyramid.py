"""A pyramid of finer maps, condensed by windows: each token reads its own part of the picture at every level."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..base import ImageTower
from ..decoder import sine_cosine_positions
from ..guided_upsampler import GuidedUpsampler, bicubic
from ..heads import Linear
from ..towers.transformer import Embedding
from .base import Bridge, Given, Seen

PAPERS = {"llava-uhd-v2": ("PyramidBridge",)}
_SETS = 4
"""Sets of queries."""
_POINTS = 3
"""Points of a window's side at every level."""


class PyramidBridge(Bridge):
    """Window attention over the tower's map and finer ones, each of twice the side of the one before.

        F_0 = patches,   F_k = up(F_{k−1}, picture)
        v_k = norm(W_k F_k),   keys: v_k + position + level,   values: v_k
        token i = W [norm(attention(query ij, 3 × 3 points of window i of every level))]_j,   j = 1 … 4

    Windows are the cells of a square grid of K tokens, and points are those of RoI-align. Positions are sines and
    cosines of that grid, resized to the map. ``up`` is bicubic, or guided by the picture, which the method
    ``llava-uhd-v2`` trains first; see `counterpoint.networks.guided_upsampler.GuidedUpsampler`.

    Args:
        width, out, grid, tokens, std: as of `Bridge`; ``tokens`` is a square number.
        finer: how many finer maps there are.
        guided: whether the picture guides the up-sampling.

    Raises:
        ValueError: for a number of tokens that is no square, and for patches that are too few for guidance.

    Source: Zhang et al., "LLaVA-UHD v2: an MLLM Integrating High-Resolution Feature Pyramid via Hierarchical Window
    Transformer" (2024), arXiv 2412.13871, and its code. There are 144 tokens, and slices of the picture's own aspect.
    """

    levels: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("finer", "guided")

    def __init__(
        self,
        width: int,
        out: int,
        grid: tuple[int, int],
        tokens: int | None = None,
        std: float = 0.02,
        *,
        finer: int = 2,
        guided: bool = False,
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.side = math.isqrt(self.tokens)
        if self.side**2 != self.tokens:
            raise ValueError(f"tokens={self.tokens}: bridge=pyramid gives a square number of tokens")
        if guided and 2 * min(grid) <= 3:
            raise ValueError(
                f"guided up-sampling needs two rows and columns of patches, and the tower has {grid}"
            )
        self.finer = finer
        self.upsamplers = nn.ModuleList(GuidedUpsampler() for _ in range(finer if guided else 0))
        self.corrections = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(bool(finer and guided)))
        self.inputs = nn.ModuleList(Linear(width, out, bias=True) for _ in range(finer + 1))
        self.norms = nn.ModuleList(nn.LayerNorm(out) for _ in range(finer + 1))
        self.levels_embedding = Embedding(finer + 1, out, std=0.02)
        self.register_buffer(
            "positions", sine_cosine_positions(out, (self.side, self.side)), persistent=False
        )
        self.queries = Embedding(_SETS * self.tokens, out, std=1.0)
        self.heads = math.gcd(out, 4)
        self.q, self.k, self.v, self.mix = (Linear(out, out, bias=True) for _ in range(4))
        self.attended_norm, self.joined_norm = nn.LayerNorm(out), nn.LayerNorm(out)
        self.join, self.out = Linear(_SETS * out, out, bias=True), self.into_words(out, out)
        self.level_count = finer + 1

    positions: Tensor

    @property
    def own_tokens(self) -> int:
        return max(1, min(self.grid) // 2) ** 2

    @property
    def level_sizes(self) -> tuple[int, ...]:
        return tuple(self.grid[0] * self.grid[1] * 4**level for level in range(self.level_count))

    def read(
        self, tower: ImageTower, pictures: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B width ..."], ...]:
        return tuple(self.pyramid(tower.patches(pictures), pictures))

    def pyramid(
        self, patches: Float[Tensor, "B w r c"], pictures: Float[Tensor, "B 3 H W"]
    ) -> list[Float[Tensor, "B w ..."]]:
        """Return the map of patches and the finer ones. No gradient goes from a guided map to the one before."""
        maps = [patches]
        for level in range(self.finer):
            if self.upsamplers:
                maps.append(self.upsamplers[level](maps[-1].detach() if level else maps[-1], pictures))
            else:
                maps.append(bicubic(maps[-1]))
        for correction in self.corrections:
            maps[-1] = maps[-1] + 0.1 * correction(maps[-1])
        return maps

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        windows = []
        for level, features in enumerate(seen.levels):
            rows, columns = (length * 2**level for length in self.grid)
            values = self.norms[level](self.inputs[level](features))
            placed = values + self._positions((rows, columns)) + self.levels_embedding.weight[level]
            both = torch.cat([placed, values], 2).mT.reshape(len(values), -1, rows, columns)
            windows.append(self._windows(both))
        keys, values = torch.cat(windows, 2).chunk(2, -1)
        batch = len(keys)
        q = self.q(self.queries.weight).view(_SETS, self.tokens, self.heads, -1)
        k, v = (
            part.reshape(*part.shape[:-1], self.heads, -1).transpose(2, 3)
            for part in (self.k(keys), self.v(values))
        )
        # Queries of one window: its four sets are the sequence.
        q = q.permute(1, 2, 0, 3).expand(batch, -1, -1, -1, -1)
        attended = F.scaled_dot_product_attention(q, k, v).permute(0, 1, 3, 2, 4).flatten(3)
        joined = self.join(self.attended_norm(self.mix(attended)).flatten(2))
        return Given(self.out(self.joined_norm(joined)))

    def _positions(self, size: tuple[int, int]) -> Float[Tensor, "n W"]:
        square = self.positions.mT.reshape(1, -1, self.side, self.side)
        resized = F.interpolate(square, size, mode="bicubic", align_corners=False)
        return resized[0].flatten(1).mT

    def _windows(self, maps: Float[Tensor, "B D h w"]) -> Float[Tensor, "B K p D"]:
        """Return points of each window of a map."""
        from torchvision.ops import roi_align  # here, as it imports torch._dynamo: over a second

        rows, columns = maps.shape[2] / self.side, maps.shape[3] / self.side
        boxes = maps.new_tensor(
            [
                [x * columns, y * rows, (x + 1) * columns, (y + 1) * rows]
                for y in range(self.side)
                for x in range(self.side)
            ]
        )
        points: Tensor = roi_align(maps, [boxes] * len(maps), output_size=_POINTS)
        return points.flatten(2).mT.reshape(len(maps), self.tokens, *points.flatten(2).mT.shape[1:])
