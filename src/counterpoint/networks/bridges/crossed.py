"""A few learned tokens in the sequence; the patches are read by cross-attention between layers."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..fusion.gated_cross_attention import GatedCrossAttention
from ..towers.transformer import Embedding
from .base import Bridge, Given, Seen
from .resampler import ResamplerBridge

PAPERS = {"evlm": ("CrossedBridge",), "cosmo": ("CrossedBridge",)}


class CrossedBridge(Bridge):
    """Gated cross-attention in front of layers of the language model.

        in front of layer l of n:  x ← block_l(x, norm_h(level h)),   h = ⌊l · levels / n⌋

    The tokens of a picture are learned and the same for all pictures. They and all text behind them attend to the
    patches. Text in front of the picture stays as it is to the last bit. Shallow levels go to the first layers. See
    `counterpoint.networks.fusion.gated_cross_attention.GatedCrossAttention`.

    Args:
        width, out, grid, tokens, std: as of `Bridge`.
        layers: n, those of the language model.
        levels: how many layers of the picture tower are read.
        experts: of a feed-forward part; 1 for a dense one.
        first: the first layer with a block in front of it.
        every: the distance between such layers.
        compression: divides the inner width of blocks.
        latents: a resampler condenses the patches to so many vectors, and one more that is the picture's summary;
            with 0 the patches themselves are read.

    Raises:
        ValueError: for a first layer that there is none of, and for latents of several levels.

    Source: Chen et al., "EVLM: An Efficient Vision-Language Model for Visual Understanding" (2024), arXiv 2407.14177,
    from summaries of it: levels for parts of the depth, 16 tokens that all pictures share and two experts of a token
    are assumptions. There experts start as copies of a trained feed-forward part.
    """

    order: ClassVar[bool] = False
    levels: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = (
        "layers",
        "levels",
        "experts",
        "first",
        "every",
        "compression",
        "latents",
    )

    def __init__(
        self,
        width: int,
        out: int,
        grid: tuple[int, int],
        tokens: int | None = None,
        std: float = 0.02,
        *,
        layers: int,
        levels: int = 1,
        experts: int = 1,
        first: int = 0,
        every: int = 1,
        compression: int = 1,
        latents: int = 0,
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        if first >= layers:
            raise ValueError(f"the bridge begins at layer {first}, and the language model has {layers}")
        if latents and levels > 1:
            raise ValueError(f"levels={levels}: latents condense one level")
        self.level_count = levels
        self.words = Embedding(self.tokens, out, std=std)
        self.resampler = ResamplerBridge(width, out, grid, 1 + latents, std=1.0) if latents else None
        context = out if latents else width
        self.norms = nn.ModuleList(nn.LayerNorm(context) for _ in range(levels))
        self.level_of = {layer: layer * levels // layers for layer in range(first, layers, every)}
        self.blocks = nn.ModuleList(
            GatedCrossAttention(out, context, experts, compression) for _ in self.level_of
        )

    @property
    def own_tokens(self) -> int:
        return 16

    @property
    def deepest(self) -> int:
        return max(self.level_of)

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        levels, summary = seen.levels[-self.level_count :], None
        if self.resampler is not None:
            condensed = self.resampler(seen).tokens
            summary, levels = condensed[:, 0], (condensed[:, 1:],)
        levels = tuple(norm(level) for norm, level in zip(self.norms, levels, strict=True))
        before = {
            layer: partial(_attended, block, levels[level])
            for (layer, level), block in zip(self.level_of.items(), self.blocks, strict=True)
        }
        return Given(self.learned_tokens(len(seen.last)), before, summary)

    def learned_tokens(self, rows: int) -> Float[Tensor, "{rows} K W"]:
        """Return the tokens of pictures, before any layer."""
        return self.words.weight.expand(rows, -1, -1)


def _attended(
    block: nn.Module, context: Float[Tensor, "B m w"], states: Float[Tensor, "B L W"], opening: int
) -> Float[Tensor, "B L W"]:
    """Return states in which those from the picture on have attended to its patches."""
    return torch.cat([states[:, :opening], block(states[:, opening:], context.to(states.dtype))], 1)
