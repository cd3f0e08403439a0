"""Outcomes of examples, and the numbers made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

if TYPE_CHECKING:
    import polars as pl


Constant = Callable[[Int[np.ndarray, " k"]], float]
"""A function from the positions of examples to the score of the best answer that is the same for all these examples."""


def mean(values: Float[np.ndarray, " n"]) -> float:
    return float(np.mean(values))


@dataclass(frozen=True)
class Metric:
    """A rule that makes a number from the outcomes of examples.

    An outcome is one number of an example, or a row of several (a class and what was taken for it, say).

    Attributes:
        columns: the column of the examples table that it reads, or k columns; an example that lacks one of them has no
            outcome.
        statistic: from outcomes ``(n,)``, or ``(n, k)`` of k columns in their order, to one number; the mean unless
            stated. Recomputed on every bootstrap resample.
        higher_is_better: the direction of better.
        chance: what guessing at random scores, where that is known.
        constant: from positions in the examples table to what the best answer that is the same for all of these
            examples scores; None where there is no such answer.
        bounds: the least and the greatest value that the number can have, which no interval of it leaves. Unless
            stated they are those of the statistic, and 0 and 1 for a mean of outcomes between 0 and 1.
    """

    columns: str | tuple[str, ...]
    statistic: Callable[[np.ndarray], float] = mean
    higher_is_better: bool = True
    chance: float | None = None
    constant: Constant | None = None
    bounds: tuple[float, float] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it reads, one or several."""
        return (self.columns,) if isinstance(self.columns, str) else self.columns


@dataclass(frozen=True)
class LabelMaps:
    """Class maps of a few pictures, true and predicted, for people to compare.

    Attributes:
        names: of the classes.
        pictures: as the model was shown them.
        true: the class of every pixel.
        predicted: what the model takes every pixel for.
    """

    names: tuple[str, ...]
    pictures: UInt8[np.ndarray, "k 3 S S"]
    true: Int[np.ndarray, "k S S"]
    predicted: Int[np.ndarray, "k S S"]


@dataclass(frozen=True)
class FoundMoments:
    """The moments of a few clips, true and found, for people to compare.

    Starts and ends are shares of a clip's length. NaN stands where a row has fewer spans or places than another.

    Attributes:
        queries: what was asked about each clip.
        true_spans: that the query asks for.
        true_saliency: of places that are evenly spread over the clip; NaN where it is not known.
        spans: found, each with its score.
        saliency: of the frames that the model saw.
    """

    queries: tuple[str, ...]
    true_spans: Float[np.ndarray, "k m 2"]
    true_saliency: Float[np.ndarray, "k L"]
    spans: Float[np.ndarray, "k q 3"]
    saliency: Float[np.ndarray, "k T"]


@dataclass(frozen=True)
class Scores:
    """The result of a task: the outcome of every example, and the metrics made from the outcomes.

    Attributes:
        task: the task's name.
        examples: a row per example; ``example`` (id), ``subset``, and columns of numbers, null where not applicable.
        metrics: a metric's name to how it is made from ``examples``.
        main: the metrics that verdicts are about, the primary one first; see `Task.main_metrics`.
        maps: of a few examples, where the task gives every pixel a class.
        moments: of a few examples, where the task asks when something is seen.
    """

    task: str
    examples: pl.DataFrame
    metrics: Mapping[str, Metric]
    main: tuple[str, ...] = ()
    maps: LabelMaps | None = None
    moments: FoundMoments | None = None

    def value(self, metric: str, subset: str = "all") -> float:
        """Return the metric over all examples, or over those of one subset; NaN where there is none."""
        outcomes = self.outcomes(metric, subset)
        return self.metrics[metric].statistic(outcomes) if len(outcomes) else float("nan")

    def outcomes(self, metric: str, subset: str = "all") -> Float[np.ndarray, "n ..."]:
        """Return the outcomes behind a metric: ``(n,)``, or ``(n, k)`` where it reads k columns."""
        columns = self.metrics[metric].columns
        rows = self.rows(metric, subset)
        if isinstance(columns, str):
            return self.examples[columns][rows].to_numpy()
        return self.examples.select(columns)[rows].to_numpy()

    def constant(self, metric: str, subset: str = "all") -> float | None:
        """Return what the best constant answer scores on the same examples, None where there is no such answer."""
        rows, constant = self.rows(metric, subset), self.metrics[metric].constant
        return None if constant is None or not len(rows) else constant(rows)

    def rows(self, metric: str, subset: str = "all") -> Int[np.ndarray, " k"]:
        """Return the positions of the examples of a subset that have an outcome."""
        mask = self._known[:, [self.examples.get_column_index(name) for name in self.metrics[metric].names]]
        within = (self.examples["subset"] == subset).to_numpy() | (subset == "all")
        return np.flatnonzero(within & mask.all(1))

    @cached_property
    def _known(self) -> Bool[np.ndarray, "n columns"]:
        """Which cells are not null: metrics of tags read hundreds of columns, for each subset."""
        return np.stack([column.is_not_null().to_numpy() for column in self.examples], 1)

    def subsets(self) -> tuple[str, ...]:
        """Return ``"all"``, then each subset that occurs, if there is more than one."""
        subsets = sorted(self.examples["subset"].unique().to_list())
        return ("all", *subsets) if len(subsets) > 1 else ("all",)
