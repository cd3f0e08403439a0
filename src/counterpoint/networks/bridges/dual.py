"""The dual cross-attention of X-Former: patches of detail read the queries, then the queries read them."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..base import ImageTower
from ..fusion.cross_attention import CrossAttentionBlock
from ..masked_autoencoder import MaskedAutoencoder
from .base import Given, Seen
from .qformer import QFormerBridge

PAPERS = {"x-former": ("DualBridge",)}
Reading = Literal["dual", "joined"]


class DualBridge(QFormerBridge):
    """A Q-Former on the patches of a tower, and cross-attention with patches of detail both ways.

        q = Q(patches),   m′ = block(m; q),   q′ = block(q; m′)

    m are the states of a masked autoencoder, which is part of the bridge, or of an earlier layer of the tower. A block
    is attention and a perceptron with residuals (`CrossAttentionBlock`).

    Args:
        width, out, grid, tokens, std: as for `Bridge`.
        side: of pictures, in pixels, for a masked autoencoder with the tower's grid and width; 0 for an earlier layer.
        reading: ``dual``; or ``joined``, a control in which the Q-Former reads both kinds of patches.

    Raises:
        ValueError: for a grid that a masked autoencoder does not take.

    Source: Swetha et al., "X-Former: Unifying Contrastive and Reconstruction Learning for MLLMs" (2024), arXiv
    2407.13851; described from memory.
    """

    levels: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("side", "reading")
    level_count = 2

    def __init__(
        self,
        width: int,
        out: int,
        grid: tuple[int, int],
        tokens: int | None = None,
        std: float = 0.02,
        *,
        side: int = 0,
        reading: Reading = "dual",
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.reading = reading
        self.masked = MaskedAutoencoder(side, grid, width) if side else None
        if reading == "dual":
            self.into_details = CrossAttentionBlock(width, math.gcd(width, 4), context=out)
            self.into_queries = CrossAttentionBlock(out, math.gcd(out, 4), context=width)

    def read(
        self, tower: ImageTower, pictures: Float[Tensor, "B 3 H W"]
    ) -> tuple[Float[Tensor, "B width ..."], ...]:
        """Return the map of details and that of the tower's patches."""
        if self.masked is None:
            return super().read(tower, pictures)
        return self.masked.encoder.patches(pictures), tower.patches(pictures)

    def split(self, patches: Float[Tensor, "B n w"]) -> tuple[Float[Tensor, "B m w"], Float[Tensor, "B p w"]]:
        """Return the details, of which some may be left out, and the tower's patches, which stand behind them."""
        own = self.grid[0] * self.grid[1]
        return patches[:, :-own], patches[:, -own:]

    def updated(self, patches: Float[Tensor, "B n w"]) -> Float[Tensor, "B m w"]:
        """Return the details after they have read the queries."""
        details, own = self.split(patches)
        return self.into_details(details, super().query_states(own)[0])

    def query_states(
        self,
        patches: Float[Tensor, "B n w"],
        *texts: Tensor,
        causal: bool = False,
        condition: Float[Tensor, "B W"] | None = None,
    ) -> tuple[Float[Tensor, "B K W"], Float[Tensor, "B L W"]]:
        """Return the states of the queries after they have read the details, and those of the tokens of texts."""
        details, own = self.split(patches)
        if self.reading == "joined":
            own = patches
        queries, words = super().query_states(own, *texts, causal=causal, condition=condition)
        if self.reading == "dual":
            queries = self.into_queries(queries, self.into_details(details, queries))
        return queries, words

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        return Given(self.out(self.query_states(torch.cat(seen.levels, 1))[0]))
