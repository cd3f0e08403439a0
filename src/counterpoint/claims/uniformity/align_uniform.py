"""Alignment and uniformity: what InfoNCE tends to with many negatives, as numbers and as a loss of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from ...catalog.evidence import Result
from ...losses import AlignUniformLoss, InfoNCELoss
from ...pairwise.loss import Loss
from ..benches import digits
from ..lab import Arrays, Lab, measure

CLAIM = (
    "InfoNCE less log M tends to an alignment and a uniformity term as the negatives M grow; optimising the "
    "two directly is as good as InfoNCE, both are needed, and low values of both go with good features."
)
REFUTED = (
    "the deviation does not fall like M^−½, the two terms are clearly worse than InfoNCE at every weight, "
    "leaving uniformity out does not collapse the features, or accuracy does not correlate with the pair"
)


SEEDS, STEPS, BATCH = 5, 400, 64
NEGATIVES = (32, 64, 128, 256, 512, 1024, 2048)
ANCHORS = 4096
DIMENSIONS = 16
TAU = 0.5

WEIGHTS = {f"align+unif {w:g}": {"alignment": w, "uniformity": 1.0} for w in (0.5, 1.0, 2.0)}
TEMPERATURES = {f"InfoNCE {tau:g}": {"temperature": tau} for tau in (0.07, 0.1, 0.2, 0.5)}
ONE_TERM = {
    "without uniformity": {"alignment": 1.0, "uniformity": 0.0},
    "without alignment": {"alignment": 0.0, "uniformity": 1.0},
}
SETTINGS: Mapping[str, Mapping[str, float]] = {**WEIGHTS, **TEMPERATURES, **ONE_TERM}


def encoder(setting: str, seed: int, steps: int, batch: int = BATCH) -> Arrays:
    """Train one encoder on two views of each digit; test it with a probe on 100 labels."""
    network, options = digits.encoder(seed), SETTINGS[setting]
    loss: Loss
    loss = AlignUniformLoss(**options) if "alignment" in options else InfoNCELoss(options["temperature"])
    digits.train(network, loss, steps=steps, batch=batch, lr=3e-3, seed=seed)
    return digits.probe(network, seed)


def limit(negatives: Sequence[int], anchors: int, seed: int) -> Arrays:
    """Measure how far −log softmax of each anchor's positive is from its limit, less log M, on random unit vectors."""
    rng = np.random.default_rng(seed)
    kappa = 1 / TAU
    expected = log_mean_exp(kappa, DIMENSIONS)
    positive = _unit(rng, anchors)[:, 0] * kappa  # by symmetry the anchor may be the first axis
    found = []
    for m in negatives:
        sums = np.zeros(anchors)
        for part in np.array_split(np.arange(anchors), max(anchors * m // 2**19, 1)):
            similarities = _unit(rng, len(part) * m)[:, 0].reshape(len(part), m)
            sums[part] = np.exp(kappa * similarities).sum(1)
        loss = np.log(np.exp(positive) + sums) - positive
        found.append(loss - np.log(m) - (expected - positive))
    deviations = np.stack(found)
    return {"deviation": np.abs(deviations).mean(1), "mean deviation": np.abs(deviations.mean(1))}


def log_mean_exp(kappa: float, d: int) -> float:
    """Return ``log E exp(κ x·x')``, x' uniform on the sphere: ``Γ(d/2) (2/κ)^(d/2−1) I_{d/2−1}(κ)`` in d dimensions."""
    half = d / 2
    return math.lgamma(half) + (half - 1) * math.log(2 / kappa) + math.log(special.iv(half - 1, kappa))


def _unit(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n d"]:
    z = rng.standard_normal((n, DIMENSIONS))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def run(lab: Lab) -> Sequence[Result]:
    seeds, steps = lab.seeds(SEEDS), 20 if lab.quick else STEPS
    found = lab.cells(
        encoder,
        {
            f"{setting.replace(' ', '-')}-seed{seed}": {"setting": setting, "seed": seed, "steps": steps}
            for setting in SETTINGS
            for seed in seeds
        },
    )
    runs = {(s, seed): found[f"{s.replace(' ', '-')}-seed{seed}"] for s in SETTINGS for seed in seeds}
    arms = {s: {seed: runs[s, seed]["correct"] for seed in seeds} for s in SETTINGS}
    metric = f"accuracy of a probe on {digits.LABELLED} labels, digits"
    both = [setting for setting in SETTINGS if setting not in ONE_TERM]
    return [
        measure.of_arms(
            "1: best weight of align+unif − best temperature of InfoNCE",
            metric,
            {s: arms[s] for s in both},
            lambda scores: max(scores[s] for s in WEIGHTS) - max(scores[s] for s in TEMPERATURES),
            expected="above",
            bound=-0.02,
        ),
        *_correlation(lab, steps),
        measure.over_seeds(
            "2: uniformity without the uniformity term (0 is total collapse, about −3.8 even spread)",
            "uniformity, t = 2, held-out digits",
            [float(runs["without uniformity", seed]["uniformity"]) for seed in seeds],
            expected="above",
            bound=-0.5,
            refuted_at=-1.0,
        ),
        *(
            measure.difference(
                f"2: {setting} − align+unif 1",
                metric,
                arms[setting],
                arms["align+unif 1"],
                expected="below",
                decides=False,
            )
            for setting in ONE_TERM
        ),
        *_limit(lab),
    ]


def _correlation(lab: Lab, steps: int) -> list[Result]:
    settings = list(SETTINGS)[-3:] if lab.quick else list(SETTINGS)
    batches = (8, 32, 64, 128) if lab.quick else (8, 32, 128)
    runs = lab.cells(
        encoder,
        {
            f"{s.replace(' ', '-')}-batch{b}": {"setting": s, "seed": 100, "steps": steps, "batch": b}
            for s in settings
            for b in batches
        },
    )
    both_terms = {name for name in runs if not name.startswith("without")}
    lab.note(
        "2: the correlation is over runs of one seed with different losses, temperatures, weights and",
        "batches, which are its 'seeds'.",
    )
    return [
        _rank_correlation("varied runs", [run for name, run in runs.items() if name in both_terms], True),
        _rank_correlation("those and runs without one of the terms", list(runs.values()), False),
    ]


def _rank_correlation(which: str, runs: Sequence[Arrays], decides: bool) -> Result:
    accuracy = np.array([run["correct"].mean() for run in runs])
    both = np.array([float(run["alignment"] + run["uniformity"]) for run in runs])
    spearman = float(stats.spearmanr(accuracy, -both).statistic)
    # Fisher's z with the variance of Spearman's coefficient (Bonett and Wright 2000).
    z, spread = (
        math.atanh(np.clip(spearman, -0.999, 0.999)),
        math.sqrt((1 + spearman**2 / 2) / (len(runs) - 3)),
    )
    return Result(
        name=f"2: rank correlation of accuracy with −(alignment + uniformity) over {which}",
        metric="Spearman's coefficient",
        expected="above",
        estimate=spearman,
        low=math.tanh(z - 1.96 * spread),
        high=math.tanh(z + 1.96 * spread),
        n_seeds=len(runs),
        decides=decides,
    )


def _limit(lab: Lab) -> list[Result]:
    seeds = lab.seeds(SEEDS)
    negatives, anchors = (NEGATIVES[:4], 256) if lab.quick else (NEGATIVES, ANCHORS)
    found = lab.cells(
        limit,
        {f"seed{seed}": {"negatives": list(negatives), "anchors": anchors, "seed": seed} for seed in seeds},
    )
    slopes = {
        key: [float(np.polyfit(np.log(negatives), np.log(found[f"seed{seed}"][key]), 1)[0]) for seed in seeds]
        for key in ("deviation", "mean deviation")
    }
    lab.note(
        "1 and 2: two-layer networks on views (shift, noise, masking) of scikit-learn's digits, batch",
        f"{BATCH}, a probe on {digits.LABELLED} labels. The best setting of each family is chosen again in every",
        f"resample. 3: random unit vectors in {DIMENSIONS} dimensions, τ = {TAU}; the limit in closed",
        "form. The deviation of a single anchor falls like M^−½; that of the mean over anchors, where",
        "the fluctuations cancel, falls faster.",
    )
    return [
        measure.over_seeds(
            "3: slope of the log deviation from the limit against log M, plus ½",
            "log-log slope of the mean absolute deviation of an anchor's loss",
            [slope + 0.5 for slope in slopes["deviation"]],
            expected="within",
            bound=0.1,
        ),
        measure.over_seeds(
            "3: slope for the mean over anchors",
            "log-log slope of the absolute deviation of the mean loss",
            slopes["mean deviation"],
            expected="below",
            bound=-0.4,
            decides=False,
        ),
    ]
