"""Colour changes of a batch of float pictures in [0, 1], each example by its own factor.

They compute what ``torchvision.transforms.v2.functional`` computes on one picture under the same names.
Those that take ``factor`` work in place and return the pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Pictures = Float[Tensor, "n 3 h w"]
Factor = Float[Tensor, " n"]


def luminance(pictures: Pictures) -> Float[Tensor, "n 1 h w"]:
    """Compute ITU-R 601 luma, with the four-digit weights of torchvision."""
    red, green, blue = pictures[:, 0:1], pictures[:, 1:2], pictures[:, 2:3]
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(pictures: Pictures) -> Pictures:
    return luminance(pictures).expand_as(pictures)


def brightness(pictures: Pictures, factor: Factor) -> Pictures:
    return pictures.mul_(_wide(factor)).clamp_(0, 1)


def contrast(pictures: Pictures, factor: Factor) -> Pictures:
    mean = luminance(pictures).mean((1, 2, 3), keepdim=True)
    return pictures.mul_(_wide(factor)).add_((1 - _wide(factor)) * mean).clamp_(0, 1)


def saturation(pictures: Pictures, factor: Factor) -> Pictures:
    gray = luminance(pictures).mul_(1 - _wide(factor))
    return pictures.mul_(_wide(factor)).add_(gray).clamp_(0, 1)


def hue(pictures: Pictures, factor: Factor) -> Pictures:
    """Turn the hue by ``factor`` of a full circle.

    In HSV, with V the largest and m the smallest channel, each new channel is m plus (V − m) times a
    trapezoid in the hue, so saturation and value need never be formed.
    """
    red, green, blue = pictures.unbind(1)
    largest = torch.maximum(torch.maximum(red, green), blue)
    smallest = torch.minimum(torch.minimum(red, green), blue)
    chroma = largest - smallest
    scale = chroma.clamp_min(1e-12).reciprocal_()  # where chroma is 0, so is what it scales
    # The largest channel decides the formula; mixing by 0 or 1 is three times as fast as `torch.where`.
    from_red = (green - blue).mul_(scale)
    from_green = (blue - red).mul_(scale).add_(2)
    from_blue = (red - green).mul_(scale).add_(4)
    not_red, not_green = torch.sign(largest - red), torch.sign(largest - green)
    sextant = torch.lerp(from_red, torch.lerp(from_green, from_blue, not_green), not_red)
    sextant.add_(6 * _wide(factor)[:, 0])
    sextant.sub_(torch.floor(sextant / 6), alpha=6)
    red.copy_((sextant - 3).abs_().sub_(1))
    green.copy_((sextant - 2).abs_().neg_().add_(2))
    blue.copy_((sextant - 4).abs_().neg_().add_(2))
    return pictures.clamp_(0, 1).mul_(chroma[:, None]).add_(smallest[:, None])


def solarize(pictures: Pictures) -> Pictures:
    """Invert what is brighter than one half."""
    return torch.where(pictures >= 0.5, 1 - pictures, pictures)


JITTER: tuple[Callable[[Pictures, Factor], Pictures], ...] = (brightness, contrast, saturation, hue)


def jitter(pictures: Pictures, factors: Float[Tensor, "n 4"], order: Int[Tensor, "n 4"]) -> Pictures:
    """Change brightness, contrast, saturation and hue, in each example's own order.

    Args:
        pictures: ``(n, 3, h, w)`` in [0, 1].
        factors: what each of the four is called with; NaN leaves it out.
        order: each row a permutation of 0…3, positions in the list above.
    """
    index = torch.arange(len(pictures))
    for slot in range(4):
        change = order[index, slot]
        factor = factors[index, change]
        change = torch.where(factor.isnan(), len(JITTER), change)
        # Those with the same change next to each other: one gather, then each change in place on its part.
        sort = change.argsort(stable=True)
        pictures, index, factor = pictures.index_select(0, sort), index[sort], factor[sort]
        counts = change.bincount(minlength=len(JITTER) + 1).tolist()
        parts = zip(JITTER, torch.split(pictures, counts), torch.split(factor, counts), strict=False)
        for function, part, strengths in parts:
            if len(part):
                function(part, strengths)
    return pictures.index_select(0, index.argsort())


def _wide(factor: Factor) -> Float[Tensor, "n 1 1 1"]:
    return factor[:, None, None, None]
