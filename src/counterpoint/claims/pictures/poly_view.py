"""Poly-view contrast: more views of fewer examples at equal compute, and bounds that grow with the views."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ...catalog.evidence import Result
from ...losses import NTXentLoss, PolyViewLoss
from ...losses.softmax.poly_view import PolyViewMode
from ...networks import initialise
from ...networks.heads import mlp
from ...pairwise.temperature import Temperature
from ..benches import digits
from ..benches.descent import minimise
from ..benches.exact import gradients, random_views, relative_error
from ..lab import Arrays, Lab, measure

CLAIM = (
    "At equal compute, four to eight views of fewer examples under a poly-view loss give better features than "
    "SimCLR's two; bounds on the information between a view and the rest grow with their number; and two "
    "views give NT-Xent."
)
REFUTED = (
    "two views are best, a bound does not grow, the arithmetic loss exceeds the geometric one, or two views "
    "give something else than NT-Xent"
)


MODES: tuple[PolyViewMode, ...] = ("geometric", "arithmetic", "sufficient")
LOSSES = (*MODES, "multi-crop")
VIEWS = (4, 8)
TOTAL = 256
"""Views of a batch: examples × views of each."""
TAU = 0.1
RATES = (1e-3, 3e-3, 1e-2)
SEEDS, STEPS = 5, 200
TUNING_SEED = 1000

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
    own, rest = 1 + NOISE**2, 1 + NOISE**2 / (views - 1)
    return -DIMENSIONS / 2 * math.log(1 - 1 / (own * rest))


def excess() -> float:
    """Return the largest L_A − L_G over random views."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for views in (2, 3, 4, 8):
        for spread in (0.1, 0.5, 2.0):
            centre = torch.randn(16, 8, generator=generator, dtype=torch.float64)
            noise = torch.randn(views, 16, 8, generator=generator, dtype=torch.float64)
            z = F.normalize(centre + spread * noise, dim=-1)
            arithmetic, geometric = PolyViewLoss("arithmetic", temperature=TAU), PolyViewLoss(temperature=TAU)
            found.append(float(arithmetic(*z) - geometric(*z)))
    return max(found)


def run(lab: Lab) -> Sequence[Result]:
    return [*_fixed_compute(lab), *_gaussians(lab), *_two_views()]


def _fixed_compute(lab: Lab) -> list[Result]:
    seeds, steps = lab.seeds(SEEDS), 10 if lab.quick else STEPS
    rates = RATES[1:2] if lab.quick else RATES
    settings = {"SimCLR": ("geometric", 2)}  # with two views all modes are NT-Xent
    many = VIEWS[:1] if lab.quick else VIEWS
    settings |= {f"{loss} M = {m}": (loss, m) for loss in LOSSES for m in many}

    def cells(seeds: Sequence[int], lrs: Mapping[str, Sequence[float]]) -> dict[str, Arrays]:
        return lab.cells(
            trained,
            {
                f"{settings[arm][0]}-{settings[arm][1]}-lr{lr:g}-seed{seed}": {
                    "loss": settings[arm][0],
                    "views": settings[arm][1],
                    "lr": lr,
                    "seed": seed,
                    "steps": steps,
                }
                for arm in settings
                for lr in lrs[arm]
                for seed in seeds
            },
        )

    tuned = iter(cells([TUNING_SEED], dict.fromkeys(settings, rates)).values())
    validation = {arm: {lr: float(next(tuned)["validation"]) for lr in rates} for arm in settings}
    best = {arm: max(rates, key=lambda lr: validation[arm][lr]) for arm in settings}
    found = iter(cells(seeds, {arm: [lr] for arm, lr in best.items()}).values())
    runs = {arm: {seed: next(found) for seed in seeds} for arm in settings}
    outcomes = {arm: {seed: run["correct"] for seed, run in each.items()} for arm, each in runs.items()}

    def chosen(losses: Sequence[str]) -> str:
        arms = [arm for arm, (loss, m) in settings.items() if m > 2 and loss in losses]
        return max(arms, key=lambda arm: validation[arm][best[arm]])

    treatment, crops = chosen(("geometric", "sufficient")), chosen(("multi-crop",))
    metric = f"accuracy of a probe on {digits.LABELLED} labels, digits"
    lab.note(
        f"1: two-layer networks on views (shift, noise, masking) of scikit-learn's digits, τ = {TAU:g}, {steps}",
        f"steps of Adam on batches of {TOTAL} views whatever M; the learning rate of each loss and M from",
        f"{', '.join(f'{lr:g}' for lr in rates)}, and what decides among the geometric and the sufficient loss at",
        f"M = {' and '.join(map(str, many))}, by validation digits and a seed that are not among the tested ones:",
        f"{treatment} ({', '.join(f'{arm}: {lr:g}' for arm, lr in best.items())}). Growing M at a fixed number of",
        "examples was not tried.",
    )
    return [
        measure.difference(
            f"1: poly-view, M > 2 − SimCLR, {TOTAL} views a batch",
            metric,
            outcomes[treatment],
            outcomes["SimCLR"],
            expected="above",
        ),
        measure.difference(
            "1: poly-view, M > 2 − multi-crop, M > 2",
            metric,
            outcomes[treatment],
            outcomes[crops],
            expected="above",
            decides=False,
        ),
        *(
            measure.difference(
                f"1: {arm} − SimCLR",
                metric,
                outcomes[arm],
                outcomes["SimCLR"],
                expected="above",
                decides=False,
            )
            for arm in list(settings)[1:]
        ),
        *(
            measure.over_seeds(
                f"1: uniformity, {arm} − SimCLR",
                "uniformity, t = 2, held-out digits (lower is better)",
                [float(runs[arm][s]["uniformity"] - runs["SimCLR"][s]["uniformity"]) for s in seeds],
                expected="below",
                decides=False,
            )
            for arm in list(settings)[1:]
        ),
    ]


