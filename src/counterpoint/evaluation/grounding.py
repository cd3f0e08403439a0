"""Does a map of similarities light up where the thing is? Contrast-to-noise ratio and pointing accuracy."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

PAPERS = {"mil-multimodal": ("contrast_to_noise", "pointing")}


def contrast_to_noise(
    maps: Float[Tensor, "n H W"], inside: Bool[Tensor, "n H W"], *, absolute: bool = True
) -> Float[np.ndarray, " n"]:
    """Return ``|μ_in − μ_out| / sqrt(σ²_in + σ²_out)`` of each map; variances are those of the pixels there are.

    NaN where a map has nothing inside, nothing outside, or one value everywhere; infinite where inside and
    outside are constant and differ.

    >>> maps = torch.tensor([[[2.0, 4.0], [0.0, 0.0]]])      # 3 inside with variance 1, 0 outside
    >>> contrast_to_noise(maps, maps > 0).tolist()
    [3.0]

    Args:
        maps: similarities of a phrase with every place of a picture.
        inside: whether a place lies in a box (or mask) of what the phrase says.
        absolute: whether a map that is darker inside counts as well; without it its value is negative.

    Raises:
        ValueError: for maps and masks whose shapes differ, or NaN.

    Source: Boecking et al., "Making the Most of Text Semantics to Improve Biomedical Vision-Language
    Processing" (2022), arXiv 2204.09817.
    """
    _check(maps, inside)
    values, within = maps.double().flatten(1), inside.flatten(1)
    (mean_in, var_in), (mean_out, var_out) = (_moments(values, part) for part in (within, ~within))
    gap = mean_in - mean_out
    return ((gap.abs() if absolute else gap) / (var_in + var_out).sqrt()).numpy()


def pointing(maps: Float[Tensor, "n H W"], inside: Bool[Tensor, "n H W"]) -> Float[np.ndarray, " n"]:
    """Return 1 where the highest place of a map lies inside, else 0; of several equally high places, the share inside.

    NaN where nothing lies inside.

    >>> pointing(torch.tensor([[[0.1, 0.9]]]), torch.tensor([[[False, True]]])).tolist()
    [1.0]

    Raises:
        ValueError: for maps and masks whose shapes differ, or NaN.

    Source: the pointing game, Zhang et al., "Top-down Neural Attention by Excitation Backprop" (2016), arXiv
    1608.00507.
    """
    _check(maps, inside)
    values, within = maps.flatten(1), inside.flatten(1)
    best = values == values.amax(1, keepdim=True)
    hit = (best & within).sum(1).double() / best.sum(1)
    return torch.where(within.any(1), hit, torch.nan).numpy()


def _moments(values: Float[Tensor, "n p"], part: Bool[Tensor, "n p"]) -> tuple[Tensor, Tensor]:
    """Return the mean and variance of a part of each row; NaN where it is empty."""
    count = part.sum(1)
    mean = (values * part).sum(1) / count
    return mean, ((values - mean[:, None]).square() * part).sum(1) / count


def _check(maps: Tensor, inside: Tensor) -> None:
    if maps.ndim != 3 or 0 in maps.shape or maps.shape != inside.shape:
        raise ValueError(
            f"maps and inside must both be (n, H, W), got {tuple(maps.shape)} and {tuple(inside.shape)}"
        )
    if bool(maps.isnan().any()):
        raise ValueError("maps hold NaN, which is neither above nor below anything")
