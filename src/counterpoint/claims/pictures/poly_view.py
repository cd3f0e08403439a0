"""Poly-view contrast: more views of fewer examples at equal compute, and bounds that grow with the views."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...losses import NTXentLoss, PolyViewLoss
from ...losses.softmax.poly_view import PolyViewMode
from ...networks import initialise
from ...networks.heads import mlp
from ...pairwise.temperature import Temperature
from ...study.presets import Preset
from ..benches.data import digits
from ..benches.descent import minimise
from ..benches.exact import disagreement
from ..lab import Arrays, Grid, Lab, Result, above, below, beside, decides, exact

CLAIM = (
    "At equal compute, four to eight views of fewer examples under a poly-view loss give better features than "
    "SimCLR's two; bounds on the information between a view and the rest grow with their number; and two "
    "views give NT-Xent."
)
REFUTED = (
    "two views are best, a bound does not grow, the arithmetic loss exceeds the geometric one, or two views "
    "give something else than NT-Xent"
)
PRESET = Preset(
    "poly-view",
    "two views of an example, and four at once, by each mode",
    {
        "arms": (
            "ntxent,on=images",
            "poly-view,on=images,views=4",
            "poly-view,on=images,views=4,mode=arithmetic",
            "poly-view,on=images,views=4,mode=sufficient",
        )
    },
    "ntxent,on=images",
    {"probe": ("logistic_*_top1",)},
    "passes",
)


MODES: tuple[PolyViewMode, ...] = ("geometric", "arithmetic", "sufficient")
LOSSES = (*MODES, "multi-crop")
VIEWS = (4, 8)
TOTAL = 256
"""Views of a batch: examples × views of each."""
TAU = 0.1
RATES = (1e-3, 3e-3, 1e-2)
STEPS = 200

EXAMPLES, DIMENSIONS, NOISE = 64, 4, 0.5
"""Sizes of the Gaussian toy: examples in a batch, dimensions, and a view's deviation from a centre of unit variance."""


def trained(loss: str, views: int, lr: float, seed: int, steps: int) -> Arrays:
    """Train one encoder on batches of ``TOTAL`` views (claim 1)."""
    network = digits.encoder(seed)
    mode = next((mode for mode in MODES if mode == loss), None)
    objective = PolyViewLoss(mode or "geometric", temperature=TAU)

    def crops(z: Sequence[Tensor], rows: Int[np.ndarray, " B"]) -> Tensor:
        return multi_crop(z)

    digits.train(
        network,
        objective,
        steps=steps,
        batch=TOTAL // views,
        lr=lr,
        seed=seed,
        views=views,
        step=crops if mode is None else None,
    )
    return digits.probe(network, seed)


