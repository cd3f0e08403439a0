"""Pictures made worse: blur, noise, less contrast and JPEG at three strengths, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

BLUR = (1 / 48, 1 / 24, 1 / 12)
"""Standard deviation of the blur, by strength, as a fraction of the shorter side."""
NOISE = (0.1, 0.2, 0.4)
"""Standard deviation of the noise, by strength, where white is 1."""
CONTRAST = (0.5, 0.25, 0.1)
"""Contrast that is left, around the picture's mean grey."""
JPEG = (25, 10, 4)
"""Quality of the JPEG, by strength."""


def blur(
    pictures: UInt8[Tensor, "n 3 H W"], ids: Int[Tensor, " n"], strength: int
) -> UInt8[Tensor, "n 3 H W"]:
    """Blur by a Gaussian; the kernel is cut at the borders and sums to 1 everywhere."""
    sigma = BLUR[strength] * min(pictures.shape[-2:])
    down, across = (_gaussian(size, sigma) for size in pictures.shape[-2:])
    blurred = ((pictures.float() @ across.T).mT.contiguous() @ down.T).mT
    return blurred.round().to(torch.uint8).contiguous()


def noise(
    pictures: UInt8[Tensor, "n 3 H W"], ids: Int[Tensor, " n"], strength: int
) -> UInt8[Tensor, "n 3 H W"]:
    """Add Gaussian noise per pixel and channel, and clip; an id has the same noise at every strength, scaled."""
    noisy = torch.empty_like(pictures)
    for i, key in enumerate(ids.tolist()):
        field = torch.randn(pictures.shape[1:], generator=torch.Generator().manual_seed(key))
        noisy[i] = (pictures[i] + 255 * NOISE[strength] * field).round().clamp(0, 255).to(torch.uint8)
    return noisy


def contrast(
    pictures: UInt8[Tensor, "n 3 H W"], ids: Int[Tensor, " n"], strength: int
) -> UInt8[Tensor, "n 3 H W"]:
    """Lower the contrast."""
    from torchvision.transforms.v2 import functional as F

    return F.adjust_contrast(pictures, CONTRAST[strength])


def jpeg(
    pictures: UInt8[Tensor, "n 3 H W"], ids: Int[Tensor, " n"], strength: int
) -> UInt8[Tensor, "n 3 H W"]:
    """Compress pictures as JPEG, and decompress them."""
    from torchvision.transforms.v2 import functional as F

    return torch.stack([F.jpeg(picture, JPEG[strength]) for picture in pictures])


Corruption = Callable[[Tensor, Tensor, int], Tensor]

CORRUPTIONS: Mapping[str, Corruption] = {"blur": blur, "noise": noise, "contrast": contrast, "jpeg": jpeg}
STRENGTHS = (0, 1, 2)


def _gaussian(size: int, sigma: float) -> Float[Tensor, "n n"]:
    """Return the matrix that blurs along one axis: row i holds the weights of all positions for position i."""
    x = torch.arange(size)
    distance = (x[:, None] - x[None, :]).abs() / sigma
    # Beyond four deviations the weights end in denormal numbers, which are very slow.
    return torch.softmax((-distance.square() / 2).masked_fill(distance > 4, -torch.inf), dim=1)
