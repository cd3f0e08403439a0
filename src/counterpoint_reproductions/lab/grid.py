"""Grids: a function's measurements at every point of some axes, under every seed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, final

import numpy as np

from counterpoint.statistics.outcomes import AnyStatistic

from .score import Measurements, Score, exact, of_arm

Arrays = dict[str, np.ndarray]
"""Measurements of one cell of an experiment, by name."""
Axes = Mapping[str, Sequence[Any] | Mapping[Any, Mapping[str, Any]]]
"""An axis's name, which is that of the function's setting, to its values; or to named combinations of settings."""
Point = tuple[Hashable, ...]
"""One value of each axis."""
Runs = Mapping[int | None, Arrays]
"""Arrays by seed; the seed of a function without chance is None."""


def points(axes: Axes) -> Iterator[Point]:
    """Yield every combination of one value of each axis."""
    return product(*axes.values())


def settings(axes: Axes, point: Point) -> dict[str, Any]:
    """Return the settings of a point: the values themselves, or what a named combination stands for.

    >>> settings({"batch": (8, 16), "arm": {"plain": {"alpha": 0, "tau": 0.1}}}, (8, "plain"))
    {'batch': 8, 'alpha': 0, 'tau': 0.1}
    """
    merged: dict[str, Any] = {}
    for (axis, values), value in zip(axes.items(), point, strict=True):
        merged |= values[value] if isinstance(values, Mapping) else {axis: value}
    return merged


def in_words(axis: str, value: object) -> str:
    """Return a value of an axis in words: a name speaks for itself, a number needs its axis.

    >>> in_words("loss", "DCL"), in_words("batch", 8), in_words("lr", 1e-3)
    ('DCL', 'batch 8', 'lr 0.001')
    """
    if isinstance(value, str):
        return value
    return f"{axis} {value:g}" if isinstance(value, int | float) else f"{axis} {value}"


@final
class Grid:
    """Measurements of a function, indexed by the values of the axes: ``grid["DCL", 8]`` are the runs of one point.

    Attributes:
        axes: the name and the values of each.
        runs: the arrays of every seed at every point.
        chosen: what was tuned, at every point.
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[Any]],
        runs: Mapping[Point, Runs],
        chosen: Mapping[Point, Mapping[str, Any]] | None = None,
    ) -> None:
        self.axes = {axis: tuple(values) for axis, values in axes.items()}
        self.runs, self.chosen = runs, chosen or {}
        self._arms: dict[tuple[int, str, Any], Measurements] = {}

    def __getitem__(self, key: Any) -> Runs:
        return self.runs[self.point(key)]

    def __iter__(self) -> Iterator[Point]:
        return iter(self.runs)

    def first(self, key: Any) -> Arrays:
        """Return the arrays of a point under its first seed, for what is the same under all."""
        return next(iter(self[key].values()))

    def point(self, key: Any) -> Point:
        """Return the point that an index means.

        Raises:
            KeyError: if it is not a point of the grid; names the axes and their values.
        """
        point = key if isinstance(key, tuple) else (key,)
        if point not in self.runs:
            axes = "; ".join(f"{axis}: {', '.join(map(str, values))}" for axis, values in self.axes.items())
            raise KeyError(
                f"{key!r} is no point of the grid ({axes}); give one value of each axis, in this order"
            )
        return point

    def words(self, key: Any) -> tuple[str, ...]:
        """Return the values of a point in words, one an axis."""
        return tuple(in_words(axis, value) for axis, value in zip(self.axes, self.point(key), strict=True))

    def scores(
        self,
        outcome: str,
        metric: str,
        statistic: AnyStatistic = "mean",
        *,
        by_seed: Callable[[np.ndarray], Any] | None = None,
    ) -> GridScores:
        """Return one outcome of all cells as scores, indexed as the grid is.

        Args:
            outcome: the name of an array: ``(n,)``, an outcome per example; or ``()``, a number per run. Where a cell
                measures several arms, a name with places, ``"{} accuracy"``, that the rest of an index fills.
            metric: what is measured, in words.
            statistic: from outcomes to the score, recomputed in every resample.
            by_seed: reduces a run's array to one number, where its entries are no examples to be drawn again (the
                steps of a run, say).
        """
        return GridScores(self, outcome, metric, statistic, by_seed)

    def arm(
        self, point: Point, outcome: str, by_seed: Callable[[np.ndarray], Any] | None, label: str
    ) -> Measurements:
        """Return an arm; the same one whenever the same is asked for, so that an expression has it once."""
        runs = self.runs[point]
        known = (id(runs), outcome, by_seed)
        if known not in self._arms:
            self._arms[known] = _arm(label, runs, outcome, by_seed)
        return self._arms[known]

    @property
    def choices(self) -> str:
        """Text for a note: the tuned values at each point."""
        parts = (
            f"{', '.join(self.words(point))}: {', '.join(_plain(value) for value in values.values())}"
            for point, values in self.chosen.items()
        )
        return "; ".join(parts)


