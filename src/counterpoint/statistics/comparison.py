"""Differences between arms, and which ones are real: every pair on every metric, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np

from ..registry import unknown
from .bootstrap import FEW_EXAMPLES, FEW_SEEDS, check_options, is_mean, plug_in_scores, resample
from .intervals import VerdictInterval, bounds_of, holm, interval_of_difference, noise_variance
from .outcomes import Outcomes, check_same_examples, parse_runs
from .power import FEW_PILOT_SEEDS, SeedsNeeded, from_spread

_ONE_POINT = 0.01


class Verdict(StrEnum):
    """The verdict of a comparison on its first arm."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    NOT_SHOWN = "no difference shown"
    SUGGESTIVE_BETTER = "suggestive: better"
    SUGGESTIVE_WORSE = "suggestive: worse"
    SUGGESTIVE_EQUIVALENT = "suggestive: equivalent"


_SUGGESTIVE = {
    Verdict.BETTER: Verdict.SUGGESTIVE_BETTER,
    Verdict.WORSE: Verdict.SUGGESTIVE_WORSE,
    Verdict.EQUIVALENT: Verdict.SUGGESTIVE_EQUIVALENT,
}


@dataclass(frozen=True, eq=False)
class Difference:
    """Arm a against arm b on one metric.

    Attributes:
        interval: of score(a) − score(b); ``None`` where the arms share no finished seed.
        p: two-sided, of no difference; by the rule of `VerdictInterval.p_value`.
        p_holm: the same, corrected for all tests of the comparison.
        verdict: computed by `decide`.
        failed_a: seeds on which a's run failed.
        failed_b: the same for b.
        notes: what limits the verdict, in plain English.
        seeds_needed: how many seeds would show a difference of the margin (else of one point, else the
            observed); ``None`` with one seed, and where the runs agree on every example.
        n_tests: how many tests ``p_holm`` is corrected for.
    """

    metric: str
    a: str
    b: str
    interval: VerdictInterval | None
    p: float
    p_holm: float
    verdict: Verdict
    failed_a: tuple[Any, ...]
    failed_b: tuple[Any, ...]
    notes: tuple[str, ...]
    seeds_needed: SeedsNeeded | None
    n_tests: int
    higher_is_better: bool
    margin: float | None
    unit: str

    @property
    def estimate(self) -> float:
        return self.interval.estimate if self.interval else math.nan

    @property
    def low(self) -> float:
        return self.interval.low if self.interval else math.nan

    @property
    def high(self) -> float:
        return self.interval.high if self.interval else math.nan

    @property
    def n_seeds(self) -> int:
        return self.interval.n_seeds if self.interval else 0

    @property
    def n_failed(self) -> int:
        return len(self.failed_a) + len(self.failed_b)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON; numbers that do not exist are ``None``."""

        def number(x: float) -> float | None:
            return x if math.isfinite(x) else None

        return {
            "a": self.a,
            "b": self.b,
            "metric": self.metric,
            "estimate": number(self.estimate),
            "low": number(self.low),
            "high": number(self.high),
            "p": self.p,
            "p_holm": self.p_holm,
            "verdict": self.verdict.value,
            "n_seeds": self.n_seeds,
            "n_failed": self.n_failed,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """All differences, and what they were corrected for."""

    differences: tuple[Difference, ...]
    multiplicity: str
    n_boot: int
    confidence: float

    def find(self, a: str, b: str, metric: str) -> Difference:
        """Return the difference of this pair, in the order in which it was computed."""
        for difference in self.differences:
            if (difference.a, difference.b, difference.metric) == (a, b, metric):
                return difference
        known = [f"{d.a} - {d.b} on {d.metric}" for d in self.differences]
        raise unknown("difference", f"{a} - {b} on {metric}", known)


def decide(
    interval: VerdictInterval | None,
    *,
    p_holm: float,
    p_equivalent: float = 1.0,
    margin: float | None = None,
    higher_is_better: bool = True,
    failed_a: int = 0,
    failed_b: int = 0,
) -> tuple[Verdict, str]:
    """Return the verdict on arm a, and what held it back (``""``: nothing).

    The rules, in order:

    1. ``equivalent``: the interval lies within ± margin (that includes differences shown but too small to
       matter).
    2. ``better`` or ``worse``: the interval excludes zero.
    3. ``no difference shown`` otherwise.

    For 1 and 2 the Holm-corrected p must be at most 1 − confidence as well, except that a difference which is
    only suggestive for want of seeds is told without it, and with the remark. Scores of an arm with failed runs
    are those of the runs that went well, so they flatter it: a verdict in its favour (better, equivalent) is
    withheld; one against it stands. Below 5 seeds what remains is ``suggestive``, and below 10 examples nothing is.
    """
    if interval is None:
        return Verdict.NOT_SHOWN, "the arms share no seed on which both runs finished"
    if interval.n_examples < FEW_EXAMPLES:
        return (
            Verdict.NOT_SHOWN,
            f"{interval.n_examples} test examples, fewer than {FEW_EXAMPLES}: too few to say anything of others",
        )
    alpha = 1 - interval.confidence
    verdict, held_back = Verdict.NOT_SHOWN, ""
    if margin is not None and -margin <= interval.low and interval.high <= margin and p_equivalent <= alpha:
        verdict = Verdict.EQUIVALENT
    elif interval.low > 0 or interval.high < 0:
        if p_holm > alpha:
            held_back = "the interval excludes zero, but not after correction for the number of comparisons"
        if p_holm <= alpha or interval.n_seeds < FEW_SEEDS:
            verdict = Verdict.BETTER if (interval.low > 0) == higher_is_better else Verdict.WORSE
    flattered = {Verdict.BETTER: failed_a, Verdict.WORSE: failed_b, Verdict.EQUIVALENT: failed_a + failed_b}
    if flattered.get(verdict, 0):
        return (
            Verdict.NOT_SHOWN,
            "the scores are of the runs that finished, which flatters an arm with failed runs",
        )
    if interval.n_seeds < FEW_SEEDS and verdict in _SUGGESTIVE:
        why = (
            "with one seed only the test examples vary, and nothing is known about another run"
            if interval.n_seeds == 1
            else f"{interval.n_seeds} seeds, fewer than {FEW_SEEDS}"
        )
        return _SUGGESTIVE[verdict], f"{why}; {held_back}" if held_back else why
    return verdict, held_back


def compare_arms(
    outcomes: Mapping[str, Outcomes],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    reference: str | None = None,
    paired_seeds: bool = True,
    confidence: float = 0.95,
    n_boot: int | None = None,
    power: float = 0.8,
    seed: int = 0,
) -> Comparison:
    """Compare arms pair by pair on every metric: interval, p, Holm-corrected p, verdict.

    All arms of a metric are scored on the same resamples of the examples. The intervals are each at
    ``confidence``; the verdicts hold for the family of all pairs × metrics (differences and equivalences are
    corrected as two families, so that a margin costs the differences nothing).

    Args:
        outcomes: a metric's name to its `Outcomes`.
        pairs: ``(a, b)`` to compare; all pairs of a metric's arms unless given.
        reference: compare each other arm of a metric with this one alone, ``(arm, reference)``; a metric without it has
            no differences.
        paired_seeds: a seed fixes something that arms share, such as the towers' initial weights. Pairs are
            cut to the seeds that both arms finished.
        confidence: of each interval, and of the family's verdicts.
        n_boot: replicates; unless given, 2,000 or as many as Holm's correction needs to resolve (at most
            20,000).
        power: for `Difference.seeds_needed`, which is about the corrected test.
        seed: of the resampling.

    Raises:
        ValueError: NaN outcomes, arms with different examples, a pair with an unknown arm, fewer than two
            arms, or both ``pairs`` and ``reference``.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> arms = {"clip": rng.random((5, 500)) < 0.60, "slip": rng.random((5, 500)) < 0.72}
    >>> comparison = compare_arms({"R@1": Outcomes(arms)})
    >>> [(d.a, d.b, d.verdict.value) for d in comparison.differences]
    [('clip', 'slip', 'worse')]
    """
    if not outcomes:
        raise ValueError("outcomes is empty; give at least one metric")
    check_options(1 if n_boot is None else n_boot, confidence)
    if reference is not None:
        if pairs is not None:
            raise ValueError("pairs and reference are both given; leave one out")
        if all(reference not in o.arms for o in outcomes.values()):
            raise unknown("arm", reference, {name for o in outcomes.values() for name in o.arms})
    wanted = {
        metric: _pairs(o, metric, pairs if reference is None else _against(reference, o.arms))
        for metric, o in outcomes.items()
    }
    n_tests = sum(len(p) for p in wanted.values())
    alpha = 1 - confidence
    fast = all(is_mean(o.statistic) for o in outcomes.values())
    if n_boot is None:
        # The bootstrap's smallest p is 2 / n_boot; times n_tests it must stay clear of alpha.
        n_boot = min(max(2000, math.ceil(4 * n_tests / alpha)), 20_000 if fast else 5_000)

    differences = [
        difference
        for metric, o in outcomes.items()
        for difference in _differences(
            metric, o, wanted[metric], paired_seeds, confidence, n_boot, power, n_tests, seed
        )
    ]
    p_holm = holm([d.p for d in differences])
    p_equivalent = holm([_p_equivalent(d) for d in differences]) if differences else p_holm
    coarse = 2 / n_boot * n_tests > alpha
    return Comparison(
        differences=tuple(
            _judge(d, float(p), float(q)) for d, p, q in zip(differences, p_holm, p_equivalent, strict=True)
        ),
        multiplicity=(
            f"Holm's correction over {n_tests} test{'s' * (n_tests != 1)} "
            f"({'pairs' if reference is None else f'each arm against {reference}'} × metrics); "
            f"intervals are each at {confidence:.0%}"
            + (
                f"; with {n_boot} replicates no corrected p is below {2 / n_boot * n_tests:.2f}"
                if coarse
                else ""
            )
        ),
        n_boot=n_boot,
        confidence=confidence,
    )


def _against(reference: str, arms: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of each other arm with one of them; none without it."""
    names = list(arms)
    return [(arm, reference) for arm in names if arm != reference] if reference in names else []


