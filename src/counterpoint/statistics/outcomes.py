"""The input of a comparison: the outcome of every example under every training seed, checked once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike

Seed = Hashable
ArmOutcomes = Mapping[Any, ArrayLike | None] | ArrayLike
"""One arm's outcomes.

A mapping from seed to ``(n,)``, to ``(rows, n)`` for several runs of one seed, or to ``None`` for a run that
failed; an array ``(seeds, n)``, whose rows are seeds 0, 1, …; or an array ``(n,)``: one fixed model, no
seeds. A statistic with k columns takes a last axis of k besides: ``(n, k)``, ``(rows, n, k)``, ``(seeds, n, k)``.
"""
Weighted = Callable[[np.ndarray, Float[np.ndarray, "replicates n"]], Float[np.ndarray, " replicates"]]
"""A function from outcomes of examples, and the times that each counts in every replicate, to a number for each."""


@final
class Statistic:
    """A function from the outcomes of examples to one number, with the names of the columns that it reads.

    An outcome is a row of numbers: a class and whether it was recognised, say. A bootstrap resamples rows, so that
    whatever is no mean (F1, a rank correlation, a calibration error) is computed anew on every resample. A row may hold
    the same of several things, such as the truth and the score of every tag; examples are resampled, never their tags.

    Args:
        function: from outcomes ``(n, k)``, or ``(n,)`` without columns, to one number.
        columns: the names of the k columns; none where an outcome is one number.
        least, most: bounds of the number, which no interval of it leaves.
        several: each column stands for m of them, one of every thing: outcomes are ``(n, k · m)``, first the m of the
            first name, then those of the second.
        weighted: the same function of all replicates at once: a resample is how often each example was drawn. Many
            times as fast as function calls where it is a matrix product, or sorts once for all replicates.

    Raises:
        ValueError: from a call with outcomes that have other columns.

    >>> odds = Statistic(lambda v: float(v[:, 0].sum() / v[:, 1].sum()), columns=("won", "lost"))
    >>> odds(np.array([[1.0, 2.0], [3.0, 2.0]]))
    1.0
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], float],
        columns: tuple[str, ...] = (),
        least: float = -math.inf,
        most: float = math.inf,
        *,
        several: bool = False,
        weighted: Weighted | None = None,
    ) -> None:
        self.function, self.columns, self.least, self.most = function, columns, least, most
        self.several, self.weighted = several, weighted

    @property
    def name(self) -> str:
        return self.function.__name__

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Return whether the outcome of an example may be of this shape: ``(k,)``, or ``()`` without columns."""
        if not self.columns or len(shape) != 1:
            return not self.columns and not shape
        things, rest = divmod(shape[0], len(self.columns))
        return not rest and (things > 0 if self.several else things == 1)

    def __call__(self, values: np.ndarray) -> float:
        if not self.takes(values.shape[1:]):
            takes = f"rows of {', '.join(self.columns)}" if self.columns else "single numbers"
            takes += ", each of several things" if self.several else ""
            raise ValueError(f"{self.name} takes {takes}, and got outcomes of shape {values.shape}")
        return float(self.function(values))


AnyStatistic = Literal["mean"] | Statistic | Callable[..., float]
"""``"mean"``, a `Statistic`, or a function from outcomes ``(n,)`` (or labels and predictions) to one number."""


_SINGLE = Statistic(np.mean)


def _read_by(statistic: AnyStatistic) -> Statistic:
    """Return the statistic that says which outcomes it takes; single numbers, unless it says otherwise."""
    return statistic if isinstance(statistic, Statistic) else _SINGLE


@dataclass(frozen=True)
class Outcomes:
    """One metric's outcomes under every arm.

    Attributes:
        arms: an arm's name to its outcomes: seed → ``(n,)``, ``(rows, n)``, or ``None`` for a failed run; or
            ``(n,)`` for a fixed model. The same examples in all arms.
        statistic: from outcomes to the metric, recomputed on each resample.
        higher_is_better: the direction of better.
        margin: differences within ± this do not matter (in the metric's units); enables `Verdict.EQUIVALENT`.
        unit: ``"points"``: the metric is a fraction and is told in hundredths; anything else is told as it
            is.
        bounds: the least and the greatest value that the metric can have, which no interval leaves. Unless stated they
            are those of the statistic, and 0 and 1 for a mean in points of outcomes between 0 and 1.
    """

    arms: Mapping[str, ArmOutcomes]
    statistic: AnyStatistic = "mean"
    higher_is_better: bool = True
    margin: float | None = None
    unit: str = "points"
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of one arm, side by side.

    Attributes:
        seeds: the seeds with at least one finished run, sorted.
        values: the outcomes, a row per run; with a last axis where an outcome has several columns.
        owner: which seed (an index into ``seeds``) each row belongs to.
        failed: seeds whose run failed.
        fixed: one given model rather than a training procedure with seeds.
    """

    seeds: tuple[Any, ...]
    values: Shaped[np.ndarray, "rows examples *columns"]
    owner: Int[np.ndarray, " rows"]
    failed: tuple[Any, ...] = ()
    fixed: bool = False

    @property
    def n_examples(self) -> int:
        return int(self.values.shape[1])

    def restrict(self, seeds: Sequence[Any]) -> Runs:
        """Keep only the runs of these seeds, in this order."""
        rows = [np.flatnonzero(self.owner == self.seeds.index(seed)) for seed in seeds]
        owner = np.repeat(np.arange(len(seeds)), [len(r) for r in rows])
        chosen = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        return Runs(tuple(seeds), self.values[chosen], owner, self.failed)

    def average_rows(
        self, scores: Float[np.ndarray, "*replicates rows"]
    ) -> Float[np.ndarray, "*replicates seeds"]:
        """Average scores per row to scores per seed: several runs of a seed count as one (the macro average)."""
        share = (self.owner[:, None] == np.arange(len(self.seeds))[None, :]).astype(np.float64)
        return scores @ (share / share.sum(0))


def sorted_seeds(seeds: Sequence[Any]) -> tuple[Any, ...]:
    """Sort numbers by size, then all else by its text: the same order whatever order the runs came in."""
    return tuple(sorted(seeds, key=lambda s: (0, s, "") if isinstance(s, int) else (1, 0, str(s))))


def _rows(
    outcomes: ArrayLike, where: str, statistic: Statistic
) -> Shaped[np.ndarray, "rows examples *columns"]:
    values, columns = np.asarray(outcomes), statistic.columns
    values = values[None] if values.ndim == 1 + bool(columns) else values
    if values.ndim < 2 or not statistic.takes(values.shape[2:]) or values.size == 0:
        last = _last(statistic)
        raise ValueError(
            f"{where} has outcomes of shape {np.shape(outcomes)}; give (examples{last or ','}), or "
            f"(rows, examples{last}) for several runs of one seed, with at least one example"
            + (f"; the last axis is {', '.join(columns)}" if columns else "")
        )
    if values.dtype == object:
        raise ValueError(
            f"{where} has outcomes of mixed types; give one array of numbers, booleans or strings"
        )
    if values.dtype.kind in "fc" and not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        raise ValueError(
            f"{where} has {n_bad} outcomes that are NaN or infinite; drop those examples in every "
            "arm alike, or give None in place of the run if it failed"
        )
    return values


def _last(statistic: Statistic) -> str:
    """Return the last axis of outcomes, as errors show it."""
    if not statistic.columns:
        return ""
    return f", {len(statistic.columns)}" + (" · things" if statistic.several else "")


def parse_runs(outcomes: ArmOutcomes, name: str, statistic: AnyStatistic = "mean") -> Runs:
    """Check one arm's outcomes and lay its runs side by side.

    Args:
        outcomes: of the arm.
        name: what errors call it.
        statistic: that they are for, which says how many numbers an outcome has.
    """
    taken = _read_by(statistic)
    columns = taken.columns
    if not isinstance(outcomes, Mapping):
        array, axes = np.asarray(outcomes), 1 + bool(columns)
        if array.ndim == axes:
            return Runs(("fixed",), _rows(array, name, taken), np.zeros(1, dtype=np.int64), fixed=True)
        if array.ndim != axes + 1:
            last = _last(taken)
            raise ValueError(
                f"{name} has shape {array.shape}; give a mapping from seed to outcomes, "
                f"an array (seeds, examples{last}), or (examples{last or ','}) for one fixed model"
                + (f"; the last axis is {', '.join(columns)}" if columns else "")
            )
        outcomes = dict(enumerate(array))
    if not outcomes:
        raise ValueError(f"{name} has no runs; give at least one seed")
    failed = sorted_seeds([seed for seed, run in outcomes.items() if run is None])
    seeds = sorted_seeds([seed for seed, run in outcomes.items() if run is not None])
    rows = [
        _rows(run, f"{name}, seed {seed!r},", taken) for seed in seeds if (run := outcomes[seed]) is not None
    ]
    sizes = {r.shape[1] for r in rows}
    if len(sizes) > 1:
        raise ValueError(
            f"{name} has {sorted(sizes)} examples under different seeds; examples must be the same"
        )
    values = np.concatenate(rows) if rows else np.empty((0, 0))
    return Runs(seeds, values, np.repeat(np.arange(len(seeds)), [len(r) for r in rows]), failed)


def check_same_examples(arms: Mapping[str, Runs]) -> int:
    """Return the number of examples, the same in all arms that have any run (0 where none has)."""
    sizes = {name: runs.n_examples for name, runs in arms.items() if runs.seeds}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"arms have different numbers of examples, {sizes}; score all arms on the same examples"
        )
    return next(iter(sizes.values()), 0)
