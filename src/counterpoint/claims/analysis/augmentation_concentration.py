"""Concentration under augmentation: the closer views of a class come, the better contrastive features classify."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from ...diagnostics.augmentation import centres, concentration
from ...evaluation.classification.classifiers import knn
from ...losses import NTXentLoss
from ...networks.init import initialise
from ...networks.towers.convnet import ConvNet
from ..benches.data.emoji import SIDE
from ..benches.data.emoji_views import CHANGES, changed, emoji
from ..benches.descent import minimise
from ..benches.patches import LABEL, LEAST, in_parts, squared
from ..lab import Arrays, Lab, Result, Score, above, beside, decides, exact, per_seed

CLAIM = (
    "Over sets of augmentations, the smaller the mean augmented distance within classes, the smaller the "
    "error of contrastive features: Spearman's coefficient is at least 0.7."
)
REFUTED = "the coefficient is 0 or less"


STEPS, BATCH, TAU = 200, 64, 0.1
VIEWS, COMPARED = 16, 300
FEWEST = 40
"""Pictures of which some are of one class; a smoke run compares no fewer."""
SETS = {
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
    curve = concentration(seen, torch.from_numpy(labels), levels)
    return {"distance": np.array(curve.distance), "sigma": np.array(curve.sigma)}


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
    data, most = emoji(LABEL, LEAST), max(most, FEWEST)
    x, classes = data.of(data.train)
    step = max(len(x) // most, 1)
    return x[::step][:most], classes[::step][:most]


def run(lab: Lab) -> Iterator[Result]:
    sets = {name: {"changes": list(changes)} for name, changes in SETS.items()}
    sharp = lab.grid(sharpness, {"set": sets}, seeds=None, most=COMPARED, views=VIEWS)
    correct = lab.grid(simclr, {"set": sets}, tau=TAU, steps=STEPS).scores("correct", "accuracy")
    errors = 1 - np.stack([correct.values(name).mean(1) for name in sets], 1)
    distance, sigma = (np.stack([sharp[name][None][key] for name in sets]) for key in ("distance", "sigma"))
    loose = 1 - sigma[:, sigma.std(0).argmax()]  # at the level of δ where the sets differ most
    yield from decides(
        above(against_error(distance, errors, "mean distance within classes"), 0.7, refuted_at=0.0)
    )
    yield from beside(above(against_error(loose, errors, "1 − σ at a middle δ")), centres_against_error(lab))
    lab.note(
        f"SimCLR (NT-Xent, τ = {TAU}) with a small residual network on {SIDE} × {SIDE} pixels of emoji by two artists,",
        f"{STEPS} steps at batch {BATCH}, over {len(sets)} sets of changes; the nearest 20 training pictures name the",
        f"groups of concepts that training has nothing of. Distances are the least over {VIEWS} views each of",
        f"the same {COMPARED} training pictures.",
        "Errors by set: "
        + "; ".join(f"{n} {e:.3f}" for n, e in zip(sets, errors.mean(0), strict=True))
        + ".",
    )


def against_error(
    values: Float[np.ndarray, " sets"], errors: Float[np.ndarray, "seeds sets"], what: str
) -> Score:
    """Correlate a number of each set with the sets' errors, seed by seed."""
    coefficients = [float(stats.spearmanr(values, row).statistic) for row in errors]
    return per_seed(f"{what} against the error, over sets of changes", "Spearman's coefficient", coefficients)


def centres_against_error(lab: Lab) -> Result:
    """Compare temperatures at equal augmentation: centres further apart have a smaller error of the nearest centre."""
    runs = lab.grid(simclr, {"tau": TAUS}, seeds=2, changes=list(CHANGES), steps=STEPS)
    points = [(float(run["divergence"]), float(run["error"])) for tau in TAUS for run in runs[tau].values()]
    coefficient = float(stats.spearmanr(*np.array(points).T).statistic)
    return above(
        exact(coefficient, "Spearman's coefficient"),
        name=f"largest product of two centres against the error of the nearest, all five changes, {len(points)} runs",
    )
