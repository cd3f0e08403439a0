"""The spatial frequencies of a network's features, and noise of one frequency to test the network with.

Source: Park and Kim, "How Do Vision Transformers Work?" (2022), arXiv 2202.06709.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

PAPERS = {"how-vits-work": ("band_noise", "relative_log_amplitude", "spatial_variance")}

_FLOOR = 1e-6


def relative_log_amplitude(maps: Float[Tensor, "B C K K"]) -> Float[Tensor, " frequencies"]:
    """Return Δ log amplitude of some maps, by frequency along the diagonal, from 0, where it is 0, towards π.

        A(f) = mean over pictures and channels of log(|FFT2(maps)| + 1e−6) at (f, f),     Δ = A(f) − A(0)

    Frequencies are f_k = 2πk/K, k = 0, 1, … below K/2. Compare the last entry between neighbouring steps of
    one network, and with the network at its start, which smooths as well; levels of different networks or
    sizes of maps are not comparable.

    Raises:
        ValueError: if the maps are not square, or smaller than 4 × 4.

    >>> x = torch.arange(8).double()
    >>> wave = 1 + torch.cos(torch.pi / 4 * (x[:, None] + x[None, :]))     # period 8 along the diagonal
    >>> relative_log_amplitude(wave[None, None]).round(decimals=2).tolist()
    [0.0, -0.69, -17.97, -17.97]
    """
    k = maps.shape[-1]
    if maps.shape[-2] != k or k < 4:
        raise ValueError(
            f"frequencies along the diagonal need square maps of at least 4 × 4, got {tuple(maps.shape[-2:])}"
        )
    amplitude = (torch.fft.fft2(maps.double()).abs() + _FLOOR).log().mean((0, 1)).diagonal()
    half: Tensor = amplitude[: (k + 1) // 2]
    return half - half[0]


def spatial_variance(maps: Float[Tensor, "B C H W"]) -> float:
    """Return the variance over the positions of a map (unbiased), averaged over pictures and channels.

    Attention lowers it, convolutions and feed-forward steps raise it. NaN for maps of one position, which have none.
    """
    if maps.shape[2:].numel() < 2:
        return math.nan
    return float(maps.double().var((2, 3)).mean())


def band_noise(
    size: int,
    frequency: float,
    width: float = 0.2,
    *,
    count: int = 1,
    channels: int = 3,
    seed: int = 0,
) -> Float[Tensor, "count channels size size"]:
    """Return noise of frequencies within ``width`` of one, with a mean square of 1.

    White noise of random signs, of which the Fourier transform keeps the frame between two centred squares.

    Args:
        size: pixels of a side.
        frequency: the middle of the band, in radians per pixel, in [0, π].
        width: half of the band's, in radians.
        count, channels: of pictures.
        seed: of the signs.

    Raises:
        ValueError: if no frequency of a picture of this size lies in the band.
    """
    axis = 2 * math.pi * torch.fft.fftfreq(size, dtype=torch.float64).abs()
    radius = torch.maximum(axis[:, None], axis[None, :])
    mask = (radius >= frequency - width) & (radius <= frequency + width)
    if not mask.any():
        raise ValueError(
            f"a picture of {size} pixels has no frequency within {width:g} of {frequency:g} radians: it has "
            f"multiples of {2 * math.pi / size:.3f} up to {float(axis.max()):.3f}"
        )
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (count, channels, size, size), generator=generator).double() * 2 - 1
    noise = torch.fft.ifft2(torch.fft.fft2(signs) * mask).real
    scaled: Tensor = noise / noise.square().mean((1, 2, 3), keepdim=True).sqrt()
    return scaled.float()
