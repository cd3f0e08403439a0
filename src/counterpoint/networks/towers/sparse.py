"""A tower of few tokens, each of which looks at a region of the picture that it moves."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isqrt
from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..base import ImageTower
from ..heads import Linear
from .convnet import Convolution
from .parts.pixels import Normalise
from .transformer import Embedding, TransformerBlock, VisionTransformer

PAPERS = {"sparseformer-bootstrapping": ("SparseTransformer",)}

SIDE = 0.5
"""Side of a region at the start, as a share of the picture's."""
FREQUENCIES = 128
"""Ratio of the highest to the lowest frequency of the encoding of a region."""


class SparseTransformer(ImageTower):
    """A transformer of ``tokens`` latent tokens with regions of interest, in place of the first third of a ViT.

    1. A focusing unit, four times with the same weights, on tokens of half the width: each token samples points of its
       region from a map of convolutional features, mixes them by weights that it computes, adds an encoding of the
       region, attends to the other tokens, and moves its region.
    2. A linear layer to the width of the ViT, then sampling, mixing and the encoding once more.
    3. The blocks of the ViT from the first third on, which `inherit` takes over, and its last norm.

    It is read as the mean of its tokens, as `VisionTransformer` is: where the paper's ViT has a class token, which is
    inserted behind the second part, the built-in one has none. It has no features of single places.

    Args:
        size: pixels of a side.
        width: of the ViT's states; half of it is that of the first tokens.
        depth: number of the ViT's blocks, of which two thirds are here.
        heads: attention heads; divides both widths.
        tokens: N.
        points: P, sampled by a token.
        channels: C, of the map that is sampled; 64 in the paper.
        repeats: of the focusing unit.

    Raises:
        ValueError: for widths that the heads do not divide, and fewer than two points.

    Source: Gao et al., "Bootstrapping SparseFormers from Vision Foundation Models" (2023), arXiv 2312.01987, and its
    code.
    """

    def __init__(
        self,
        size: int = 48,
        width: int = 192,
        depth: int = 4,
        heads: int = 4,
        tokens: int = 16,
        points: int = 16,
        channels: int = 16,
        repeats: int = 4,
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width {width}: its half is not a multiple of the {heads} attention heads")
        self.size, self.width, self.depth, self.repeats = size, width, depth, repeats
        kept = depth - ceil(depth / 3)
        self.normalise = Normalise()
        self.stem = Convolution(3, channels, 7, stride=2, padding=3)
        self.latent = Embedding(1, width // 2, std=0.02)
        self.regions = StartRegions(tokens)
        self.focus = RegionSampler(width // 2, points, channels)
        self.attention = TransformerBlock(width // 2, heads, max(depth, 1), causal=False)
        self.move = SetLinear(width // 2, torch.zeros(4))
        self.move_norm = nn.LayerNorm(width // 2)
        self.widen = Linear(width // 2, width, bias=True)
        self.refocus = RegionSampler(width, points, channels)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, depth, causal=False) for _ in range(kept))
        self.norm = nn.LayerNorm(width)

    @classmethod
    def of_sizes(
        cls, size: int, width: int | None = None, layers: int | None = None, patch: int | None = None
    ) -> Self:
        """Build a tower for a ViT of so many layers; the patch means nothing to it."""
        given = {"width": width, "depth": layers}
        return cls(size, **{name: value for name, value in given.items() if value is not None})

    @property
    def sizes(self) -> Mapping[str, int | float | str]:
        own, usual = {"image_width": self.width, "image_layers": self.depth}, (192, 4)
        return {
            key: value for (key, value), default in zip(own.items(), usual, strict=True) if value != default
        }

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B width"]:
        x, regions, features = self.focused(images)
        x = self.refocus(self.widen(x), regions, features)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).mean(1)

    def focused(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B N w"], Float[Tensor, "B N 4"], Float[Tensor, "B C rows columns"]]:
        """Return tokens behind the focusing unit, their regions as centre and size, and the map that is sampled."""
        features = F.max_pool2d(F.relu(self.stem(self.normalise(images))), 3, stride=2, padding=1)
        features = F.layer_norm(features.permute(0, 2, 3, 1), features.shape[1:2]).permute(0, 3, 1, 2)
        regions = self.regions().expand(len(images), -1, -1)
        x = self.latent.weight.expand(len(images), regions.shape[1], -1)
        for _ in range(self.repeats):
            x = self.attention(self.focus(x, regions, features))
            shift, growth = self.move(self.move_norm(x)).chunk(2, -1)
            centre, extent = regions.chunk(2, -1)
            regions = torch.cat([centre + shift * extent, extent * growth.exp()], -1)
        return x, regions, features

    @torch.no_grad()
    def inherit(self, other: VisionTransformer) -> None:
        """Take over the later blocks and the last norm of a ViT, and keep the weights of its last third as they are.

        Raises:
            ValueError: for a ViT of another depth or width.
        """
        if (len(other.blocks), other.width, other.heads) != (self.depth, self.width, self.attention.heads):
            raise ValueError(
                f"a tower of {self.depth} layers and width {self.width} cannot inherit from one of "
                f"{len(other.blocks)} and {other.width}: set towers.image_layers and towers.image_width as there"
            )
        first = self.depth - len(self.blocks)
        for number, block in enumerate(self.blocks, first):
            block.load_state_dict(other.blocks[number].state_dict())
            if 3 * number >= 2 * self.depth:
                block.requires_grad_(False)
        self.norm.load_state_dict(other.norm.state_dict())
        self.norm.requires_grad_(False)


class StartRegions(nn.Module):
    """The regions that tokens start from: learned centres and sizes, at first boxes on a grid.

    Tokens beyond the largest square grid start from the whole picture.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        # One axis, since the optimisers decay what has more, and a region has no origin to decay to.
        self.boxes = nn.Parameter(torch.empty(tokens * 4))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        boxes, side = self.boxes.view(-1, 4), isqrt(len(self.boxes) // 4)
        centres = torch.linspace(SIDE / 2, 1 - SIDE / 2, side) if side > 1 else torch.full((1,), 0.5)
        boxes[:] = torch.tensor([0.5, 0.5, 1.0, 1.0])
        boxes[: side**2, :2] = torch.cartesian_prod(centres, centres).flip(1)
        boxes[: side**2, 2:] = SIDE

    def forward(self) -> Float[Tensor, "N 4"]:
        return self.boxes.view(-1, 4)


class RegionSampler(nn.Module):
    """Sampling of points in regions, and mixing of what is sampled by weights that a token computes.

        o = bias + linear(norm(x)),   o ← (o − mean o) / (3 std o),   points = centre + o · size
        y = GELU(S W_c),   z = GELU(W_s y),   x ← x + linear(z) + linear(norm(code(region)))

    S are the C features at P points, W_c (C × C) and W_s (O × P) are computed from the token. At the start the offsets
    o are a grid for every token, and W_c and W_s do not depend on it. The gradient of a point is bounded by a cell of
    the map.
    """

    frequencies: Tensor

    def __init__(self, width: int, points: int, channels: int, hidden: int = 128) -> None:
        super().__init__()
        if points < 2:
            raise ValueError(f"points={points}: the offsets of one point have no deviation; give two or more")
        self.points, self.channels, self.out = points, channels, max(points, 32)
        side = ceil(points**0.5)
        grid = torch.cartesian_prod(*(torch.linspace(-0.5, 0.5, side),) * 2)[:points]
        self.norm, self.offsets = nn.LayerNorm(width), SetLinear(width, grid.flatten())
        self.mixing_norm, self.hidden = nn.LayerNorm(width), nn.Linear(width, hidden)
        self.mixing = SetLinear(hidden, None, ((channels, channels), (self.out, points)))
        self.join = nn.Linear(self.out * channels, width)
        self.register_buffer(
            "frequencies", torch.pi * FREQUENCIES ** torch.linspace(0, 1, width // 4), persistent=False
        )
        self.code_norm = nn.LayerNorm(8 * (width // 4))
        self.code = nn.Linear(8 * (width // 4), width)

    def forward(
        self,
        x: Float[Tensor, "B N w"],
        regions: Float[Tensor, "B N 4"],
        features: Float[Tensor, "B C rows columns"],
    ) -> Float[Tensor, "B N w"]:
        sampled = sample(features, self.points_of(x, regions))
        weights = self.mixing(self.hidden(self.mixing_norm(x)))
        channel, spatial = weights.split((self.channels**2, self.out * self.points), -1)
        mixed = F.gelu(sampled @ channel.unflatten(-1, (self.channels, self.channels)))
        mixed = F.gelu(spatial.unflatten(-1, (self.out, self.points)) @ mixed)
        x = x + self.join(mixed.flatten(2))
        angles = (regions.detach()[..., None] * self.frequencies).flatten(2)
        return x + self.code(self.code_norm(torch.cat([angles.sin(), angles.cos()], -1)))

    def points_of(
        self, x: Float[Tensor, "B N w"], regions: Float[Tensor, "B N 4"]
    ) -> Float[Tensor, "B N P 2"]:
        """Return the points of tokens, x and y in shares of the picture's sides."""
        offsets = self.offsets(self.norm(x)).unflatten(-1, (self.points, 2))
        offsets = offsets - offsets.mean(2, keepdim=True)
        # Not torch.std, which warns of a batch without examples.
        deviation = offsets.norm(dim=2, keepdim=True) / max(self.points - 1, 1) ** 0.5
        offsets = offsets / (3 * deviation + 1e-6)
        return regions[..., None, :2] + offsets * regions[..., None, 2:]


class SetLinear(nn.Linear):
    """A linear layer that starts from zero weights, so that its bias alone decides.

    Args:
        width: of the input.
        start: of the bias; None to draw it.
        matrices: shapes of the matrices that the output is cut into, each of which is drawn by Xavier's rule.
    """

    def __init__(self, width: int, start: Tensor | None, matrices: tuple[tuple[int, int], ...] = ()) -> None:
        self.start, self.matrices = start, matrices
        out = sum(rows * columns for rows, columns in matrices) if start is None else len(start)
        super().__init__(width, out)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.start is not None:
            self.bias.copy_(self.start)
            return
        start = 0
        for rows, columns in self.matrices:
            end = start + rows * columns
            nn.init.xavier_uniform_(self.bias[start:end].view(rows, columns))
            start = end


def sample(
    features: Float[Tensor, "B C rows columns"], points: Float[Tensor, "B N P 2"]
) -> Float[Tensor, "B N P C"]:
    """Return features at points, bilinearly; beyond the border those of the border.

    The gradient of a point is cut to a length of 1/h: bilinear interpolation knows its neighbourhood alone.
    """
    bounded: Tensor = _Bounded.apply(points, 1 / features.shape[2])  # type: ignore[no-untyped-call] # torch's
    sampled = F.grid_sample(
        features, (2 * bounded - 1).to(features.dtype), padding_mode="border", align_corners=False
    )
    return sampled.permute(0, 2, 3, 1)


class _Bounded(torch.autograd.Function):
    """The identity, whose gradients along the last axis are no longer than a limit."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, limit: float) -> Tensor:
        ctx.limit = limit
        return points.view_as(points)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        length = grad.norm(dim=-1, keepdim=True)
        return grad * (ctx.limit / length.clamp_min(1e-12)).clamp(max=1), None
