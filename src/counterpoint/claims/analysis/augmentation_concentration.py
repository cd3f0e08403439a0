"""Concentration under augmentation: the closer views of a class come, the better contrastive features classify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from ...catalog.evidence import Result
from ...diagnostics.augmentation import centres, concentration
from ...evaluation.classification.classifiers import knn
from ...losses import NTXentLoss
from ...networks.init import initialise
from ...networks.towers.convnet import ConvNet
from ..benches.descent import minimise
from ..benches.emoji import SIDE
from ..benches.emoji_views import CHANGES, changed, emoji
from ..benches.patches import LABEL, LEAST, in_parts, squared
from ..lab import Arrays, Lab, measure

CLAIM = (
    "Over sets of augmentations, the smaller the mean augmented distance within classes, the smaller the "
    "error of contrastive features: Spearman's coefficient is at least 0.7."
)
REFUTED = "the coefficient is 0 or less"


SEEDS, STEPS, BATCH, TAU = 5, 200, 64, 0.1
VIEWS, COMPARED = 16, 300
SETS: Mapping[str, tuple[str, ...]] = {
    "crop": ("crop",),
    "crop, blur": ("crop", "blur"),
    "crop, grey": ("crop", "grayscale"),
    "crop, flip": ("crop", "flip"),
    "crop, colour": ("crop", "colour jitter"),
    "crop, grey, colour": ("crop", "grayscale", "colour jitter"),
    "crop, grey, colour, flip": ("crop", "grayscale", "colour jitter", "flip"),
    "all five": CHANGES,
}
TAUS = (0.05, 0.1, 0.2, 0.5, 1.0)


def sharpness(changes: Sequence[str], most: int, views: int) -> Arrays:
    """Compute the (σ, δ) curve of a set of changes on the same pictures, at levels of δ that all sets share."""
    x, labels = _compared(most)
    rng = np.random.default_rng(0)
    seen = torch.stack([changed(x, rng, tuple(changes)) for _ in range(views)], 1)
    levels = [float(level) for level in np.linspace(4, 14, 6)]
    found = concentration(seen, torch.from_numpy(labels), levels)
    return {"distance": np.array(found.distance), "sigma": np.array(found.sigma)}


def simclr(changes: Sequence[str], tau: float, seed: int, steps: int) -> Arrays:
    """Train a small convolutional network on pairs of views.

    Returns:
        ``correct``: whether the nearest training pictures name the group of each test picture;
        ``divergence`` and ``error`` of the centres of groups, of views by the same changes.
    """
    data, which = emoji(LABEL, LEAST), tuple(changes)
    x, classes = data.of(data.train)
    network, objective = ConvNet(SIDE, widths=(32, 64)), NTXentLoss(tau)
    initialise(network, seed)

    def loss(rng: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(rng.choice(len(x), BATCH, replace=False))
        a, b = (F.normalize(network(squared(changed(x[rows], rng, which))), dim=-1) for _ in range(2))
        return objective(a, b)

    minimise(loss, network.parameters(), steps=steps, lr=2e-3, seed=seed)
    test, test_classes = data.of(data.test)
    train_z, test_z = (in_parts(network, squared(part)).double().numpy() for part in (x, test))
    named = knn(train_z, classes, test_z, int(classes.max()) + 1)
    rng = np.random.default_rng([seed, 1])
    views = [in_parts(network, squared(changed(test, rng, which))) for _ in range(4)]
    gathered = centres(torch.stack(views, 1), torch.from_numpy(test_classes))
    return {
        "correct": (named == test_classes).astype(float),
        "divergence": np.array(gathered.divergence),
        "error": np.array(gathered.error),
    }


def _compared(most: int) -> tuple[Tensor, np.ndarray]:
    data = emoji(LABEL, LEAST)
    x, classes = data.of(data.train)
    step = max(len(x) // most, 1)
    return x[::step][:most], classes[::step][:most]


def run(lab: Lab) -> Sequence[Result]:
    seeds, steps = lab.seeds(SEEDS), 2 if lab.quick else STEPS
    sets = {name: SETS[name] for name in list(SETS)[:3]} if lab.quick else SETS
    sizes = {"most": 40, "views": 2} if lab.quick else {"most": COMPARED, "views": VIEWS}
    sharp = lab.cells(sharpness, {_plain(name): {"changes": list(c), **sizes} for name, c in sets.items()})
    runs = lab.cells(
        simclr,
        {
            f"{_plain(name)}-seed{seed}": {"changes": list(c), "tau": TAU, "seed": seed, "steps": steps}
            for name, c in sets.items()
            for seed in seeds
        },
    )
    distance = np.array([float(sharp[_plain(name)]["distance"]) for name in sets])
    error = np.array([[1 - runs[f"{_plain(n)}-seed{s}"]["correct"].mean() for n in sets] for s in seeds])
    lab.note(
        f"SimCLR (NT-Xent, τ = {TAU}) with a small residual network on {SIDE} × {SIDE} pixels of emoji by two artists,",
        f"{steps} steps at batch {BATCH}, over {len(sets)} sets of changes; the nearest 20 training pictures name the",
        f"groups of concepts that training has nothing of. Distances are the least over {sizes['views']} views each of",
        f"the same {sizes['most']} training pictures.",
        "Errors by set: " + "; ".join(f"{n} {e:.3f}" for n, e in zip(sets, error.mean(0), strict=True)) + ".",
    )
    return [
        measure.over_seeds(
            "mean distance within classes against the error, over sets of changes",
            "Spearman's coefficient",
            [float(stats.spearmanr(distance, row).statistic) for row in error],
            expected="above",
            bound=0.7,
            refuted_at=0.0,
        ),
        measure.over_seeds(
            "1 − σ at a middle δ against the error, over sets of changes",
            "Spearman's coefficient",
            [_of_sigma(sharp, list(sets), row) for row in error],
            expected="above",
            decides=False,
        ),
        *_centres(lab, steps),
    ]


def _of_sigma(sharp: Mapping[str, Arrays], sets: Sequence[str], error: np.ndarray) -> float:
    """Correlate 1 − σ with the error, at the level of δ where the sets differ most."""
    loose = 1 - np.array([sharp[_plain(name)]["sigma"] for name in sets])
    middle = loose[:, loose.std(0).argmax()]
    return float(stats.spearmanr(middle, error).statistic) if middle.std() and error.std() else 0.0


def _centres(lab: Lab, steps: int) -> list[Result]:
    """Compare temperatures at equal augmentation: centres further apart have a smaller error of the nearest centre."""
    seeds = lab.seeds(SEEDS)[:2]
    taus = TAUS[:3] if lab.quick else TAUS
    runs = lab.cells(
        simclr,
        {
            f"tau{tau:g}-seed{seed}": {"changes": list(CHANGES), "tau": tau, "seed": seed, "steps": steps}
            for tau in taus
            for seed in seeds
        },
    )
    values = np.array([(float(run["divergence"]), float(run["error"])) for run in runs.values()])
    if lab.quick:
        return []
    return [
        measure.exact(
            f"largest product of two centres against the error of the nearest, all five changes, {len(values)} runs",
            "Spearman's coefficient",
            float(stats.spearmanr(values[:, 0], values[:, 1]).statistic),
            expected="above",
            decides=False,
        )
    ]


def _plain(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")
