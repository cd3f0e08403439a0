"""Intervals that a verdict may rest on: the Multi-Bootstrap's, t over seeds, and the hull of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import special  # its statistics take half a second to import

from .bootstrap import (
    average_over_seeds,
    check_options,
    draw_seeds,
    is_mean,
    percentiles,
    plug_in_scores,
    resample,
    tie,
)
from .outcomes import AnyStatistic, ArmOutcomes, Runs, Statistic, parse_runs


@dataclass(frozen=True)
class TInterval:
    """estimate ± t(degrees) · standard_error."""

    estimate: float
    standard_error: float
    degrees: float
    confidence: float

    @property
    def half_width(self) -> float:
        return float(special.stdtrit(self.degrees, (1 + self.confidence) / 2) * self.standard_error)

    @property
    def low(self) -> float:
        return self.estimate - self.half_width

    @property
    def high(self) -> float:
        return self.estimate + self.half_width

    def p_value(self, null: float = 0.0) -> float:
        """Return the two-sided p value of the hypothesis that the quantity is ``null``."""
        distance = abs(self.estimate - null)
        if self.standard_error == 0:
            return 1.0 if distance == 0 else 0.0
        return float(2 * special.stdtr(self.degrees, -distance / self.standard_error))


def satterthwaite(variances: Sequence[float], degrees: Sequence[float]) -> float:
    """Return the degrees of freedom of a sum of independent variance estimates."""
    total = sum(variances)
    spread = sum(v**2 / d for v, d in zip(variances, degrees, strict=True) if d > 0)
    return total**2 / spread if spread > 0 else max(degrees)


def t_interval(
    treatment: ArrayLike, baseline: ArrayLike | None = None, *, paired: bool = True, confidence: float = 0.95
) -> TInterval:
    """Return Student's t interval over seeds for a mean, a paired difference, or (Welch) an unpaired one.

    It treats the test set as given: only seeds vary. A side with a single number is a fixed model, without
    variance.

    Args:
        treatment: one score per seed, ``(seeds,)``.
        baseline: one score per seed; the same seeds in the same order when paired.
        paired: the seed fixes something that both sides share, such as the initial weights.

    Raises:
        ValueError: fewer than two seeds, or paired sides of different length.

    >>> interval = t_interval([0.31, 0.33, 0.36], [0.30, 0.31, 0.33])
    >>> print(f"{interval.low:.4f} to {interval.high:.4f}, {interval.degrees:.0f} degrees of freedom")
    -0.0048 to 0.0448, 2 degrees of freedom
    """
    check_options(1, confidence)
    a = np.asarray(treatment, dtype=np.float64).reshape(-1)
    b = np.zeros(1) if baseline is None else np.asarray(baseline, dtype=np.float64).reshape(-1)
    if paired and baseline is not None and min(len(a), len(b)) > 1:
        if len(a) != len(b):
            raise ValueError(
                f"paired sides have {len(a)} and {len(b)} seeds; give the same seeds, or paired=False"
            )
        a, b = a - b, np.zeros(1)
    if max(len(a), len(b)) < 2:
        raise ValueError("a t interval needs at least 2 seeds; with 1 only the test examples can vary")
    variances = [float(np.var(x, ddof=1)) / len(x) if len(x) > 1 else 0.0 for x in (a, b)]
    degrees = satterthwaite(variances, [len(a) - 1, len(b) - 1])
    return TInterval(float(a.mean() - b.mean()), float(np.sqrt(sum(variances))), degrees, confidence)


@dataclass(frozen=True, eq=False)
class VerdictInterval:
    """The interval that verdicts rest on: the hull of up to three intervals around one estimate.

    - ``bootstrap``: the Multi-Bootstrap's percentile interval;
    - ``over_seeds``: the t interval over seeds;
    - ``over_both``: a t interval with variance (seed variance) / S + (example variance shared by all seeds),
      with Satterthwaite's degrees of freedom.

    Each alone fails somewhere. The bootstrap is too narrow with few seeds; t over seeds knows nothing of the
    test set; and where seeds and examples matter about equally both fall short (their hull covers 0.92 to
    0.93 at 5 to 8 seeds), which the third mends. The hull contains every one of them, so it is at least as
    wide as the wider of Multi-Bootstrap and t. With one seed only the bootstrap over examples remains.

    Attributes:
        estimate: the plug-in value.
        low: lower end; where the quantity has bounds, within them.
        high: upper end; within those bounds too.
        n_seeds: how many seeds the estimate averages (the smaller side's, where sides differ).
        example_se: the part of the standard error that more seeds do not remove.
        seed_sd: the standard deviation over seeds of one seed's value; NaN with one seed.
        replicates: the bootstrap's.
        n_undefined: replicates dropped because the score was NaN.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    n_seeds: int
    n_examples: int
    bootstrap: tuple[float, float]
    over_seeds: TInterval | None
    over_both: TInterval | None
    example_se: float
    seed_sd: float
    n_undefined: int
    replicates: Float[np.ndarray, " replicates"] = field(repr=False)

    def within(self, least: float, most: float) -> VerdictInterval:
        """Return the interval without what lies outside the values that the quantity can have."""
        return replace(self, low=max(self.low, least), high=min(self.high, most))

    def p_value(self, null: float = 0.0) -> float:
        """Return the two-sided p value of the null hypothesis: the largest p value of the intervals.

        The bootstrap's is twice the smaller tail, at least 2 / n_boot. So p ≤ 1 − confidence where the
        interval excludes ``null``.
        """
        n = len(self.replicates)
        distance = self.replicates - null
        tails = (np.mean(distance <= tie(distance)), np.mean(distance >= -tie(distance)))
        p = min(1.0, 2 * max(float(min(tails)), 1 / n))
        others = [t.p_value(null) for t in (self.over_seeds, self.over_both) if t is not None]
        return max([p, *others])

    def p_equivalent(self, margin: float) -> float:
        """Return p of the hypothesis that the quantity is ``margin`` or more away from 0: the larger of both sides'."""
        return max(self.p_value(-margin), self.p_value(margin))


def verdict_interval(
    replicates: Float[np.ndarray, " replicates"],
    over_seeds: TInterval | None,
    *,
    estimate: float,
    example_variance: float,
    n_seeds: int,
    n_examples: int,
    confidence: float,
) -> VerdictInterval:
    """Put the three intervals together; ``over_seeds`` is ``None`` with one seed."""
    defined = replicates[~np.isnan(replicates)]
    if len(defined) == 0 or np.isnan(estimate):
        raise ValueError(
            "the score is NaN on all examples or on every resample; check its domain against these outcomes"
        )
    over_both = None
    if over_seeds is not None:
        variances = [over_seeds.standard_error**2, example_variance]
        degrees = satterthwaite(variances, [over_seeds.degrees, max(n_examples - 1, 1)])
        over_both = TInterval(estimate, float(np.sqrt(sum(variances))), degrees, confidence)
    bootstrap = percentiles(defined, confidence)
    ends = [bootstrap, *((t.low, t.high) for t in (over_seeds, over_both) if t is not None)]
    return VerdictInterval(
        estimate=estimate,
        low=min(low for low, _ in ends),
        high=max(high for _, high in ends),
        confidence=confidence,
        n_seeds=n_seeds,
        n_examples=n_examples,
        bootstrap=bootstrap,
        over_seeds=over_seeds,
        over_both=over_both,
        example_se=float(np.sqrt(example_variance)),
        seed_sd=float("nan") if over_seeds is None else over_seeds.standard_error * float(np.sqrt(n_seeds)),
        n_undefined=len(replicates) - len(defined),
        replicates=defined,
    )


def shared_example_variance(
    a: Float[np.ndarray, "replicates a_seeds"], b: Float[np.ndarray, "replicates b_seeds"] | None = None
) -> float:
    """Return the variance of a mean over seeds that no number of seeds removes, from scores on resampled examples.

    Two seeds' scores on the same resamples covary by what the examples do to both; the mean covariance
    between different seeds is that part. For a difference of sides: Cov(a, a') + Cov(b, b') − 2 Cov(a, b). A
    side of one seed counts with its whole variance, since nothing shows what part another seed would share.
    """
    sides = [a] if b is None else [a, b]
    together = np.concatenate(sides, axis=1)
    together = together[~np.isnan(together).any(1)]
    if len(together) < 2:
        return 0.0
    covariance = np.atleast_2d(np.cov(together, rowvar=False))
    n = a.shape[1]
    total = _between_seeds(covariance[:n, :n])
    if b is not None:
        total += _between_seeds(covariance[n:, n:]) - 2 * float(covariance[:n, n:].mean())
    return max(total, 0.0)


def noise_variance(
    a: Float[np.ndarray, "replicates a_seeds"], b: Float[np.ndarray, "replicates b_seeds"] | None = None
) -> float:
    """Return the variance of one seed's value that comes from single examples, from scores on resampled examples.

    This is the variance of one seed's score over resamples without the part that all seeds share
    (`shared_example_variance`). Two seeds that disagree on some examples have it even where their scores are equal by
    chance. The variance over seeds is at least this large. Of two sides it is the sum, scaled to the smaller number of
    seeds; a side of one seed shows nothing of it.
    """
    sides = [a] if b is None else [a, b]
    procedures = [side for side in sides if side.shape[1] > 1]
    if not procedures:
        return 0.0
    n_seeds = min(side.shape[1] for side in procedures)
    total = 0.0
    for side in procedures:
        defined = side[~np.isnan(side).any(1)]
        if len(defined) < 2:
            continue
        covariance = np.cov(defined, rowvar=False)
        total += (float(np.diag(covariance).mean()) - _between_seeds(covariance)) / side.shape[1]
    return max(total * n_seeds, 0.0)


def _between_seeds(covariance: Float[np.ndarray, "seeds seeds"]) -> float:
    n = len(covariance)
    if n == 1:
        return float(covariance[0, 0])
    return float((covariance.sum() - np.trace(covariance)) / (n * (n - 1)))


def interval_of_difference(
    a: Runs,
    b: Runs | None,
    scores: Sequence[Float[np.ndarray, "replicates _"]],
    plug_in: Sequence[Float[np.ndarray, " _"]],
    *,
    paired: bool,
    confidence: float,
    rng: np.random.Generator,
) -> VerdictInterval:
    """Return the verdict interval of a − b (of a alone, without b) from both sides' scores on the same resamples.

    A pair with a fixed model is the one-sample variant: seeds vary on the other side only.
    """
    sides = [a] if b is None else [a, b]
    n_boot = len(scores[0])
    procedures = [runs for runs in sides if not runs.fixed]
    if paired and len(procedures) == 2:
        scores, plug_in = [scores[0] - scores[1]], [plug_in[0] - plug_in[1]]
    drawn = [average_over_seeds(s, draw_seeds(rng, s.shape[1], n_boot)) for s in scores]
    other = plug_in[1] if len(plug_in) > 1 else None
    n_seeds = min((len(runs.seeds) for runs in procedures), default=1)
    return verdict_interval(
        drawn[0] - drawn[1] if len(drawn) > 1 else drawn[0],
        t_interval(plug_in[0], other, paired=False, confidence=confidence) if n_seeds > 1 else None,
        estimate=float(plug_in[0].mean() - (0.0 if other is None else other.mean())),
        example_variance=shared_example_variance(scores[0], scores[1] if len(scores) > 1 else None),
        n_seeds=n_seeds,
        n_examples=a.n_examples,
        confidence=confidence,
    )


def bounds_of(
    statistic: AnyStatistic, sides: Iterable[Runs], stated: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Return the least and the greatest value that a metric can have; infinities where it has no limit.

    Args:
        statistic: that makes the metric from outcomes; its own bounds hold in any case.
        sides: the outcomes of all arms.
        stated: the metric's own bounds. Unless given, a mean of outcomes that lie between 0 and 1 does so too.
    """
    least, most = stated or (-math.inf, math.inf)
    if stated is None and is_mean(statistic):
        values = [np.asarray(runs.values) for runs in sides if runs.seeds]
        if all(((v >= 0) & (v <= 1)).all() for v in values):
            least, most = 0.0, 1.0
    if isinstance(statistic, Statistic):
        least, most = max(least, statistic.least), min(most, statistic.most)
    return least, most


def interval_of_mean(
    outcomes: ArmOutcomes,
    *,
    statistic: AnyStatistic = "mean",
    confidence: float = 0.95,
    n_boot: int = 1000,
    seed: int = 0,
    bounds: tuple[float, float] | None = None,
) -> VerdictInterval:
    """Return one arm's metric, with the interval that seeds and examples leave: the hull of Multi-Bootstrap and t.

    Failed runs (``None``) are left out: report them beside the number.

    Args:
        outcomes: of the arm.
        statistic: from outcomes to the metric.
        confidence: of the interval.
        n_boot: replicates.
        seed: of the resampling.
        bounds: see `Outcomes.bounds`.

    Raises:
        ValueError: NaN outcomes, or no finished run.

    >>> import numpy as np
    >>> hits = np.random.default_rng(0).random((5, 400)) < 0.7
    >>> mean = interval_of_mean(hits)
    >>> print(f"{mean.estimate:.3f} ({mean.low:.3f} to {mean.high:.3f})")
    0.697 (0.653 to 0.741)
    """
    check_options(n_boot, confidence)
    runs = parse_runs(outcomes, "outcomes", statistic)
    if not runs.seeds:
        raise ValueError(f"outcomes has no finished run (failed: {list(runs.failed)})")
    seed_rng, example_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    scores = resample([runs], example_rng, n_boot, statistic)
    interval = interval_of_difference(
        runs,
        None,
        scores,
        [plug_in_scores(runs, statistic)],
        paired=False,
        confidence=confidence,
        rng=seed_rng,
    )
    return interval.within(*bounds_of(statistic, [runs], bounds))


def holm(p_values: ArrayLike) -> Float[np.ndarray, " tests"]:
    """Return Holm's step-down correction: p values that hold for a whole family of tests.

    The k-th smallest of m becomes max over j ≤ k of min(1, (m − j + 1) p_j).

    Source: Holm, A simple sequentially rejective multiple test procedure (1979).

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64).reshape(-1)
    if np.isnan(p).any() or ((p < 0) | (p > 1)).any():
        raise ValueError(f"p_values must lie in [0, 1]; got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(p[order] * (len(p) - np.arange(len(p))), 1.0))
    return adjusted
