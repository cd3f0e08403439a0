"""The built-in tower of series: its input, fitted on training rows, and dilated convolutions over time for a CPU."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ...files import FORMAT, read_json, write_json
from ...raw import Series, ends
from ..base import Tower
from .parts.temporal import TimeConvolution, TimeNorm, TimeResidual, before, mean_inside


class _Kept(BaseModel):
    """``series.json``."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    steps: int
    channels: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]


@final
class Standardised:
    """The input of a tower of series: the first steps of each, its channels in units of the training rows.

    Values that were not measured stay NaN, as do the steps behind the end of a series.

    >>> two = Series.of([np.array([[1.0], [3.0]]), np.array([[np.nan], [5.0], [7.0]])])
    >>> given = Standardised.fit([two], steps=2)
    >>> given.means, given(two)[:, :, 0]
    ((4.0,), tensor([[-1.3416, -0.4472],
            [    nan,  0.4472]]))

    Args:
        steps: of a series that are read.
        channels: their names; none where they have no names.
        means, deviations: of the training rows, one for each channel; none where series of any channels stay as they
            were measured.
    """

    file = "series.json"

    def __init__(
        self, steps: int, channels: Sequence[str], means: Sequence[float], deviations: Sequence[float]
    ) -> None:
        self.steps, self.channels = steps, tuple(channels)
        self.means, self.deviations = tuple(means), tuple(deviations)

    @classmethod
    def fit(cls, columns: Sequence[Series], steps: int) -> Self:
        """Learn the mean and the deviation of each channel from the training rows of all columns that are read.

        A channel without any value, or with one value alone, keeps its unit.

        Raises:
            ValueError: where the columns have different channels.
        """
        kinds = {(column.measured.shape[2], column.channels) for column in columns}
        if len(kinds) != 1:
            listing = ", ".join(sorted(_channel_list(count, channels) for count, channels in kinds))
            raise ValueError(
                f"columns of series that share a tower must have the same channels, and these have {listing or 'none'}"
            )
        values = np.concatenate([column.measured.flatten(0, 1).double().numpy() for column in columns])
        known = ~np.isnan(values)
        count = np.maximum(known.sum(0), 1)
        means = np.where(known, values, 0).sum(0) / count
        deviations = np.sqrt(np.where(known, np.square(values - means), 0).sum(0) / count)
        deviations = np.where(deviations > 0, deviations, 1)
        return cls(steps, columns[0].channels, means.tolist(), deviations.tolist())

    @classmethod
    def as_measured(cls, steps: int) -> Self:
        """Return the input of a tower that was fitted on no rows and takes series of any channels, in their units."""
        return cls(steps, (), (), ())

    @property
    def window(self) -> int:
        return self.steps

    def check(self, series: Series) -> Series:
        """Return series that have the channels of the training rows.

        Raises:
            ValueError: for others.
        """
        count, channels = series.measured.shape[2], series.channels
        if not self.means:
            return series
        if count != len(self.means) or (channels and self.channels and channels != self.channels):
            raise ValueError(
                f"the tower takes series of {_channel_list(len(self.means), self.channels)}, and these have "
                f"{_channel_list(count, channels)}: give these channels, in this order"
            )
        return series

    def __call__(self, series: Series) -> Float[Tensor, "B T C"]:
        measured = self.check(series).measured[:, : self.steps]
        longest = int(ends(measured).max()) if len(measured) else 0
        measured = measured[:, : max(longest, 1)]
        if not self.means:
            return measured.float()
        means, deviations = (measured.new_tensor(values) for values in (self.means, self.deviations))
        return ((measured - means) / deviations).float()

    def save(self, path: str | Path) -> None:
        """Write one JSON file."""
        kept = _Kept(steps=self.steps, channels=self.channels, means=self.means, deviations=self.deviations)
        write_json(Path(path), kept.model_dump())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            DamagedFileError: for a file that is missing or no such file.
        """
        kept = read_json(Path(path), _Kept, "train the model again, or export it again")
        return cls(kept.steps, kept.channels, kept.means, kept.deviations)


def _channel_list(count: int, channels: Sequence[str]) -> str:
    return f"{count} channels" + (f" ({', '.join(channels)})" if channels else "")


class SeriesTower(Tower, ABC):
    """Series to features."""

    modality: ClassVar[str] = "series"
    standardised: Standardised

    @property
    def input(self) -> Standardised:
        return self.standardised

    @property
    def sizes(self) -> Mapping[str, int | float]:
        return {"series_steps": self.standardised.steps}

    def states(self, series: Float[Tensor, "B T C"]) -> Float[Tensor, "B t width"]:
        """Return features of times, in the space of `forward`'s, before they are pooled; zero behind a series' end.

        Raises:
            LookupError: for a tower without them.
        """
        raise LookupError(f"{type(self).__name__} has no features of single times of a series")


class DilatedTower(SeriesTower):
    """Residual blocks of convolutions over ever more distant times, read as the mean of the states of all steps.

    Each channel comes with another one that says where it was measured; where it was not it is 0, its training rows'
    mean. The blocks' three times lie 1, 2, 4, 8, 16 steps apart. It works series by series, so that neither padding nor
    the series beside it change its features.

    Args:
        standardised: its input, which knows the channels.
        width: of states and features.
        dilations: of the blocks.

    Source: dilated convolutions for representations of series: TS2Vec (arXiv 2106.10466).
    """

    def __init__(
        self, standardised: Standardised, width: int = 64, dilations: Sequence[int] = (1, 2, 4, 8, 16)
    ) -> None:
        super().__init__()
        self.standardised, self.width = standardised, width
        self.stem = TimeConvolution(2 * len(standardised.means), width, 3, padding=1)
        self.blocks = nn.ModuleList(TimeResidual(width, dilation) for dilation in dilations)
        self.norm = TimeNorm(width)

    def forward(self, series: Float[Tensor, "B T C"]) -> Float[Tensor, "B width"]:
        return mean_inside(*self._states(series))

    def states(self, series: Float[Tensor, "B T C"]) -> Float[Tensor, "B T width"]:
        states, inside = self._states(series)
        return states.mT * inside[..., None]

    def _states(self, series: Float[Tensor, "B T C"]) -> tuple[Float[Tensor, "B width T"], Tensor]:
        inside = before(ends(series), series.shape[1])
        known = ~series.isnan()
        x = self.stem(torch.cat([series.nan_to_num(0.0), known.to(series.dtype)], 2).mT)
        for block in self.blocks:
            x = block(x, inside)
        return F.gelu(self.norm(x)), inside