def multi_crop(z: Sequence[Float[Tensor, "K d"]]) -> Float[Tensor, ""]:
    """Return the mean of NT-Xent over all pairs of views, each with the negatives of its two views alone."""
    first, second = torch.combinations(torch.arange(len(z))).T
    views = torch.stack(list(z))
    pairs = torch.cat([views[first], views[second]], dim=1)  # (pairs, 2K, d)
    n = pairs.shape[1]
    logits = (pairs @ pairs.mT / TAU).masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf)
    partner = torch.arange(n).roll(n // 2).expand(len(pairs), n)
    return F.cross_entropy(logits.flatten(0, 1), partner.flatten())


def bound(mode: PolyViewMode, views: int, seed: int, steps: int, batches: int) -> Arrays:
    """Train a critic on Gaussian views; return log(M (K − 1) + 1) − L on fresh batches, in nats (claim 2)."""
    network = mlp(DIMENSIONS, 64, 16, layers=2, norm=False)
    initialise(network, seed)
    objective = PolyViewLoss(mode, temperature=Temperature(TAU))

    def loss(rng: np.random.Generator) -> Tensor:
        centre = rng.standard_normal((EXAMPLES, DIMENSIONS))
        x = centre + NOISE * rng.standard_normal((views, EXAMPLES, DIMENSIONS))
        return objective(*F.normalize(network(torch.from_numpy(x).float()), dim=-1))

    minimise(loss, [*network.parameters(), *objective.parameters()], steps=steps, lr=3e-3, seed=seed)
    rng = np.random.default_rng([seed, 1])
    with torch.no_grad():
        mean = np.mean([float(loss(rng)) for _ in range(batches)])
    return {"bound": np.array(math.log(views * (EXAMPLES - 1) + 1) - mean)}


def information(views: int) -> float:
    """Return I(x_1; x_2, …, x_M) of the Gaussian views, in nats: the mean of the rest says all that they say."""
    single, rest = 1 + NOISE**2, 1 + NOISE**2 / (views - 1)
    return -DIMENSIONS / 2 * math.log(1 - 1 / (single * rest))


def excess() -> float:
    """Return the largest L_A − L_G over random views."""
    generator = torch.Generator().manual_seed(0)
    differences = []
    for views in (2, 3, 4, 8):
        for spread in (0.1, 0.5, 2.0):
            centre = torch.randn(16, 8, generator=generator, dtype=torch.float64)
            noise = torch.randn(views, 16, 8, generator=generator, dtype=torch.float64)
            z = F.normalize(centre + spread * noise, dim=-1)
            arithmetic, geometric = PolyViewLoss("arithmetic", temperature=TAU), PolyViewLoss(temperature=TAU)
            differences.append(float(arithmetic(*z) - geometric(*z)))
    return max(differences)


def run(lab: Lab) -> Iterator[Result]:
    def tuned(axes: Mapping[str, Any], **over: Sequence[Any]) -> Grid:
        return lab.tuned(trained, axes, over={**over, "lr": RATES}, tuning_seeds=(1000,), steps=STEPS)

    many = {f"{loss} M = {m}": {"loss": loss, "views": m} for loss in LOSSES for m in VIEWS}
    simclr = {"loss": "geometric", "views": 2}  # with two views all modes are NT-Xent
    runs = tuned({"arm": {"SimCLR": simclr, **many}})
    chosen = tuned({}, loss=("geometric", "sufficient"), views=VIEWS)
    crops = tuned({}, loss=("multi-crop",), views=VIEWS)
    accuracy = runs.scores("correct", digits.ACCURACY)
    spread = runs.scores("uniformity", digits.UNIFORMITY)
    treatment, multi_crops = (grid.scores("correct", digits.ACCURACY)[()] for grid in (chosen, crops))

    toy = {f"{mode} {m}": {"mode": mode, "views": m} for mode in MODES for m in VIEWS}
    toy = {"geometric 2": {"mode": "geometric", "views": 2}, **toy}
    bounds = lab.grid(bound, {"bound": toy}, steps=STEPS, batches=100).scores(
        "bound", "log(M (K − 1) + 1) − L on fresh batches, nats"
    )
    most = VIEWS[-1]
    yield from decides(
        above(treatment - accuracy["SimCLR"], name=f"1: poly-view, M > 2 − SimCLR, {TOTAL} views a batch"),
        below(exact(excess(), "nats"), 1e-9, name="2: L_A − L_G, the largest over random views"),
        *(
            above(
                bounds[f"{mode} {most}"] - bounds["geometric 2"],
                name=f"2: {mode} bound with {most} views − with 2",
            )
            for mode in MODES
        ),
        *(
            below(
                exact(
                    disagreement(PolyViewLoss(mode, temperature=TAU), NTXentLoss(TAU)),
                    "largest relative error of loss and gradient",
                ),
                1e-7,
                name=f"3: {mode} with two views against NT-Xent, float64",
            )
            for mode in MODES
        ),
    )
    yield from beside(
        above(treatment - multi_crops, name="1: poly-view, M > 2 − multi-crop, M > 2"),
        *(above(accuracy[arm] - accuracy["SimCLR"], name=f"1: {arm} − SimCLR") for arm in many),
        *(below(spread[arm] - spread["SimCLR"], name=f"1: uniformity, {arm} − SimCLR") for arm in many),
        *(
            below(
                bounds[f"{mode} {most}"] - information(most),
                name=f"2: {mode} bound with {most} views − the information in them",
            )
            for mode in MODES
        ),
    )
    truth = ", ".join(f"{information(m):.2f} with {m}" for m in (2, *VIEWS))
    lab.note(
        f"1: two-layer networks on views (shift, noise, masking) of scikit-learn's digits, τ = {TAU:g}, {STEPS}",
        f"steps of Adam on batches of {TOTAL} views whatever M; the learning rate of each loss and M from",
        f"{', '.join(f'{lr:g}' for lr in RATES)}, and what decides among the geometric and the sufficient loss at",
        f"M = {' and '.join(map(str, VIEWS))}, by validation digits and a seed that are not among the tested ones:",
        "{loss} M = {views}".format(**chosen.chosen[()])
        + f" ({runs.choices}). Growing M at a fixed number of",
        "examples was not tried.",
        f"2: Gaussian views of {DIMENSIONS} numbers, of deviation {NOISE:g} around a centre of unit variance,",
        f"{EXAMPLES} examples a batch, two-layer critics with a learned temperature, {STEPS} steps of Adam at 0.003.",
        f"In nats, the information between a view and the rest is {truth} views; the bounds are",
        f"{bounds.means(digits=2)}. The constant counts the negatives, which would have to be independent for it to",
        "give a bound with certainty.",
    )
