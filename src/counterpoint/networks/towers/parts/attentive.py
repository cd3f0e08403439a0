"""The built-in transformer over series: patches of steps attend to each other, at a CPU's size."""

from __future__ import annotations

from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ....raw import ends
from ...heads import Linear
from ..series import SeriesTower, Standardised
from ..transformer import Embedding, TransformerBlock, keys_seen
from .temporal import before


@final
class SeriesTransformer(SeriesTower):
    """Patches of consecutive steps through a pre-norm transformer, read as the mean of the states of patches.

    Each channel comes with another one that says where it was measured; where it was not it is 0. A patch that lies
    wholly behind the end of a series is seen by none, so that padding changes nothing.

    Args:
        standardised: its input, which knows the channels and the most steps.
        patch: steps of a patch.
        width: of states and features.
        depth: number of blocks.
        heads: attention heads; divides ``width``.

    Source: patches of steps as tokens: PatchTST (arXiv 2211.14730); for an ECG beside a picture: MoRE (arXiv
    2410.16239).
    """

    drops_keys: ClassVar[bool] = True

    def __init__(
        self, standardised: Standardised, patch: int = 5, width: int = 96, depth: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        self.standardised, self.patch, self.width, self.heads = standardised, patch, width, heads
        self.patch_embedding = Linear(2 * patch * len(standardised.means), width, bias=True)
        self.position_embedding = Embedding(-(-standardised.steps // patch), width, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, depth, causal=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, series: Float[Tensor, "B T C"]) -> Float[Tensor, "B width"]:
        states, inside = self._states(series)
        return states.sum(1) / inside.sum(1, keepdim=True).clamp_min(1)

    def states(self, series: Float[Tensor, "B T C"]) -> Float[Tensor, "B t width"]:
        """Return features of patches, in their order; zero behind a series' end."""
        return self._states(series)[0]

    def _states(
        self, series: Float[Tensor, "B T C"]
    ) -> tuple[Float[Tensor, "B t width"], Bool[Tensor, "B t"]]:
        series = F.pad(series, (0, 0, 0, -series.shape[1] % self.patch), value=torch.nan)
        count = series.shape[1] // self.patch
        # A series of which nothing is known is one patch of nothing: an attention over no key would be NaN.
        inside = before((-(-ends(series) // self.patch)).clamp_min(1), count)
        known = ~series.isnan()
        inputs = torch.cat([series.nan_to_num(0.0), known.to(series.dtype)], 2)
        x = self.patch_embedding(inputs.reshape(len(inputs), count, self.patch * inputs.shape[2]))
        x = x + self.position_embedding.weight[:count]
        rate = self.dropkey if self.training else 0.0
        for block in self.blocks:
            x = block(x, mask=keys_seen(inside, self.heads, rate) if rate else inside)
        return self.norm(x) * inside[..., None], inside
