"""Series: measurements over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .examples import Raw, ends, padded


@final
@dataclass(frozen=True, eq=False)
class Series(Raw):
    """Measurements over time, of several channels.

    >>> series = Series.of([np.zeros((5, 2)), np.zeros((3, 2))], channels=("x", "y"))
    >>> series.lengths, series[0].measured.shape
    (tensor([5, 3]), torch.Size([1, 5, 2]))

    Attributes:
        measured: NaN where nothing was measured, and behind the end of a series.
        channels: their names, one each; none where they have no names.
    """

    measured: Float[Tensor, "n T C"]
    channels: tuple[str, ...] = ()

    @classmethod
    def of(cls, series: Sequence[np.ndarray], channels: Sequence[str] = ()) -> Series:
        """Return series ``(T, C)``, or ``(T,)`` of one channel, of different lengths.

        Raises:
            ValueError: for other axes, and for series of different channels.
        """
        columns = [one[:, None] if one.ndim == 1 else one for one in series]
        for number, one in enumerate(columns):
            if one.ndim != 2 or one.shape[1] != (len(channels) or columns[0].shape[1]):
                expected = f"those of {', '.join(channels)}" if channels else "as many in all of them"
                raise ValueError(
                    f"series {number} is of shape {series[number].shape}, and series are (T, C), time first, of the "
                    f"same channels C: {expected}"
                )
        return cls(padded(columns) if columns else torch.zeros(0, 1, 1), tuple(channels))

    @property
    def values(self) -> Tensor:
        return self.measured

    def with_values(self, values: Tensor) -> Series:
        return Series(values, self.channels)

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """The steps of each series."""
        return ends(self.measured)


def check_series(series: object) -> Series:
    """Return series that can be embedded; an array or a tensor ``(n, T, C)`` or ``(n, T)`` is one.

    Raises:
        ValueError: for anything else, for none, and for one in which nothing is measured, or something infinite.

    >>> check_series(np.zeros((4, 10, 3))).measured.shape
    torch.Size([4, 10, 3])
    """
    if isinstance(series, np.ndarray):
        series = torch.from_numpy(series)
    if isinstance(series, Tensor) and series.ndim in (2, 3):
        series = Series(series.float() if series.ndim == 3 else series.float()[..., None])
    if not isinstance(series, Series):
        raise ValueError(
            f"series must be cp.Series or an array (n, T, C), got {type(series).__name__}: cp.Series.of(series) takes "
            "a list of arrays (T, C)"
        )
    if not len(series):
        raise ValueError("there is nothing to embed: there are no series")
    if series.measured.isinf().any():
        raise ValueError("a series holds infinite values")
    if len(empty := torch.nonzero(series.lengths == 0)):
        raise ValueError(f"series {int(empty[0])} is empty: nothing is measured in it")
    return series