def _gaussians(lab: Lab) -> list[Result]:
    seeds, steps = lab.seeds(SEEDS), 10 if lab.quick else STEPS
    each: list[tuple[PolyViewMode, int]] = [("geometric", 2)]
    many = VIEWS[:1] if lab.quick else VIEWS
    each += [(mode, m) for mode in MODES for m in many]
    cells = {
        f"{mode}-{m}-seed{seed}": {
            "mode": mode,
            "views": m,
            "seed": seed,
            "steps": steps,
            "batches": 10 if lab.quick else 100,
        }
        for mode, m in each
        for seed in seeds
    }
    found = iter(lab.cells(bound, cells).values())
    bounds = {key: np.array([float(next(found)["bound"]) for _ in seeds]) for key in each}
    least, most = 2, many[-1]
    metric = "log(M (K − 1) + 1) − L on fresh batches, nats"
    results = []
    for mode in MODES:
        grown = bounds[mode, most]
        results += [
            measure.over_seeds(
                f"2: {mode} bound with {most} views − with {least}",
                metric,
                grown - bounds["geometric", least],
                expected="above",
            ),
            measure.over_seeds(
                f"2: {mode} bound with {most} views − the information in them",
                metric,
                grown - information(most),
                expected="below",
                decides=False,
            ),
        ]
    truth = ", ".join(f"{information(m):.2f} with {m}" for m in (2, *many))
    values = ", ".join(f"{mode} {m}: {value.mean():.2f}" for (mode, m), value in bounds.items())
    lab.note(
        f"2: Gaussian views of {DIMENSIONS} numbers, of deviation {NOISE:g} around a centre of unit variance,",
        f"{EXAMPLES} examples a batch, two-layer critics with a learned temperature, {steps} steps of Adam at 0.003.",
        f"In nats, the information between a view and the rest is {truth} views; the bounds are {values}. The",
        "constant counts the negatives, which would have to be independent for it to give a bound with certainty.",
    )
    return [
        measure.exact(
            "2: L_A − L_G, the largest over random views", "nats", excess(), expected="below", bound=1e-9
        ),
        *results,
    ]


def _two_views() -> list[Result]:
    x, y = random_views(32, 8)
    expected = gradients(NTXentLoss(TAU), x, y)
    return [
        measure.exact(
            f"3: {mode} with two views against NT-Xent, float64",
            "largest relative error of loss and gradient",
            max(
                relative_error(PolyViewLoss(mode, temperature=TAU)(x, y), NTXentLoss(TAU)(x, y)),
                relative_error(gradients(PolyViewLoss(mode, temperature=TAU), x, y), expected),
            ),
            expected="below",
            bound=1e-7,
        )
        for mode in MODES
    ]
