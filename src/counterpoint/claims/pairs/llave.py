"""LLaVE: weighting negatives by their own similarity does more than a lower temperature."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ...losses import LLaVELoss
from ...study.presets import Preset
from ..benches.data import skin_tones as tones
from ..benches.data.emoji import emoji_inputs
from ..benches.exact import of_similarities, random_views, relative_error
from ..lab import Arrays, Lab, Result, above, below, beside, best, decides, exact

CLAIM = (
    "Weighting each negative by an exponential of its own similarity tells captions apart that differ in one "
    "attribute better than InfoNCE does, and better than a lower temperature does."
)
REFUTED = (
    "a temperature control is as good as the best weighting, or the gradient is not the weighted softmax"
)
PRESET = Preset(
    "llave",
    "negatives of equal weight, and of a weight that grows with how similar they are",
    {"arms": ("llave,alpha=0", "llave,alpha=3", "llave")},
    "llave,alpha=0",
    {"retrieval": ("i2t_R@1", "t2i_R@1")},
)


SCALE = 50.0
"""1/τ."""
ALPHAS = (1.0, 3.0, 9.0)
STEPS = 250
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
    """Return the common area of the histograms of the diagonal and of the rest, in [0, 1].

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


def run(lab: Lab) -> Iterator[Result]:
    weighted = {f"α = {alpha:g}": (SCALE, alpha, 0.0) for alpha in ALPHAS}
    controls = {"plain": (SCALE, 0.0, 0.0), **{f"1/τ = {SCALE + a:g}": (SCALE + a, 0.0, 0.0) for a in ALPHAS}}
    shared = {"plain, shared": (SCALE, 0.0, SHARED), "α = 9, shared": (SCALE, 9.0, SHARED)}
    arms = {
        name: dict(zip(("scale", "alpha", "shared"), settings, strict=True))
        for name, settings in {**controls, **weighted, **shared}.items()
    }
    runs = lab.grid(trained, {"arm": arms}, steps=STEPS)
    nearer = runs.scores(
        "contrastive", "share of held-out pictures nearer their name than it is in any other skin tone"
    )
    first = runs.scores("R@1", "retrieval i2t_R@1 on held-out compositions with a skin tone")
    area = runs.scores("overlap", "common area of the two histograms, held-out compositions")
    yield from decides(
        above(
            best(nearer[arm] for arm in weighted) - best(nearer[arm] for arm in controls),
            name="1: best α − best of the temperature controls",
        ),
        below(
            exact(weighted_softmax(), "relative error"),
            1e-6,
            name="1: gradient against the softmax of weighted negatives times 1/τ, float64",
        ),
    )
    yield from beside(
        *(above(nearer[arm] - nearer["plain"], name=f"1: {arm} − plain") for arm in weighted),
        above(nearer["α = 9"] - nearer["1/τ = 59"], name="1: α = 9 − 1/τ = 59"),
        above(first["α = 9"] - first["plain"], name="1: R@1, α = 9 − plain"),
        below(
            area["α = 9"] - area["plain"],
            name="1: overlap of positive and negative similarities, α = 9 − plain",
        ),
        below(
            nearer["α = 9, shared"] - nearer["plain, shared"] - nearer["α = 9"] + nearer["plain"],
            name="2: α = 9 − plain where captions are shared, − that where none is",
        ),
    )
    lab.note(
        "Two-layer networks on 16 × 16 pixels and hashed words, trained on the 754 training emoji of one skin",
        f"tone for {STEPS} steps at batch {tones.BATCH}, Adam at {tones.LR:g}. Batches are made of all the tones",
        "of a name, so that every caption has hard negatives; held-out are compositions of a known emoji and a",
        f"known tone. 1/τ = {SCALE:g}; 'plain' has α = 0, and the controls only another τ. The best of the",
        f"{len(weighted)} α and of the {len(controls)} controls are chosen again in every resample. 2: {SHARED:.0%} of",
        "the captions lose their tone, so that batches hold equal captions that count as negatives; 2 has no criterion",
        "of refutation and does not decide. A multimodal language model is not tried.",
    )
