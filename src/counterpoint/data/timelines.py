"""Numbers for places in time, read at other places of the same length of time."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def lengths_of(timelines: Float[Tensor, "B L"]) -> Int[Tensor, " B"]:
    """Return how many places each timeline has: those up to its last number."""
    places = torch.arange(1, timelines.shape[1] + 1, device=timelines.device)
    return (places * ~timelines.isnan()).amax(1)


def middles(inside: Bool[Tensor, "B n"]) -> Float[Tensor, "B n"]:
    """Return the middle of each of some places that are evenly spread over [0, 1], as many as each row has.

    >>> middles(torch.tensor([[True, True], [True, False]])).tolist()
    [[0.25, 0.75], [0.5, 1.5]]
    """
    counts = inside.sum(1, keepdim=True).clamp_min(1)
    return (2 * torch.arange(inside.shape[1], device=inside.device) + 1) / (2 * counts)


def resampled(
    timelines: Float[Tensor, "B L"], counts: Int[Tensor, " B"], width: int
) -> Float[Tensor, "B width"]:
    """Return timelines at other places, which are evenly spread too: the number whose place holds each one's middle.

    Args:
        timelines: NaN behind the last place of each.
        counts: the places that each row shall have.
        width: of the result, which is NaN behind a row's last place.

    >>> resampled(torch.tensor([[1.0, 2.0, 3.0, float("nan")]]), torch.tensor([6]), 7).tolist()
    [[1.0, 1.0, 2.0, 2.0, 3.0, 3.0, nan]]
    """
    lengths = lengths_of(timelines)[:, None]
    places = torch.arange(width, device=timelines.device)
    index = (2 * places + 1) * lengths // (2 * counts[:, None].clamp_min(1))
    values = timelines.gather(1, index.clamp(0, timelines.shape[1] - 1))
    return values.masked_fill((places >= counts[:, None]) | (lengths == 0), torch.nan)
