"""Views of series by name: which steps are seen, how fast, how large, how the device lay, which channels there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt64
from torch import Tensor

from ...networks.towers.series import Standardised
from ...raw import Series
from .keys import between, uniform, white
from .named_pictures import ImageOptions, named

_AXES = "xyz"


@final
@dataclass(frozen=True)
class SeriesView:
    """Random changes, in this order: window, warp, rotation, scale, jitter, dropped channels; each by its own key.

    Attributes:
        window: the least share of a series that is seen, from anywhere in it; 1 for its first steps.
        warp: by at most such a share a stretch of it goes faster or slower than it was measured.
        rotate_p: probability that triples of channels, the three axes of a device, are turned as one in space. These
            are channels whose names differ in their last letter alone, x, y, z; where channels have no names and are
            three, six or nine, each three.
        scale: by at most such a factor, or its inverse, everything is larger.
        jitter: the standard deviation of noise, in each channel's own over the training rows.
        drop: probability that a channel is not there; one that was measured always is.
    """

    window: float = 1.0
    warp: float = 0.0
    rotate_p: float = 0.0
    scale: float = 1.0
    jitter: float = 0.0
    drop: float = 0.0

    def within(self, other: SeriesView) -> SeriesView:
        """Return the view of the steps that another view shows."""
        return replace(self, window=other.window)

    def __call__(
        self,
        raw: Series,
        keys: UInt64[np.ndarray, " n"],
        input: Standardised,
        part: UInt64[np.ndarray, " n"] | None = None,
    ) -> Float[Tensor, "n steps C"]:
        """Return series as a tower takes them; their steps are drawn from the keys in ``part`` if given.

        Raises:
            ValueError: if the keys are not one per series, or the series have not the tower's channels.
        """
        if len(keys) != len(raw):
            raise ValueError(f"keys must be one per series: got {len(keys)} for {len(raw)} series")
        lengths, measured = input.check(raw).lengths.tolist(), raw.measured.numpy()
        chosen = triples(raw.channels, measured.shape[2])
        part = keys if part is None else part
        seen = [
            self._transform(one[:length], keys[row : row + 1], part[row : row + 1], input, chosen)
            for row, (one, length) in enumerate(zip(measured, lengths, strict=True))
        ]
        return input(Series.of(seen, raw.channels) if seen else raw)

    def _transform(
        self,
        series: Float32[np.ndarray, "T C"],
        key: UInt64[np.ndarray, " 1"],
        part: UInt64[np.ndarray, " 1"],
        input: Standardised,
        chosen: Sequence[int],
    ) -> Float32[np.ndarray, "t C"]:
        draw = partial(between, key)
        if self.window < 1:
            share = self.window + (1.0 - self.window) * uniform(part, "window")[0, 0]
            steps = max(1, round(share * min(len(series), input.steps)))
            start = int(uniform(part, "start")[0, 0] * (len(series) - steps + 1))
            series = series[start : start + steps]
        else:
            series = series[: input.steps]
        if self.warp:
            series = warped(series, self.warp, draw("warp", count=2))
        if chosen and draw("rotate")[0] < self.rotate_p:
            turn, series = rotation(draw("rotation", count=3)).astype(np.float32), series.copy()
            for first in chosen:
                series[:, first : first + 3] = series[:, first : first + 3] @ turn.T
        if self.scale > 1:
            series = series * np.float32(self.scale ** draw("scale", -1.0, 1.0)[0])
        if self.jitter:
            noise = white(key, series.size).reshape(series.shape)
            series = series + noise * (self.jitter * np.asarray(input.deviations, np.float32))
        if self.drop:
            there = draw("drop", count=series.shape[1])
            there[np.where(np.isnan(series).all(0), -1.0, there).argmax()] = 1.0
            series = np.where(there >= self.drop, series, np.float32(np.nan))
        return series.astype(np.float32, copy=False)


def triples(channels: Sequence[str], count: int) -> tuple[int, ...]:
    """Return the first of each three channels that are the axes of a device.

    >>> triples(("wrist x", "wrist y", "wrist z", "pulse"), 4), triples((), 6), triples((), 12)
    ((0,), (0, 3), ())
    """
    if not channels:
        return tuple(range(0, count, 3)) if count in (3, 6, 9) else ()
    stems = [(name[:-1].lower(), name[-1:].lower()) for name in channels]
    return tuple(
        first
        for first in range(count - 2)
        if [axis for _, axis in stems[first : first + 3]] == list(_AXES)
        and len({stem for stem, _ in stems[first : first + 3]}) == 1
    )


def rotation(draws: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "3 3"]:
    """Return a rotation, all equally likely, made of three numbers on [0, 1).

    Source: Shoemake, "Uniform random rotations", 1992.
    """
    u, a, b = draws[0], 2 * np.pi * draws[1], 2 * np.pi * draws[2]
    x, y = np.sqrt(1 - u) * np.sin(a), np.sqrt(1 - u) * np.cos(a)
    z, w = np.sqrt(u) * np.sin(b), np.sqrt(u) * np.cos(b)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def warped(
    series: Float32[np.ndarray, "T C"], most: float, draws: Float64[np.ndarray, " 2"]
) -> Float32[np.ndarray, "T C"]:
    """Return a series of the same length whose speed follows a wave; between two steps it runs straight.

    Args:
        series: NaN where nothing was measured; what lies between such a step and another one is not known either.
        most: the largest change of speed, a share below 1.
        draws: on [0, 1): the wave's phase, and how much of ``most`` is taken.
    """
    last = len(series) - 1
    if last < 1:
        return series
    time = np.arange(last + 1) / last
    phase, depth = 2 * np.pi * draws[0], most * draws[1]
    # Its derivative is 1 + depth · cos(2πt + phase), which keeps the order of times; both ends stay.
    moved = time + depth / (2 * np.pi) * (np.sin(2 * np.pi * time + phase) - np.sin(phase))
    position = np.clip(moved, 0, 1) * last
    before = np.minimum(np.floor(position).astype(np.int64), last - 1)
    share = (position - before)[:, None]
    mixed = (1 - share) * series[before] + share * series[before + 1]
    # A step that is met exactly does not ask for its neighbour.
    whole = np.where(share == 0, series[before], np.where(share == 1, series[before + 1], mixed))
    return whole.astype(np.float32)


_STRONG = SeriesView(window=0.5, warp=0.3, rotate_p=0.5, scale=1.3, jitter=0.1, drop=0.1)

SERIES_VIEWS: Mapping[str, SeriesView] = {
    "plain": SeriesView(),
    "weak": SeriesView(window=0.8, scale=1.1, jitter=0.03),
    "strong": _STRONG,
    "simclr": _STRONG,
}


def series(name: str, augmentation: ImageOptions | None = None) -> SeriesView:
    """Return a view of series by its name; for ``weak`` the plain one where ``augmentation`` names that.

    - ``plain``: the first steps.
    - ``weak``: at least 80 % of a series, up to 1.1 times as large or small, with noise of 0.03 deviations.
    - ``strong``, ``simclr``: at least a half, faster and slower by up to 30 %, up to 1.3 times as large or small, noise
      of 0.1 deviations, a tenth of the channels dropped; every second one turned in space, where channels are axes.

    >>> series("weak").window
    0.8

    Raises:
        UnknownNameError: for any other name.
    """
    return named(SERIES_VIEWS, "series", name, augmentation)
