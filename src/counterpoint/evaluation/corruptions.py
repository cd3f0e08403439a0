"""Pictures made worse: blur, noise, less contrast and JPEG, each at three strengths, the same for an id in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

BLUR = (1 / 48, 1 / 24, 1 / 12)
"""Standard deviation as a fraction of the shorter side."""
NOISE = (0.1, 0.2, 0.4)
"""Standard deviation, where white is 1."""
CONTRAST = (0.5, 0.25, 0.1)
"""Contrast that is left, around the picture's mean grey."""
JPEG = (25, 10, 4)
"""Quality."""


def blur(
    pictures: UInt8[Tensor, "n 3 H W"], ids: Int[Tensor, " n"], strength: int
) -> UInt8[Tensor, "n 3 H W"]:
    """Gaussian blur."""
    sigma = BLUR[strength] * min(pictures.shape[-2:])
    radius = min(max(1, round(3 * sigma)), min(pictures.shape[-2:]) - 1)
    blurred: Tensor = F.gaussian_blur(pictures, [2 * radius + 1] * 2, [sigma] * 2)
    return blurred


def noise(
    pictures: UInt8[Tensor, "n 3 H W"], ids: Int[Tensor, " n"], strength: int
) -> UInt8[Tensor, "n 3 H W"]:
    """Gaussian noise, independent per pixel and channel, clipped; an id has the same noise at every strength, scaled."""
    noisy = torch.empty_like(pictures)
    for i, key in enumerate(ids.tolist()):
        field = torch.randn(pictures.shape[1:], generator=torch.Generator().manual_seed(key))
        noisy[i] = (pictures[i] + 255 * NOISE[strength] * field).round().clamp(0, 255).to(torch.uint8)
    return noisy


def contrast(
    pictures: UInt8[Tensor, "n 3 H W"], ids: Int[Tensor, " n"], strength: int
) -> UInt8[Tensor, "n 3 H W"]:
    """Less contrast."""
    flat: Tensor = F.adjust_contrast(pictures, CONTRAST[strength])
    return flat


def jpeg(
    pictures: UInt8[Tensor, "n 3 H W"], ids: Int[Tensor, " n"], strength: int
) -> UInt8[Tensor, "n 3 H W"]:
    """JPEG compression and back."""
    return torch.stack([F.jpeg(picture, JPEG[strength]) for picture in pictures])


Corruption = Callable[[Tensor, Tensor, int], Tensor]

CORRUPTIONS: Mapping[str, Corruption] = {"blur": blur, "noise": noise, "contrast": contrast, "jpeg": jpeg}
STRENGTHS = (0, 1, 2)