def _pairs(o: Outcomes, metric: str, pairs: Sequence[tuple[str, str]] | None) -> list[tuple[str, str]]:
    if o.margin is not None and not o.margin > 0:
        raise ValueError(
            f"margin of {metric} is {o.margin}; give a positive number, or None for no equivalence test"
        )
    if pairs is None:
        if len(o.arms) < 2:
            raise ValueError(f"metric {metric!r} has arms {list(o.arms)}; a comparison needs two")
        return list(combinations(o.arms, 2))
    for a, b in pairs:
        for arm in (a, b):
            if arm not in o.arms:
                raise unknown("arm", arm, o.arms)
        if a == b:
            raise ValueError(f"pairs compares {a!r} with itself")
    return list(pairs)


def _differences(
    metric: str,
    o: Outcomes,
    pairs: list[tuple[str, str]],
    paired_seeds: bool,
    confidence: float,
    n_boot: int,
    power: float,
    n_tests: int,
    seed: int,
) -> list[Difference]:
    arms = {
        name: parse_runs(runs, f"arm {name!r} on {metric!r}", o.statistic) for name, runs in o.arms.items()
    }
    check_same_examples(arms)
    finished = {name: runs for name, runs in arms.items() if runs.seeds}
    seed_seed, example_seed = np.random.SeedSequence(seed).spawn(2)
    scores: dict[str, np.ndarray] = {}
    if finished:
        example_rng = np.random.default_rng(example_seed)
        scores = dict(
            zip(finished, resample(list(finished.values()), example_rng, n_boot, o.statistic), strict=True)
        )
    plug_in = {name: plug_in_scores(runs, o.statistic) for name, runs in finished.items()}
    # Only a metric in points is known to be a fraction.
    stated = o.bounds or (None if o.unit == "points" else (-math.inf, math.inf))
    least, most = bounds_of(o.statistic, finished.values(), stated)

    differences = []
    for a, b in pairs:
        notes = [f"{name} failed on seeds {list(arms[name].failed)}" for name in (a, b) if arms[name].failed]
        chosen = {name: list(range(len(arms[name].seeds))) for name in (a, b)}
        both = {name: arms[name] for name in (a, b)}
        paired = paired_seeds and not any(runs.fixed for runs in both.values())
        if paired:
            common = [s for s in arms[a].seeds if s in arms[b].seeds]
            for name, other in ((a, b), (b, a)):
                # A seed whose partner failed has been told already.
                lost = [s for s in arms[name].seeds if s not in common and s not in arms[other].failed]
                notes += [f"seeds {lost} of {name} have no partner and were left out"] if lost else []
            chosen = {name: [arms[name].seeds.index(s) for s in common] for name in (a, b)}
            both = {name: arms[name].restrict(common) for name in (a, b)}
        interval, noise = None, 0.0
        if all(runs.seeds for runs in both.values()):
            resampled = [scores[name][:, chosen[name]] for name in (a, b)]
            noise = noise_variance(*([resampled[0] - resampled[1]] if paired else resampled))
            interval = interval_of_difference(
                both[a],
                both[b],
                resampled,
                [plug_in[name][chosen[name]] for name in (a, b)],
                paired=paired_seeds,
                confidence=confidence,
                rng=np.random.default_rng(seed_seed),
            ).within(least - most, most - least)
            if interval.n_undefined:
                notes.append(
                    f"the metric was undefined on {interval.n_undefined} of {n_boot} resamples, left out"
                )
        differences.append(
            Difference(
                metric=metric,
                a=a,
                b=b,
                interval=interval,
                p=interval.p_value() if interval else 1.0,
                p_holm=1.0,
                verdict=Verdict.NOT_SHOWN,
                failed_a=arms[a].failed,
                failed_b=arms[b].failed,
                notes=tuple(notes),
                seeds_needed=_seeds_needed(interval, noise, o, power, 1 - (1 - confidence) / n_tests),
                n_tests=n_tests,
                higher_is_better=o.higher_is_better,
                margin=o.margin,
                unit=o.unit,
            )
        )
    return differences