@final
class GridScores:
    """One outcome of a grid; ``accuracy["DCL", 8]`` is the score of one arm."""

    def __init__(
        self,
        grid: Grid,
        outcome: str,
        metric: str,
        statistic: AnyStatistic,
        by_seed: Callable[[np.ndarray], Any] | None,
    ) -> None:
        self.grid, self.outcome, self.metric, self.statistic = grid, outcome, metric, statistic
        self._by_seed = by_seed

    def __getitem__(self, key: Any) -> Score:
        point, rest = self._split(key)
        outcome, words = self.outcome.format(*rest), self._words(key)
        runs = self.grid.runs[point]
        if None in runs and runs[None][outcome].ndim == 0:
            return exact(float(runs[None][outcome]), self.metric, ", ".join(words))
        arm = self.grid.arm(point, outcome, self._by_seed, ", ".join(words))
        return of_arm(arm, words, self.metric, self.statistic)

    def values(self, key: Any) -> np.ndarray:
        """Return the outcome under every seed, ``(seeds, …)``."""
        point, rest = self._split(key)
        return np.array([run[self.outcome.format(*rest)] for run in self.grid.runs[point].values()])

    def means(self, keys: Iterable[Any] | None = None, digits: int = 3) -> str:
        """Return the mean of every arm in words, for a note; of all points unless ``keys`` are given.

        For another statistic than the mean, or where ``by_seed`` reduces runs, it is that number, averaged over seeds.
        """
        return ", ".join(
            f"{', '.join(self._words(key))} {self._mean(key):.{digits}f}"
            for key in (self.grid if keys is None else keys)
        )

    def _mean(self, key: Any) -> float:
        if self.statistic == "mean" and self._by_seed is None:
            return float(np.nanmean(self.values(key)))
        estimate = self[key].measure().estimate
        return float("nan") if estimate is None else estimate

    def _split(self, key: Any) -> tuple[Point, tuple[Any, ...]]:
        """Part an index into a point of the grid and what fills the places of the outcome's name."""
        key = key if isinstance(key, tuple) else (key,)
        return self.grid.point(key[: len(self.grid.axes)]), key[len(self.grid.axes) :]

    def _words(self, key: Any) -> tuple[str, ...]:
        point, rest = self._split(key)
        words = (
            *self.grid.words(point),
            *(f"{one:g}" if isinstance(one, float) else str(one) for one in rest),
        )
        return words or (self.outcome,)


def _arm(label: str, runs: Runs, outcome: str, by_seed: Callable[[np.ndarray], Any] | None) -> Measurements:
    arrays = {seed: run[outcome] for seed, run in runs.items()}
    if by_seed is not None:
        arrays = {seed: np.asarray(by_seed(array)) for seed, array in arrays.items()}
    dimensions = {array.ndim for array in arrays.values()}
    if dimensions == {0}:
        return Measurements(label, {seed: float(array) for seed, array in arrays.items()}, by_seed=True)
    return Measurements(label, arrays.get(None, arrays))  # without a seed: one fixed model


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
