"""Decoupled uniformity: spreading the centroids of views aligns them, and a prior says whose views to share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...catalog.evidence import Result
from ...data.base import PairedData
from ...evaluation import create
from ...losses import DecoupledUniformityLoss, InfoNCELoss
from ...pairwise.loss import Loss
from ..benches import digits
from ..benches.emoji import SmallTwoTower, emoji_inputs, train_on_views
from ..lab import Arrays, Lab, measure

CLAIM = (
    "Spreading the centroids of views learns features as good as tuned InfoNCE at small batches, and a kernel "
    "on weak attributes improves them."
)
REFUTED = (
    "it is clearly worse than InfoNCE at every t, a shuffled prior is as good as the true one, or an identity "
    "of the loss fails"
)


SEEDS, STEPS, EMOJI_STEPS = 5, 400, 300
BATCHES = (16, 64)
SCALES = (1.0, 2.0, 4.0)
TEMPERATURES = (0.1, 0.2, 0.5)
ATTRIBUTES = ("group", "tone", "gender")
PRIORS = ("attributes", "shuffled attributes", "none")


def coupling(loss: str, option: float, batch: int, seed: int, steps: int) -> Arrays:
    """Train one encoder of digits; test it with a probe on 100 labels (claim 1)."""
    network = digits.encoder(seed)
    objective: Loss = DecoupledUniformityLoss(option) if loss == "decoupled" else InfoNCELoss(option)
    digits.train(network, objective, steps=steps, batch=batch, lr=3e-3, seed=seed)
    return digits.probe(network, seed)


def attributes(data: PairedData) -> Float[Tensor, "N a"]:
    """Return group, skin tone and gender of every row, each as a column per value; zeros where a row has none."""
    columns = [
        data.labels[name].values[:, None] == np.arange(len(data.labels[name].names)) for name in ATTRIBUTES
    ]
    return torch.from_numpy(np.concatenate(columns, axis=1)).double()


def prior(which: str, seed: int, steps: int) -> Arrays:
    """Train one encoder of emoji, centroids shared by a prior; probe for the subgroup (claim 2)."""
    data, features = emoji_inputs()[0], attributes(emoji_inputs()[0])
    if which.startswith("shuffled"):
        rows = data.splits.train
        features[rows] = features[np.random.default_rng([seed, 3]).permutation(rows)]
    model, objective = SmallTwoTower(seed), DecoupledUniformityLoss()

    def loss(first: Tensor, second: Tensor, rows: np.ndarray) -> Tensor:
        views = [F.normalize(model.image(v), dim=-1) for v in (first, second)]
        given = None if which == "none" else features[rows]
        return objective(*views, prior=given)

    train_on_views(model.image, loss, batch=64, steps=steps, lr=1e-3, seed=seed)
    scores = create("probe", labels=("subgroup",))(model, data, data.splits.test["concepts"])
    return {"correct": scores.examples["logistic_subgroup_top1"].to_numpy()}


def identities() -> Mapping[str, float]:
    """Return how far three statements about the loss are from true, in float64 (claim 3)."""
    generator = torch.Generator().manual_seed(0)
    x, y = F.normalize(torch.randn(2, 12, 5, generator=generator, dtype=torch.float64), dim=-1)
    norms = ((x + y) / 2).square().sum(1) - (1 - (x - y).square().sum(1) / 4)
    ridge, distinct = 0.01, torch.arange(12.0)
    narrow = DecoupledUniformityLoss(2.0, sigma=1e-3, ridge=ridge)(x, y, prior=distinct)
    plain = DecoupledUniformityLoss(2.0 / (1 + ridge) ** 2)(x, y)
    g = torch.randn(12, 3, generator=generator, dtype=torch.float64).requires_grad_()
    DecoupledUniformityLoss()(x.requires_grad_(), y, prior=g).backward()
    return {
        "‖μ‖² against 1 − ‖z − z'‖²/4": float(norms.abs().max()),
        "kernel K = I against the plain loss of centroids shrunk by 1 + λ": abs(
            float((narrow - plain).detach())
        ),
        "gradient in the prior": 0.0 if g.grad is None else float(g.grad.abs().max()),
    }


def run(lab: Lab) -> Sequence[Result]:
    return [*_coupling(lab), *_prior(lab), *_identities()]


def _coupling(lab: Lab) -> list[Result]:
    seeds, steps = lab.seeds(SEEDS), 10 if lab.quick else STEPS
    options: dict[str, tuple[float, ...]] = {"decoupled": SCALES, "InfoNCE": TEMPERATURES}
    if lab.quick:
        options = {loss: values[:1] for loss, values in options.items()}
    settings = [(loss, option) for loss, values in options.items() for option in values]
    found = lab.cells(
        coupling,
        {
            f"{loss}-{option:g}-batch{batch}-seed{seed}": {
                "loss": loss,
                "option": option,
                "batch": batch,
                "seed": seed,
                "steps": steps,
            }
            for loss, option in settings
            for batch in BATCHES
            for seed in seeds
        },
    )
    arms = {
        f"{loss} {option:g} {batch}": {
            seed: found[f"{loss}-{option:g}-batch{batch}-seed{seed}"]["correct"] for seed in seeds
        }
        for loss, option in settings
        for batch in BATCHES
    }

    def gain(scores: Mapping[str, float], batch: int) -> float:
        own, other = (max(scores[f"{loss} {o:g} {batch}"] for o in options[loss]) for loss in options)
        return own - other

    metric = f"accuracy of a probe on {digits.LABELLED} labels, digits"
    lab.note(
        f"1: two-layer networks on views of digits, {steps} steps of Adam at 0.003; the best of t = 1, 2, 4 and of",
        "three temperatures is chosen again in every resample. Two points less is counted as clearly worse.",
    )
    return [
        measure.of_arms(
            f"1: decoupled uniformity − InfoNCE, mean over batches of {' and '.join(map(str, BATCHES))}",
            metric,
            arms,
            lambda scores: float(np.mean([gain(scores, batch) for batch in BATCHES])),
            expected="above",
            bound=-0.02,
        ),
        *(
            measure.of_arms(
                f"1: that difference at batch {batch}",
                metric,
                arms,
                lambda scores, batch=batch: gain(scores, batch),  # type: ignore[misc] # mypy infers no default
                expected="above",
                bound=-0.02,
                decides=False,
            )
            for batch in BATCHES
        ),
    ]


def _prior(lab: Lab) -> list[Result]:
    seeds, steps = lab.seeds(SEEDS), 3 if lab.quick else EMOJI_STEPS
    priors = PRIORS[:2] if lab.quick else PRIORS
    found = lab.cells(
        prior,
        {
            f"{which.replace(' ', '-')}-seed{seed}": {"which": which, "seed": seed, "steps": steps}
            for which in priors
            for seed in seeds
        },
    )
    arms = {
        which: {seed: found[f"{which.replace(' ', '-')}-seed{seed}"]["correct"] for seed in seeds}
        for which in priors
    }
    lab.note(
        f"2: two-layer networks on 16 × 16 pixels of the emoji (shift, noise, blanks), batch 64, {steps} steps of Adam",
        "at 0.001, t = 2, Gaussian kernel at the median distance, λ = 0.01. The prior is group, skin tone and gender;",
        "shuffled, it is that of another emoji.",
    )
    pairs = [
        ("attributes", "shuffled attributes", True),
        ("attributes", "none", False),
        ("none", "shuffled attributes", False),
    ]
    return [
        measure.difference(
            f"2: prior {treatment} − {baseline}",
            "logistic probe of the subgroup, held-out concepts of the emoji",
            arms[treatment],
            arms[baseline],
            expected="above",
            decides=decides,
        )
        for treatment, baseline, decides in pairs
        if {treatment, baseline} <= set(arms)
    ]


def _identities() -> list[Result]:
    return [
        measure.exact(f"3: {name}", "largest absolute difference", value, expected="below", bound=1e-10)
        for name, value in identities().items()
    ]
