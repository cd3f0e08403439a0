"""Alignment and uniformity: what InfoNCE tends to with many negatives, as numbers and as a loss of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from ...losses import AlignUniformLoss, InfoNCELoss
from ...pairwise.loss import Loss
from ...study.presets import Preset
from ..benches.data import digits
from ..lab import Arrays, Lab, Measured, Result, above, below, beside, best, decides, within

CLAIM = (
    "InfoNCE less log M tends to an alignment and a uniformity term as the negatives M grow; optimising the "
    "two directly is as good as InfoNCE, both are needed, and low values of both go with good features."
)
REFUTED = (
    "the deviation does not fall like M^−½, the two terms are clearly worse than InfoNCE at every weight, "
    "leaving uniformity out does not collapse the features, or accuracy does not correlate with the pair"
)
PRESET = Preset(
    "align-uniform",
    "contrast with the others of a batch, and its two limits by themselves, alignment and uniformity",
    {"arms": ("ntxent,on=images", "align-uniform,on=images", "align-uniform,on=images,alignment=2")},
    "ntxent,on=images",
    {"probe": ("logistic_*_top1",)},
)


STEPS, BATCH = 400, 64
BATCHES = (8, 32, 128)
"""Sizes that vary the runs over which accuracy is correlated."""
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
    excess = []
    for m in negatives:
        sums = np.zeros(anchors)
        for part in np.array_split(np.arange(anchors), max(anchors * m // 2**19, 1)):
            similarities = _unit(rng, len(part) * m)[:, 0].reshape(len(part), m)
            sums[part] = np.exp(kappa * similarities).sum(1)
        loss = np.log(np.exp(positive) + sums) - positive
        excess.append(loss - np.log(m) - (expected - positive))
    deviations = np.stack(excess)
    return {"deviation": np.abs(deviations).mean(1), "mean deviation": np.abs(deviations.mean(1))}


def log_mean_exp(kappa: float, d: int) -> float:
    """Return ``log E exp(κ x·x')``, x' uniform on the sphere: ``Γ(d/2) (2/κ)^(d/2−1) I_{d/2−1}(κ)`` in d dimensions."""
    half = d / 2
    return math.lgamma(half) + (half - 1) * math.log(2 / kappa) + math.log(special.iv(half - 1, kappa))


def _unit(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n d"]:
    z = rng.standard_normal((n, DIMENSIONS))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def rank_correlation(runs: Sequence[Arrays]) -> Measured:
    """Correlate runs' accuracies with −(alignment + uniformity), by ranks.

    The interval is Fisher's z with the variance of Spearman's coefficient (Bonett and Wright 2000).
    """
    accuracy = np.array([run["correct"].mean() for run in runs])
    both = np.array([float(run["alignment"] + run["uniformity"]) for run in runs])
    spearman = float(stats.spearmanr(accuracy, -both).statistic)
    z = math.atanh(np.clip(spearman, -0.999, 0.999))
    spread = math.sqrt((1 + spearman**2 / 2) / (len(runs) - 3))
    return Measured(spearman, math.tanh(z - 1.96 * spread), math.tanh(z + 1.96 * spread), len(runs))


def slope(deviations: Float[np.ndarray, " M"]) -> float:
    """Return how fast a deviation grows with the negatives, both as logarithms."""
    return float(np.polyfit(np.log(NEGATIVES), np.log(deviations), 1)[0])


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(encoder, {"setting": tuple(SETTINGS)}, steps=STEPS)
    accuracy = runs.scores("correct", digits.ACCURACY)
    uniformity = runs.scores("uniformity", "uniformity, t = 2, held-out digits")
    axes = {"setting": tuple(SETTINGS), "batch": BATCHES}
    varied = lab.grid(encoder, axes, seeds=(100,), steps=STEPS)
    vectors = lab.grid(limit, {}, negatives=NEGATIVES, anchors=ANCHORS)
    of_anchors = vectors.scores(
        "deviation", "log-log slope of the mean absolute deviation of an anchor's loss", by_seed=slope
    )
    of_means = vectors.scores(
        "mean deviation", "log-log slope of the absolute deviation of the mean loss", by_seed=slope
    )

    def correlation(over: str, settings: Iterable[str]) -> Result:
        selected = [run for one in settings for batch in BATCHES for run in varied[one, batch].values()]
        name = f"2: rank correlation of accuracy with −(alignment + uniformity) over {over}"
        return above(rank_correlation(selected), name=name, metric="Spearman's coefficient")

    yield from decides(
        above(
            best(accuracy[setting] for setting in WEIGHTS)
            - best(accuracy[setting] for setting in TEMPERATURES),
            -0.02,
            name="1: best weight of align+unif − best temperature of InfoNCE",
        ),
        correlation("varied runs", (*WEIGHTS, *TEMPERATURES)),
        above(
            uniformity["without uniformity"],
            -0.5,
            refuted_at=-1.0,
            name="2: uniformity without the uniformity term (0 is total collapse, about −3.8 even spread)",
        ),
        within(
            of_anchors[()] + 0.5,
            0.1,
            name="3: slope of the log deviation from the limit against log M, plus ½",
        ),
    )
    yield from beside(
        correlation("those and runs without one of the terms", SETTINGS),
        *(
            below(accuracy[setting] - accuracy["align+unif 1"], name=f"2: {setting} − align+unif 1")
            for setting in ONE_TERM
        ),
        below(of_means[()], -0.4, name="3: slope for the mean over anchors"),
    )
    lab.note(
        "2: the correlation is over runs of one seed with different losses, temperatures, weights and",
        "batches, which are its 'seeds'.",
        "1 and 2: two-layer networks on views (shift, noise, masking) of scikit-learn's digits, batch",
        f"{BATCH}, a probe on {digits.LABELLED} labels. The best setting of each family is chosen again in every",
        f"resample. 3: random unit vectors in {DIMENSIONS} dimensions, τ = {TAU}; the limit in closed",
        "form. The deviation of a single anchor falls like M^−½; that of the mean over anchors, where",
        "the fluctuations cancel, falls faster.",
    )
