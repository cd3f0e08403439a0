"""State-space layers that read the grid of patches in several orders: a token for each patch."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..heads import Linear
from ..state_space import DualMixer
from .base import Bridge, Given, Seen

PAPERS = {"ml-mamba": ("ScanBridge",)}
Scan = Literal["cross", "bidirectional", "single"]


class ScanBridge(Bridge):
    """A layer of Mamba-2 for each of several orders of the patches, whose outputs are added up patch by patch.

        x = GELU(W v),   x ← x + Σ_k inverse_k(SSM_k(order_k(norm x)))
        x ← x + W_3 (SiLU(W_1 norm x) ⊙ W_2 norm x),   token = W_5 GELU(W_4 norm x)

        cross:           by rows, by columns, and both reversed
        bidirectional:   by rows, and reversed
        single:          as ``cross``, but each patch is a sequence of its own: a perceptron of the same parameters

    A causal language model reads tokens in one order; here each patch has read others on all sides before.

    Args:
        width, out, grid, tokens, std: as of `Bridge`.
        scan: ``cross``, ``bidirectional`` or ``single``.

    Source: Huang et al., "ML-Mamba: Efficient Multi-Modal Large Language Model Utilizing Mamba-2" (2024), arXiv
    2407.19832. The paper names the orders and SwiGLU; that outputs are added, and a layer for each order, are of
    visual state-space models before it. Its code reads patches both ways in a whole pretrained Mamba-2, and its
    projector has three layers.
    """

    options: ClassVar[tuple[str, ...]] = ("scan",)

    placed: ClassVar[bool] = True

    def __init__(
        self,
        width: int,
        out: int,
        grid: tuple[int, int],
        tokens: int | None = None,
        std: float = 0.02,
        scan: Scan = "cross",
    ) -> None:
        super().__init__(width, out, grid, tokens, std)
        self.one_for_each()
        self.single = scan == "single"
        orders = scan_orders(grid)[: 2 if scan == "bidirectional" else 4]
        self.register_buffer("orders", orders, persistent=False)
        self.project = Linear(width, out, bias=True)
        self.norms = nn.ModuleList(nn.LayerNorm(out) for _ in range(3))
        self.mixers = nn.ModuleList(DualMixer(out) for _ in orders)
        self.gate, self.up, self.down = Linear(out, 2 * out), Linear(out, 2 * out), Linear(2 * out, out)
        self.hidden, self.out = Linear(out, out, bias=True), self.into_words(out, out)

    orders: Tensor

    def forward(self, seen: Seen, asked: Float[Tensor, "B Q W"] | None = None) -> Given:
        x = F.gelu(self.project(seen.last))
        x = x + self.scanned(self.norms[0](x))
        u = self.norms[1](x)
        x = x + self.down(F.silu(self.gate(u)) * self.up(u))
        return Given(self.out(F.gelu(self.hidden(self.norms[2](x)))))

    def scanned(self, x: Float[Tensor, "B n W"]) -> Float[Tensor, "B n W"]:
        """Return the sum over the orders of what their layers say of each patch."""
        if self.single:
            patches = x.flatten(0, 1)[:, None]
            return torch.stack([mixer(patches) for mixer in self.mixers]).sum(0).view_as(x)
        parts = [
            mixer(x[:, order])[:, torch.argsort(order)]
            for mixer, order in zip(self.mixers, self.orders, strict=True)
        ]
        return torch.stack(parts).sum(0)


def scan_orders(grid: tuple[int, int]) -> Int[Tensor, "4 n"]:
    """Return the numbers of patches, which count by rows, by rows and reversed, then by columns and reversed.

    >>> scan_orders((2, 3)).tolist()
    [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [0, 3, 1, 4, 2, 5], [5, 2, 4, 1, 3, 0]]
    """
    by_rows = torch.arange(grid[0] * grid[1])
    by_columns = by_rows.view(grid).T.flatten()
    return torch.stack([by_rows, by_rows.flip(0), by_columns, by_columns.flip(0)])
