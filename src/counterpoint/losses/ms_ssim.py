"""Multiscale structural similarity of pictures, as a loss."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..forms import Count, Positive
from ..pairwise import moments
from ..pairwise.inputs import upcast
from ..pairwise.loss import Loss
from ..pairwise.ranks import Ranks

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, the finest first."""
_LEAST = 1e-6
"""The least mean of a scale: a negative one has no fractional power, and 0 no gradient of it."""


class MSSSIMLoss(Loss):
    """One less the similarity of pictures in luminance, contrast and structure at several scales.

        l = (2 μ_x μ_y + c_1) / (μ_x² + μ_y² + c_1),   cs = (2 σ_xy + c_2) / (σ_x² + σ_y² + c_2)
        loss = 1 − mean_i [ (mean l cs at scale M)^b_M · Π_{j < M} (mean cs at scale j)^b_j ]

    μ, σ² and σ_xy are means, variances and covariances under a Gaussian window, without padding, and
    c_1 = (0.01 L)², c_2 = (0.03 L)². The means are over positions and channels. The next scale is this one averaged two
    by two. The exponents b are the first M of the published five, divided by their sum. A negative mean counts as
    1e-6, where it has no gradient. It is computed in float32 at least. Equal pictures cost 0; with one scale it is
    1 − SSIM.

    Args:
        scales: M, at most 5.
        window: the side of the window, in pixels. Every side of the pictures is more than
            ``(window − 1) · 2^(scales − 1)``. Pictures of 32 pixels take 3 scales with a window of 7.
        sigma: of the window, in pixels.
        data_range: L, the highest value of a pixel less the lowest.

    Raises:
        ValueError: for more than five scales, an even window, pictures that are too small, and different shapes.

    Source: Snell et al., "Learning to Generate Images with Perceptual Similarity Metrics" (2015), arXiv 1511.06409;
    Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment" (2003).

    >>> x = torch.rand(2, 3, 32, 32)
    >>> MSSSIMLoss()(x, x).abs().item() < 1e-6
    True
    """

    family = "pictures"
    symmetric = True
    papers = ("perceptual-ms-ssim",)

    def __init__(
        self, *, scales: Count = 3, window: Count = 7, sigma: Positive = 1.5, data_range: Positive = 1.0
    ) -> None:
        super().__init__()
        if scales > len(WEIGHTS) or window % 2 == 0:
            raise ValueError(f"scales={scales} must be at most {len(WEIGHTS)}, and window={window} odd")
        self.scales, self.window, self.sigma, self.data_range = scales, window, sigma, data_range

    @classmethod
    def for_side(cls, side: int) -> Self:
        """Return the loss for pictures of a side: a window of 11, 7 or 3, the largest that leaves 3 scales or more.

        >>> [(loss.window, loss.scales) for loss in map(MSSSIMLoss.for_side, (8, 32, 64, 224))]
        [(3, 2), (7, 3), (11, 3), (11, 5)]
        """
        for window in (11, 7, 3):
            scales = sum(side > (window - 1) * 2**scale for scale in range(len(WEIGHTS)))
            if scales >= 3:
                return cls(scales=scales, window=window)
        return cls(scales=max(scales, 1), window=window)

    def forward(
        self, x: Float[Tensor, "B channels H W"], y: Float[Tensor, "B channels H W"]
    ) -> Float[Tensor, ""]:
        """Return the loss of pictures and their reconstructions."""
        if x.shape != y.shape:
            raise ValueError(
                f"pictures {tuple(x.shape)} and reconstructions {tuple(y.shape)} differ in shape"
            )
        least = (self.window - 1) * 2 ** (self.scales - 1)
        if min(x.shape[2:]) <= least:
            raise ValueError(
                f"pictures of {x.shape[2]} × {x.shape[3]} are too small for {self.scales} scales with a window of "
                f"{self.window}: sides must be more than {least}"
            )
        if not sum(Ranks.present().counts(len(x), x.device)):
            raise ValueError("the batch has no pictures: give one at least")
        with torch.autocast(x.device.type, enabled=False):
            return 1 - moments.mean(self.similarity(upcast(x), upcast(y)), ranks=Ranks.present())

    def similarity(
        self, x: Float[Tensor, "B channels H W"], y: Float[Tensor, "B channels H W"]
    ) -> Float[Tensor, " B"]:
        """Return the similarity of each picture with its reconstruction, at most 1."""
        weights = x.new_tensor(WEIGHTS[: self.scales])
        similarity = torch.ones_like(x[:, 0, 0, 0])
        for scale, weight in enumerate(weights / weights.sum()):
            if scale:
                x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            luminance, structure = self._statistics(x, y)
            whole = luminance * structure if scale == self.scales - 1 else structure
            similarity = similarity * whole.flatten(1).mean(1).clamp_min(_LEAST) ** weight
        return similarity

    def _statistics(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return luminance, and contrast times structure, at every position."""
        offsets = torch.arange(self.window, device=x.device, dtype=x.dtype) - self.window // 2
        line = (-(offsets**2) / (2 * self.sigma**2)).softmax(0)
        channels = x.shape[1]

        def filtered(pictures: Tensor) -> Tensor:
            rows = F.conv2d(pictures, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
            return F.conv2d(rows, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)

        mean_x, mean_y = filtered(x), filtered(y)
        variances = (filtered(x * x) - mean_x**2).clamp_min(0) + (filtered(y * y) - mean_y**2).clamp_min(0)
        covariance = filtered(x * y) - mean_x * mean_y
        c1, c2 = (0.01 * self.data_range) ** 2, (0.03 * self.data_range) ** 2
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        return luminance, (2 * covariance + c2) / (variances + c2)
