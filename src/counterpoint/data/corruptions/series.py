"""Series made worse: noise, drift, dropped channels and a slower rate at three strengths, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...raw import Series

NOISE = (0.25, 0.5, 1.0)
"""Standard deviation of the noise, by strength, in those of the channel."""
DRIFT = (1.0, 2.0, 4.0)
"""Distance that a channel has drifted at its end, in its standard deviations."""
DROPPED = (0.25, 0.5, 0.75)
"""Share of the channels that are lost; one is left, of a series of one channel that one."""
SLOWER = (2, 4, 8)
"""Steps of which one is measured, by strength."""


def noise(series: Series, ids: Int[Tensor, " n"], strength: int) -> Series:
    """Add white noise to all that was measured; an id has the same noise at every strength, scaled."""

    def worse(measured: Float[Tensor, "T C"], draws: torch.Generator) -> Float[Tensor, "T C"]:
        return measured + NOISE[strength] * _spread(measured) * torch.randn(measured.shape, generator=draws)

    return series.changed(ids, worse)


def drift(series: Series, ids: Int[Tensor, " n"], strength: int) -> Series:
    """Let every channel drift evenly, up or down by its id."""

    def worse(measured: Float[Tensor, "T C"], draws: torch.Generator) -> Float[Tensor, "T C"]:
        ways = torch.randint(2, (measured.shape[1],), generator=draws) * 2 - 1
        rise = torch.linspace(0, 1, len(measured))[:, None]
        return measured + DRIFT[strength] * _spread(measured) * ways * rise

    return series.changed(ids, worse)


def dropped(series: Series, ids: Int[Tensor, " n"], strength: int) -> Series:
    """Lose some channels, of those in which something was measured; what is lost at one strength is at the next."""

    def worse(measured: Float[Tensor, "T C"], draws: torch.Generator) -> Float[Tensor, "T C"]:
        order = torch.randperm(measured.shape[1], generator=draws)
        there = order[~measured.isnan().all(0)[order]]
        lost = there[: min(round(DROPPED[strength] * len(there)), len(there) - 1)]
        return measured.index_fill(1, lost, torch.nan)

    return series.changed(ids, worse)


def resampling(series: Series, ids: Int[Tensor, " n"], strength: int) -> Series:
    """Measure less often, and let channels run straight between two measurements, at both ends on from the nearest.

    Of every channel single ones of the steps are kept that were measured, from a step on that an id says; what was not
    measured stays unknown.
    """

    def worse(measured: Float[Tensor, "T C"], draws: torch.Generator) -> Float[Tensor, "T C"]:
        slower, begins = SLOWER[strength], float(torch.rand((), generator=draws))
        changed = measured.clone()
        for channel in range(measured.shape[1]):
            (known,) = (~measured[:, channel].isnan()).nonzero(as_tuple=True)
            kept = known[int(begins * min(slower, len(known))) :: slower]
            if len(kept):
                straight = np.interp(known.numpy(), kept.numpy(), measured[kept, channel].numpy())
                changed[known, channel] = torch.from_numpy(straight).to(measured)
        return changed

    return series.changed(ids, worse)


def _spread(measured: Float[Tensor, "T C"]) -> Float[Tensor, " C"]:
    """Return the standard deviation of what was measured in every channel; 0 where nothing was."""
    known = ~measured.isnan()
    count = known.sum(0).clamp(min=1)
    mean = measured.nan_to_num(0.0).sum(0) / count
    return ((measured - mean).nan_to_num(0.0).square().sum(0) / count).sqrt()


CORRUPTIONS: Mapping[str, Callable[[Series, Tensor, int], Series]] = {
    "noise": noise,
    "drift": drift,
    "dropped": dropped,
    "resampling": resampling,
}
