"""The Multi-Bootstrap: resample training seeds and test examples together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from .outcomes import (
    AnyStatistic,
    ArmOutcomes,
    Runs,
    Statistic,
    check_same_examples,
    parse_runs,
)

PAPERS = {"multiberts": ("multi_bootstrap",)}

FEW_SEEDS = 5
"""Number of seeds below which no interval over seeds is well calibrated."""
FEW_EXAMPLES = 10
"""Below this, resamples of the examples say little of other examples: with one, nothing."""
_CHUNK = 2_000_000  # drawn indices held at a time


class StatisticsWarning(UserWarning):
    """Something that limits what a statistic can show."""


@dataclass(frozen=True)
class Summary:
    """A quantity and how it varies over replicates.

    Attributes:
        estimate: the plug-in value: the mean over seeds of the score on all examples.
        mean: the mean over replicates.
        low: lower end of the percentile interval.
        high: upper end.
        standard_error: the standard deviation over replicates.
    """

    estimate: float
    mean: float
    low: float
    high: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class MultiBootstrap:
    """The result of `multi_bootstrap`.

    Attributes:
        treatment: the score of the treatment, L'.
        baseline: the score of the baseline, L; ``None`` when there is none.
        delta: L' − L (L' where there is no baseline).
        p: one-sided: the share of replicates in which the effect is not of the expected sign, at least 1 /
            n_boot.
        replicates: a row (L, L') per replicate; L is 0 where there is no baseline.
        n_undefined: replicates dropped because the score was NaN on the resample.
        confidence: of the percentile intervals.
        warnings: what limits the result, in plain English.
    """

    treatment: Summary
    baseline: Summary | None
    delta: Summary
    p: float
    replicates: Float[np.ndarray, "replicates 2"]
    n_undefined: int
    confidence: float
    warnings: tuple[str, ...]

    @property
    def deltas(self) -> Float[np.ndarray, " replicates"]:
        base, treatment = self.replicates.T
        return treatment - base

    def at_least(self, threshold: float) -> float:
        """Return P(delta ≥ threshold) over replicates."""
        return float(np.mean(self.deltas >= threshold - tie(self.deltas)))

    def at_least_relative(self, ratio: float) -> float:
        """Return P(delta / L ≥ ratio) over replicates; sensible only where the baseline's score is far from 0."""
        if self.baseline is None:
            raise ValueError("a relative threshold needs a baseline; give one to multi_bootstrap")
        return float(np.mean(self.deltas / self.replicates[:, 0] >= ratio))


def draw_seeds(rng: np.random.Generator, n_seeds: int, n_boot: int) -> Int[np.ndarray, "replicates seeds"]:
    """Draw for every replicate as many seeds as there are, with replacement."""
    return rng.integers(0, n_seeds, (n_boot, n_seeds))


def draw_examples(
    rng: np.random.Generator, n_examples: int, n_boot: int
) -> Iterator[Int[np.ndarray, "chunk examples"]]:
    """Draw for every replicate as many examples as there are, with replacement; in chunks, to bound memory."""
    rows = max(1, _CHUNK // n_examples)
    for start in range(0, n_boot, rows):
        yield rng.integers(0, n_examples, (min(rows, n_boot - start), n_examples), dtype=np.int32)


def is_mean(statistic: AnyStatistic) -> bool:
    return (statistic.function if isinstance(statistic, Statistic) else statistic) in ("mean", np.mean)


def seed_scores(
    runs: Runs,
    draws: Int[np.ndarray, "replicates examples"],
    statistic: AnyStatistic = "mean",
    labels: np.ndarray | None = None,
) -> Float[np.ndarray, "replicates seeds"]:
    """Return each seed's score on each resample of the examples (a row of ``draws``), averaged over its runs."""
    n_boot, n = draws.shape
    weighted = statistic.weighted if isinstance(statistic, Statistic) else None
    if is_mean(statistic) or weighted is not None:
        shifted = draws + n * np.arange(n_boot, dtype=np.int64)[:, None]
        counts = np.bincount(shifted.ravel(), minlength=n_boot * n).reshape(n_boot, n).astype(np.float64)
        if weighted is not None:
            return runs.average_rows(np.stack([weighted(values, counts) for values in runs.values], 1))
        # A mean over a resample is a weighted mean: count each example, then one matrix product.
        return runs.average_rows((counts @ runs.values.astype(np.float64).T) / n)
    if isinstance(statistic, str):
        raise ValueError(f"score is {statistic!r}; give 'mean' or a function")
    function: Callable[..., float] = statistic
    scores = np.empty((n_boot, len(runs.values)))
    for b, index in enumerate(draws):
        for row, values in enumerate(runs.values):
            drawn = values[index]
            scores[b, row] = function(drawn) if labels is None else function(labels[index], drawn)
    return runs.average_rows(scores)


def plug_in_scores(
    runs: Runs, statistic: AnyStatistic = "mean", labels: np.ndarray | None = None
) -> Float[np.ndarray, " seeds"]:
    """Return the score of each seed on all examples."""
    return seed_scores(runs, np.arange(runs.n_examples)[None], statistic, labels)[0]


def resample(
    sides: Sequence[Runs],
    rng: np.random.Generator,
    n_boot: int,
    statistic: AnyStatistic = "mean",
    labels: np.ndarray | None = None,
) -> list[Float[np.ndarray, "replicates _"]]:
    """Score all sides on the same resamples of the examples."""
    parts = [
        [seed_scores(side, draws, statistic, labels) for side in sides]
        for draws in draw_examples(rng, sides[0].n_examples, n_boot)
    ]
    return [np.concatenate(side) for side in zip(*parts, strict=True)]


def average_over_seeds(
    scores: Float[np.ndarray, "replicates seeds"], draws: Int[np.ndarray, "replicates seeds"]
) -> Float[np.ndarray, " replicates"]:
    """Return the mean over each replicate's drawn seeds; a seed that is drawn twice counts twice."""
    return np.take_along_axis(scores, draws, axis=1).mean(1)


def check_options(n_boot: int, confidence: float) -> None:
    if n_boot < 1:
        raise ValueError(f"n_boot is {n_boot}; give at least 1, and 1000 for an interval")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; give a number between 0 and 1, such as 0.95")


def percentiles(replicates: Float[np.ndarray, " replicates"], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(replicates, [(1 - confidence) / 2, 1 - (1 - confidence) / 2])
    return float(low), float(high)


def summarise(estimate: float, replicates: Float[np.ndarray, " replicates"], confidence: float) -> Summary:
    """Return a plug-in estimate with the mean, percentile interval and standard error of its replicates."""
    spread = float(np.std(replicates, ddof=1)) if len(replicates) > 1 else 0.0
    return Summary(float(estimate), float(np.mean(replicates)), *percentiles(replicates, confidence), spread)


def tie(deltas: Float[np.ndarray, " replicates"]) -> float:
    """Return how far from a value a replicate may lie by rounding alone; discrete metrics tie often."""
    return 1e-12 * float(np.abs(deltas).max())


def one_sided_p(deltas: Float[np.ndarray, " replicates"], expect: Literal["positive", "negative"]) -> float:
    """Return the share of replicates on the wrong side of zero; n replicates cannot resolve less than 1 / n."""
    wrong = deltas <= tie(deltas) if expect == "positive" else deltas >= -tie(deltas)
    return max(float(np.mean(wrong)), 1 / len(deltas))


def multi_bootstrap(
    treatment: ArmOutcomes,
    baseline: ArmOutcomes | None = None,
    *,
    labels: ArrayLike | None = None,
    score: AnyStatistic = "mean",
    paired_seeds: bool = True,
    sample_seeds: bool = True,
    sample_examples: bool = True,
    expect: Literal["positive", "negative"] = "positive",
    n_boot: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> MultiBootstrap:
    """Compare two training procedures so that the interval covers the choice of seeds and of test examples.

        L(S, E) = mean over seeds s of S of score( outcomes of s on the examples E )
        Δ* = L'(S'*, E*) − L(S*, E*),   S*, S'* and E* drawn with replacement

    Each replicate draws seeds with replacement (once for both sides when paired, else once per side) and
    examples with replacement (the same for both sides and all seeds), scores every drawn seed on the drawn
    examples, averages a seed's runs first and the drawn seeds then, and keeps (L, L').

    In retrieval the outcome of an example is that of a query against the whole gallery: only queries are
    resampled, since a drawn-twice item in the gallery would be its own twin.

    Args:
        treatment: outcomes, as in `ArmOutcomes`. ``(n,)`` is one fixed model: only examples vary on that
            side.
        baseline: the same for the baseline; left out, the treatment's own score is summarised (against 0).
        labels: ``(n,)``; with them ``score`` is called as ``score(labels, predictions)``.
        score: ``"mean"`` of the outcomes, a `Statistic` of rows of columns, or a function to one number, recomputed
            on every resample. A resample where it is NaN (AUC with one class) is dropped and counted.
        paired_seeds: both sides share what the seed fixes (initial weights, data order). Sides with different
            seeds are cut to the common ones, with a warning.
        sample_seeds: off: the ordinary bootstrap over examples.
        sample_examples: off: the ordinary bootstrap over seeds.
        expect: the sign of the effect under test, for the one-sided p.
        n_boot: number of replicates.
        confidence: of the percentile intervals.
        seed: of the resampling.

    Raises:
        ValueError: NaN outcomes, failed runs, no common seed, different examples on the two sides.

    Source: Sellam et al., The MultiBERTs (arXiv 2106.16163).

    >>> import numpy as np
    >>> hits = np.random.default_rng(0).random((2, 5, 200)) < np.array([0.6, 0.8])[:, None, None]
    >>> result = multi_bootstrap(treatment=hits[1], baseline=hits[0])
    >>> delta = result.delta
    >>> print(f"{delta.estimate:.3f} ({delta.low:.3f} to {delta.high:.3f}), p = {result.p}")
    0.219 (0.154 to 0.282), p = 0.001
    """
    check_options(n_boot, confidence)
    if expect not in ("positive", "negative"):
        raise ValueError(f"expect is {expect!r}; give 'positive' or 'negative'")
    outcomes_of = (
        {"treatment": treatment} if baseline is None else {"treatment": treatment, "baseline": baseline}
    )
    sides = {name: parse_runs(outcomes, name, score) for name, outcomes in outcomes_of.items()}
    for name, runs in sides.items():
        if runs.failed:
            raise ValueError(
                f"{name} has failed runs (seeds {list(runs.failed)}); use compare_arms, which counts them"
            )
    n = check_same_examples(sides)
    label_array = _check_labels(labels, score, n)
    notes: list[str] = []
    paired = paired_seeds and len(sides) == 2 and not any(runs.fixed for runs in sides.values())
    if paired:
        sides, dropped = pair(sides)
        notes += [
            f"seeds {list(seeds)} are in {name} only and were left out"
            for name, seeds in dropped.items()
            if seeds
        ]
    n_seeds = min((len(runs.seeds) for runs in sides.values() if not runs.fixed), default=1)
    if sample_seeds and n_seeds < FEW_SEEDS and not all(runs.fixed for runs in sides.values()):
        notes.append(
            f"{n_seeds} seed{'s' * (n_seeds != 1)}: below {FEW_SEEDS} the bootstrap over seeds understates "
            f"the variance, by about 1/{n_seeds} of it"
        )

    seed_rng, example_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    plug_in = {name: plug_in_scores(runs, score, label_array) for name, runs in sides.items()}
    if sample_examples:
        scores = dict(
            zip(sides, resample(list(sides.values()), example_rng, n_boot, score, label_array), strict=True)
        )
    else:
        scores = {name: np.broadcast_to(values, (n_boot, len(values))) for name, values in plug_in.items()}
    replicates = np.zeros((n_boot, 2))
    drawn: Int[np.ndarray, "replicates seeds"] | None = None
    for column, name in ((0, "baseline"), (1, "treatment")):
        if name not in sides:
            continue
        if not sample_seeds:
            replicates[:, column] = scores[name].mean(1)
            continue
        if drawn is None or not paired:
            drawn = draw_seeds(seed_rng, len(sides[name].seeds), n_boot)
        replicates[:, column] = average_over_seeds(scores[name], drawn)

    defined = ~np.isnan(replicates).any(1)
    n_undefined = int((~defined).sum())
    if not defined.any():
        raise ValueError(
            "score is NaN on every resample; check that it is defined on these outcomes and labels"
        )
    if n_undefined:
        notes.append(f"the score was undefined on {n_undefined} of {n_boot} resamples, which were left out")
    replicates = replicates[defined]
    for note in notes:
        warnings.warn(note, StatisticsWarning, stacklevel=2)
    deltas = replicates[:, 1] - replicates[:, 0]
    estimates = {name: float(values.mean()) for name, values in plug_in.items()}
    base = summarise(estimates["baseline"], replicates[:, 0], confidence) if "baseline" in sides else None
    return MultiBootstrap(
        treatment=summarise(estimates["treatment"], replicates[:, 1], confidence),
        baseline=base,
        delta=summarise(estimates["treatment"] - estimates.get("baseline", 0.0), deltas, confidence),
        p=one_sided_p(deltas, expect),
        replicates=replicates,
        n_undefined=n_undefined,
        confidence=confidence,
        warnings=tuple(notes),
    )


def pair(sides: dict[str, Runs]) -> tuple[dict[str, Runs], dict[str, tuple[object, ...]]]:
    """Cut sides to the seeds they share, fixed models apart; also the seeds that each side lost."""
    procedures = {name: runs for name, runs in sides.items() if not runs.fixed}
    first = next(iter(procedures.values()))
    common = [s for s in first.seeds if all(s in runs.seeds for runs in procedures.values())]
    if not common:
        listed = ", ".join(f"{name}: {list(runs.seeds)}" for name, runs in procedures.items())
        raise ValueError(f"no seed is common to all sides ({listed}); pair them, or set paired_seeds=False")
    dropped = {name: tuple(s for s in runs.seeds if s not in common) for name, runs in procedures.items()}
    return {name: runs if runs.fixed else runs.restrict(common) for name, runs in sides.items()}, dropped


def _check_labels(labels: ArrayLike | None, score: AnyStatistic, n: int) -> np.ndarray | None:
    if labels is None:
        return None
    array = np.asarray(labels)
    if isinstance(score, Statistic) and score.columns:
        raise ValueError(
            f"labels were given, but {score.name} reads {', '.join(score.columns)} of outcomes (examples, "
            f"{len(score.columns)}); put the labels into the outcomes"
        )
    if is_mean(score):
        raise ValueError(
            "labels were given, but score is 'mean', which does not use them; give score=function(y, p)"
        )
    if array.shape != (n,):
        raise ValueError(f"labels have shape {array.shape}; the outcomes have {n} examples, so give ({n},)")
    return array
