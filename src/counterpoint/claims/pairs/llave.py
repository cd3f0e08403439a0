"""LLaVE: weighting negatives by their own similarity does more than a lower temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...catalog.evidence import Result
from ...losses import LLaVELoss
from ..benches import skin_tones as tones
from ..benches.emoji import emoji_inputs
from ..benches.exact import of_similarities, random_views, relative_error
from ..lab import Arrays, Lab, measure

CLAIM = (
    "Weighting each negative by an exponential of its own similarity tells captions apart that differ in one "
    "attribute better than InfoNCE does, and better than a lower temperature does."
)
REFUTED = (
    "a temperature control is as good as the best weighting, or the gradient is not the weighted softmax"
)


SCALE = 50.0
"""1/τ."""
ALPHAS = (1.0, 3.0, 9.0)
SEEDS, STEPS = 5, 250
SHARED = 0.5
"""The share of captions without their tone in 2."""


def trained(scale: float, alpha: float, shared: float, seed: int, steps: int) -> Arrays:
    """Train one model; whether held-out pictures find their names, and how far similarities overlap."""
    data, _, captions = emoji_inputs()
    model = tones.trained(
        LLaVELoss(1 / scale, alpha=alpha),
        seed=seed,
        steps=steps,
        captions=tones.without_tone(captions, shared, seed),
    )
    rows = tones.toned(data.splits.test["compositions"])
    with torch.no_grad():
        images = model.embed("image", data.images(rows))
        similarities = images @ model.embed("text", [data.evaluation_captions(int(r))[0] for r in rows]).T
    return {**tones.outcomes(model, data.splits.test), "overlap": np.array(overlap(similarities.numpy()))}


def overlap(similarities: np.ndarray, bins: int = 100) -> float:
    """The common area of the histograms of the diagonal and of the rest, in [0, 1].

    >>> overlap(np.eye(4)), overlap(np.ones((4, 4)))
    (0.0, 1.0)
    """
    matched = np.eye(len(similarities), dtype=bool)
    # A cosine of 1 may be rounded up.
    edges = np.linspace(-1.001, 1.001, bins + 1)
    shares = [
        np.histogram(part, edges)[0] / len(part) for part in (similarities[matched], similarities[~matched])
    ]
    return float(np.minimum(*shares).sum())


def weighted_softmax() -> float:
    """Measure how far the gradient is from that of a softmax of weighted negatives, times 1/τ alone."""
    x, y = random_views(32, 8)
    s, alpha = x @ y.T, ALPHAS[-1]
    size = len(s)
    weighted = SCALE * s + alpha * s * (1 - torch.eye(size, dtype=s.dtype))
    both: Tensor = weighted.softmax(1) + weighted.softmax(0)
    expected = SCALE * (both / 2 - torch.eye(size, dtype=s.dtype)) / size
    return relative_error(of_similarities(LLaVELoss(1 / SCALE, alpha=alpha).double(), s), expected)


def run(lab: Lab) -> Sequence[Result]:
    seeds, steps = lab.seeds(SEEDS), 10 if lab.quick else STEPS
    alphas = ALPHAS[-1:] if lab.quick else ALPHAS
    plain = "plain"
    weighted = [f"α = {alpha:g}" for alpha in alphas]
    controls = [plain, *(f"1/τ = {SCALE + alpha:g}" for alpha in alphas)]
    arms: dict[str, tuple[float, float, float]] = {plain: (SCALE, 0.0, 0.0)}
    arms |= {name: (SCALE, alpha, 0.0) for name, alpha in zip(weighted, alphas, strict=True)}
    arms |= {name: (SCALE + alpha, 0.0, 0.0) for name, alpha in zip(controls[1:], alphas, strict=True)}
    arms |= {"plain, shared": (SCALE, 0.0, SHARED), "α = 9, shared": (SCALE, ALPHAS[-1], SHARED)}
    found = lab.cells(
        trained,
        {
            f"scale{scale:g}-alpha{alpha:g}-shared{shared:g}-seed{seed}": {
                "scale": scale,
                "alpha": alpha,
                "shared": shared,
                "seed": seed,
                "steps": steps,
            }
            for scale, alpha, shared in arms.values()
            for seed in seeds
        },
    )

    def arm(name: str, key: str = "contrastive") -> dict[int, np.ndarray]:
        scale, alpha, shared = arms[name]
        return {s: found[f"scale{scale:g}-alpha{alpha:g}-shared{shared:g}-seed{s}"][key] for s in seeds}

    def best(scores: Mapping[str, float], names: Sequence[str]) -> float:
        return max(scores[name] for name in names)

    metric = "share of held-out pictures nearer their name than it is in any other skin tone"
    reference, control = weighted[-1], controls[-1]
    overlaps = [np.array(list(arm(name, "overlap").values())) for name in (reference, plain)]
    lab.note(
        "Two-layer networks on 16 × 16 pixels and hashed words, trained on the 754 training emoji of one skin",
        f"tone for {steps} steps at batch {tones.BATCH}, Adam at {tones.LR:g}. Batches are made of all the tones",
        "of a name, so that every caption has hard negatives; held-out are compositions of a known emoji and a",
        f"known tone. 1/τ = {SCALE:g}; 'plain' has α = 0, and the controls only another τ. The best of the",
        f"{len(weighted)} α and of the {len(controls)} controls are chosen again in every resample. 2: {SHARED:.0%} of",
        "the captions lose their tone, so that batches hold equal captions that count as negatives; nothing is",
        "named that would refute it, so it does not decide. A multimodal language model is not tried.",
    )
    return [
        measure.of_arms(
            "1: best α − best of the temperature controls",
            metric,
            {name: arm(name) for name in (*weighted, *controls)},
            lambda scores: best(scores, weighted) - best(scores, controls),
            expected="above",
        ),
        *(
            measure.difference(
                f"1: {treatment} − {baseline}",
                metric,
                arm(treatment),
                arm(baseline),
                expected="above",
                decides=False,
            )
            for treatment, baseline in (*((name, plain) for name in weighted), (reference, control))
        ),
        measure.difference(
            f"1: R@1, {reference} − {plain}",
            "retrieval i2t_R@1 on held-out compositions with a skin tone",
            arm(reference, "R@1"),
            arm(plain, "R@1"),
            expected="above",
            decides=False,
        ),
        measure.over_seeds(
            f"1: overlap of positive and negative similarities, {reference} − {plain}",
            "common area of the two histograms, held-out compositions",
            overlaps[0] - overlaps[1],
            expected="below",
            decides=False,
        ),
        measure.exact(
            "1: gradient against the softmax of weighted negatives times 1/τ, float64",
            "relative error",
            weighted_softmax(),
            expected="below",
            bound=1e-6,
        ),
        measure.of_arms(
            f"2: {reference} − {plain} where captions are shared, − that where none is",
            metric,
            {name: arm(name) for name in (reference, plain, "α = 9, shared", "plain, shared")},
            lambda scores: (
                scores["α = 9, shared"] - scores["plain, shared"] - scores[reference] + scores[plain]
            ),
            expected="below",
            decides=False,
        ),
    ]