def _seeds_needed(
    interval: VerdictInterval | None, noise: float, o: Outcomes, power: float, confidence: float
) -> SeedsNeeded | None:
    """Return the seeds needed; None with one seed, and where the runs agree on every example."""
    if interval is None or interval.n_seeds < 2:
        return None
    if not (interval.seed_sd or noise or interval.example_se):
        return None
    effect = o.margin or (_ONE_POINT if o.unit == "points" else abs(interval.estimate))
    if effect == 0:
        return None
    needed = from_spread(
        interval.seed_sd,
        effect,
        example_se=interval.example_se,
        noise_sd=math.sqrt(noise),
        power=power,
        confidence=confidence,
    )
    return replace(needed, at_least=interval.n_seeds < FEW_PILOT_SEEDS)


def _p_equivalent(difference: Difference) -> float:
    """Return `VerdictInterval.p_equivalent`; 1 where nothing speaks for an equivalence."""
    interval, margin = difference.interval, difference.margin
    if interval is None or margin is None or abs(interval.estimate) >= margin:
        return 1.0
    return interval.p_equivalent(margin)


def _judge(difference: Difference, p_holm: float, p_equivalent: float) -> Difference:
    verdict, held_back = decide(
        difference.interval,
        p_holm=p_holm,
        p_equivalent=p_equivalent,
        margin=difference.margin,
        higher_is_better=difference.higher_is_better,
        failed_a=len(difference.failed_a),
        failed_b=len(difference.failed_b),
    )
    notes = (*difference.notes, held_back) if held_back else difference.notes
    return replace(difference, p_holm=p_holm, verdict=verdict, notes=notes)
