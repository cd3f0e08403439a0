"""The input of a comparison: the outcome of every example under every training seed, checked once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike

Seed = Hashable
ArmOutcomes = Mapping[Any, ArrayLike | None] | ArrayLike
"""One arm's outcomes.

A mapping from seed to ``(n,)``, to ``(rows, n)`` for several runs of one seed, or to ``None`` for a run that
failed; an array ``(seeds, n)``, whose rows are seeds 0, 1, …; or an array ``(n,)``: one fixed model, no
seeds.
"""
Statistic = Literal["mean"] | Callable[..., float]
"""``"mean"``, or a function from outcomes ``(n,)`` (or labels and predictions) to one number."""


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
    """

    arms: Mapping[str, ArmOutcomes]
    statistic: Statistic = "mean"
    higher_is_better: bool = True
    margin: float | None = None
    unit: str = "points"


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of one arm, side by side.

    Attributes:
        seeds: the seeds with at least one finished run, sorted.
        values: the outcomes, a row per run.
        owner: which seed (an index into ``seeds``) each row belongs to.
        failed: seeds whose run failed.
        fixed: one given model rather than a training procedure with seeds.
    """

    seeds: tuple[Any, ...]
    values: Shaped[np.ndarray, "rows examples"]
    owner: Int[np.ndarray, " rows"]
    failed: tuple[Any, ...] = ()
    fixed: bool = False

    @property
    def n_examples(self) -> int:
        return int(self.values.shape[1])

    def restrict(self, seeds: Sequence[Any]) -> Runs:
        """Only the runs of these seeds, in this order."""
        rows = [np.flatnonzero(self.owner == self.seeds.index(seed)) for seed in seeds]
        owner = np.repeat(np.arange(len(seeds)), [len(r) for r in rows])
        chosen = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
        return Runs(tuple(seeds), self.values[chosen], owner, self.failed)

    def average_rows(
        self, scores: Float[np.ndarray, "*replicates rows"]
    ) -> Float[np.ndarray, "*replicates seeds"]:
        """Scores per row to scores per seed: several runs of a seed count as one (the macro average)."""
        share = (self.owner[:, None] == np.arange(len(self.seeds))[None, :]).astype(np.float64)
        return scores @ (share / share.sum(0))


def sorted_seeds(seeds: Sequence[Any]) -> tuple[Any, ...]:
    """Numbers by size, then all else by its text: the same order whatever order the runs came in."""
    return tuple(sorted(seeds, key=lambda s: (0, s, "") if isinstance(s, int) else (1, 0, str(s))))


def _rows(outcomes: ArrayLike, where: str) -> Shaped[np.ndarray, "rows examples"]:
    values = np.atleast_2d(np.asarray(outcomes))
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"{where} has outcomes of shape {np.shape(outcomes)}; give (examples,), or "
            "(rows, examples) for several runs of one seed, with at least one example"
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


def parse_runs(outcomes: ArmOutcomes, name: str) -> Runs:
    """Check one arm's outcomes and lay its runs side by side; ``name`` is what errors call it."""
    if not isinstance(outcomes, Mapping):
        array = np.asarray(outcomes)
        if array.ndim == 1:
            return Runs(("fixed",), _rows(array, name), np.zeros(1, dtype=np.int64), fixed=True)
        if array.ndim != 2:
            raise ValueError(
                f"{name} has shape {array.shape}; give a mapping from seed to outcomes, "
                "an array (seeds, examples), or (examples,) for one fixed model"
            )
        outcomes = dict(enumerate(array))
    if not outcomes:
        raise ValueError(f"{name} has no runs; give at least one seed")
    failed = sorted_seeds([seed for seed, run in outcomes.items() if run is None])
    seeds = sorted_seeds([seed for seed, run in outcomes.items() if run is not None])
    rows = [_rows(run, f"{name}, seed {seed!r},") for seed in seeds if (run := outcomes[seed]) is not None]
    sizes = {r.shape[1] for r in rows}
    if len(sizes) > 1:
        raise ValueError(
            f"{name} has {sorted(sizes)} examples under different seeds; examples must be the same"
        )
    values = np.concatenate(rows) if rows else np.empty((0, 0))
    return Runs(seeds, values, np.repeat(np.arange(len(seeds)), [len(r) for r in rows]), failed)


def check_same_examples(arms: Mapping[str, Runs]) -> int:
    """The number of examples, the same in all arms that have any run (0 where none has)."""
    sizes = {name: runs.n_examples for name, runs in arms.items() if runs.seeds}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"arms have different numbers of examples, {sizes}; score all arms on the same examples"
        )
    return next(iter(sizes.values()), 0)
