"""Worlds with a known truth, to measure how often the intervals are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .bootstrap import (
    average_over_seeds,
    draw_examples,
    draw_seeds,
    one_sided_p,
    plug_in_scores,
    resample,
    seed_scores,
)
from .intervals import interval_of_difference
from .outcomes import parse_runs


@dataclass(frozen=True)
class SimulatedArms:
    """Two arms with the same true score, and where the noise in their estimated difference comes from.

    The three parts are standard deviations of the estimated difference, in a common unit, so that a world
    keeps its character whatever the numbers of seeds and examples.

    Attributes:
        seeds: from the training seeds.
        examples: from the test examples, the same under all seeds (examples are correlated across seeds).
        residual: from seed and example together.
        n_seeds: seeds per arm.
        n_examples: test examples.
        paired: the arms share their seeds' luck, which the difference then cancels; it is as large as
            ``seeds``.
        tails: degrees of freedom of the seeds' luck (t distributed); ``None``: normal.
    """

    seeds: float
    examples: float
    residual: float = 0.0
    n_seeds: int = 5
    n_examples: int = 200
    paired: bool = True
    tails: int | None = None

    def draw(
        self, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "seeds n"], Float[np.ndarray, "seeds n"]]:
        """Draw outcomes of both arms; their expectations are equal."""
        s, n = self.n_seeds, self.n_examples

        def luck() -> Float[np.ndarray, "seeds 1"]:
            x = rng.standard_normal((s, 1)) if self.tails is None else rng.standard_t(self.tails, (s, 1))
            scale = 1.0 if self.tails is None else np.sqrt(self.tails / (self.tails - 2))
            return x / scale * np.sqrt(s) * self.seeds

        common = rng.standard_normal((1, n)) + (luck() if self.paired else 0.0)
        effect = luck() if self.paired else luck() / np.sqrt(2)
        luck_of_one = 0.0 if self.paired else luck() / np.sqrt(2)
        shared = np.sqrt(n) * self.examples * rng.standard_normal((1, n))
        residual = np.sqrt(n * s) * self.residual * rng.standard_normal((s, n))
        return common + effect + shared + residual, np.broadcast_to(common + luck_of_one, (s, n))


REGIMES: Mapping[str, SimulatedArms] = {
    "seeds dominate": SimulatedArms(seeds=1, examples=0.1),
    "examples dominate": SimulatedArms(seeds=0.05, examples=1),
    "both": SimulatedArms(seeds=1, examples=1),
    "mostly seeds": SimulatedArms(seeds=1, examples=0.7),
    "everything": SimulatedArms(seeds=1, examples=1, residual=1),
    "residual": SimulatedArms(seeds=0.1, examples=0.1, residual=1),
    "unpaired": SimulatedArms(seeds=1, examples=0.7, paired=False),
    "heavy tails": SimulatedArms(seeds=1, examples=0.5, tails=4),
}
"""Worlds by the parts that the noise comes from."""


@dataclass(frozen=True)
class Coverage:
    """The share of ``n_worlds`` worlds in which each interval contained the truth.

    Attributes:
        bootstrap: the Multi-Bootstrap's.
        over_seeds: t over seeds.
        wider: the hull of those two.
        verdict: the interval that verdicts rest on.
    """

    bootstrap: float
    over_seeds: float
    wider: float
    verdict: float
    n_worlds: int

    @property
    def simulation_error(self) -> float:
        """Two standard errors of a coverage of 0.95."""
        return float(2 * np.sqrt(0.95 * 0.05 / self.n_worlds))


def coverage(
    world: SimulatedArms, *, n_worlds: int = 1000, n_boot: int = 500, confidence: float = 0.95, seed: int = 0
) -> Coverage:
    """Draw worlds and count how often the intervals of the difference contain its true value, 0.

    >>> found = coverage(SimulatedArms(seeds=1, examples=0.1, n_seeds=3), n_worlds=200, n_boot=200)
    >>> found.bootstrap < 0.85 < 0.9 < found.verdict
    True
    """
    rng = np.random.default_rng(seed)
    hits = np.zeros(4)
    for _ in range(n_worlds):
        a, b = (parse_runs(outcomes, "arm") for outcomes in world.draw(rng))
        interval = interval_of_difference(
            a,
            b,
            resample([a, b], rng, n_boot),
            [plug_in_scores(a), plug_in_scores(b)],
            paired=world.paired,
            confidence=confidence,
            rng=rng,
        )
        t = interval.over_seeds
        over_seeds = (t.low, t.high) if t else interval.bootstrap
        wider = (min(interval.bootstrap[0], over_seeds[0]), max(interval.bootstrap[1], over_seeds[1]))
        ends = [interval.bootstrap, over_seeds, wider, (interval.low, interval.high)]
        hits += [low <= 0 <= high for low, high in ends]
    bootstrap, t_only, both, verdict = (float(h) for h in hits / n_worlds)
    return Coverage(bootstrap, t_only, both, verdict, n_worlds)


@dataclass(frozen=True)
class FalsePositives:
    """The share of ``n_worlds`` worlds in which two procedures of equal accuracy were called different, one-sided.

    Attributes:
        multi_bootstrap: by the Multi-Bootstrap over all seeds.
        single_checkpoint: by the bootstrap over examples on the first seed of each.
        multi_by_world: each world's answer; of ``single_by_world`` likewise.
    """

    multi_bootstrap: float
    single_checkpoint: float
    n_worlds: int
    multi_by_world: Bool[np.ndarray, " worlds"]
    single_by_world: Bool[np.ndarray, " worlds"]


def false_positives(
    *,
    n_worlds: int = 300,
    n_seeds: int = 10,
    n_examples: int = 500,
    accuracy: float = 0.8,
    seed_sd: float = 0.03,
    difficulty_sd: float = 0.1,
    n_boot: int = 1000,
    level: float = 0.05,
    seed: int = 0,
) -> FalsePositives:
    """Simulate small-scale claim A of the MultiBERTs card: what judging a procedure by one checkpoint costs.

    Each seed of each procedure draws its accuracy from N(accuracy, seed_sd), clipped to [0, 1]; an example is
    right with that probability plus the example's difficulty, N(0, difficulty_sd) shared by all seeds and
    both procedures, clipped again. The procedures' seeds have nothing in common, so they are drawn unpaired.

    Source: Sellam et al., The MultiBERTs (arXiv 2106.16163).
    """
    rng = np.random.default_rng(seed)
    multi, single = np.zeros(n_worlds, dtype=bool), np.zeros(n_worlds, dtype=bool)
    for w in range(n_worlds):
        difficulty = difficulty_sd * rng.standard_normal(n_examples)
        rates = np.clip(rng.normal(accuracy, seed_sd, (2, n_seeds, 1)), 0, 1) + difficulty
        correct = rng.random((2, n_seeds, n_examples)) < np.clip(rates, 0, 1)
        base, treatment = (parse_runs(side, "procedure") for side in correct)
        draws = np.concatenate(list(draw_examples(rng, n_examples, n_boot)))
        scores = [seed_scores(side, draws) for side in (base, treatment)]
        means = [average_over_seeds(s, draw_seeds(rng, n_seeds, n_boot)) for s in scores]
        multi[w] = one_sided_p(means[1] - means[0], "positive") < level
        single[w] = one_sided_p(scores[1][:, 0] - scores[0][:, 0], "positive") < level
    return FalsePositives(float(multi.mean()), float(single.mean()), n_worlds, multi, single)
