"""Discriminative against generative linear classifiers: who needs fewer labels, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from ..catalog.evidence import Direction, Result
from ..data.source import load
from ..evaluation import learning_curve
from ..evaluation.classifiers import CLASSIFIERS
from ..evaluation.simulation import GaussianClasses, examples_needed
from ..networks import ConvNet, initialise
from ..objectives import InfoNCE
from . import measure
from .claim import Arrays, Claim, Lab
from .small import SmallTwoTower, emoji_inputs, train_on_names

DIMENSIONS = (50, 100, 200)
CLASSES = 3
SEEDS = 5
REPEATS = 3
PER_CLASS = (2, 4, 8, 16, 32, 64, 128, 256)
SUBSETS = 20
STEPS = 400


def needed(classifier: str, dimensions: int, repeats: int, seed: int) -> Arrays:
    """Claim 1: examples until the error is within 0.01 of the Bayes error."""
    problem = GaussianClasses(CLASSES, dimensions)
    size = examples_needed(problem, CLASSIFIERS[classifier], repeats=repeats, seed=seed)
    return {"examples": np.array(np.nan if size is None else float(size))}


def random_network(data_rows: np.ndarray, steps: int) -> Float[np.ndarray, "n d"]:
    """Features of an untrained convolutional network; no steps are taken."""
    tower = ConvNet(48)
    initialise(tower, 0, "image")
    return _in_parts(data_rows, lambda pictures: tower.eval()(tower.prepare(pictures)))


def trained_network(data_rows: np.ndarray, steps: int) -> Float[np.ndarray, "n d"]:
    """Features of a small image encoder that has learned the training pictures' names by contrast."""
    model = SmallTwoTower(0)
    train_on_names(model, InfoNCE(), batch=64, steps=steps, lr=1e-3, seed=0)
    return _in_parts(data_rows, lambda pictures: model.embed("image", pictures))


FEATURES = {"untrained network": random_network, "trained network": trained_network}


def curves(features: str, whiten: bool, per_class: Sequence[int], subsets: int, steps: int) -> Arrays:
    """Claim 2: test errors by training size, on the groups of the emoji."""
    data, _, _ = emoji_inputs()
    train, test = data.splits.train, np.concatenate(list(data.splits.test.values()))
    z = FEATURES[features](np.concatenate([train, test]), steps)
    x, held_out = z[: len(train)], z[len(train) :]
    if whiten:
        mean = x.mean(0)
        _, scales, axes = np.linalg.svd(x - mean, full_matrices=False)
        kept = scales > 1e-3 * scales[0]
        turn = axes[kept].T / scales[kept] * np.sqrt(len(x))
        x, held_out = (x - mean) @ turn, (held_out - mean) @ turn
    classes = data.labels["group"].values
    sizes = [n * len(data.labels["group"].names) for n in per_class]
    curve = learning_curve(x, classes[train], held_out, classes[test], sizes, subsets=subsets)
    return dict(curve.errors)


@torch.no_grad()
def _in_parts(rows: np.ndarray, embed: Callable[[torch.Tensor], torch.Tensor]) -> Float[np.ndarray, "n d"]:
    data = load("emoji")
    parts = [embed(data.images(part)) for part in np.array_split(rows, max(len(rows) // 256, 1))]
    features: np.ndarray = torch.cat(parts).double().numpy()
    return features


def run(lab: Lab) -> Sequence[Result]:
    return [*_simulation(lab), *_features(lab)]


def _simulation(lab: Lab) -> list[Result]:
    seeds = lab.seeds(SEEDS)
    dimensions = (10, 20) if lab.quick else DIMENSIONS
    found = lab.cells(
        needed,
        {
            f"{classifier}-n{n}-seed{seed}": {
                "classifier": classifier,
                "dimensions": n,
                "repeats": 1 if lab.quick else REPEATS,
                "seed": seed,
            }
            for classifier in ("naive_bayes", "logistic")
            for n in dimensions
            for seed in seeds
        },
    )

    def examples(classifier: str, n: int) -> np.ndarray:
        return np.array([float(found[f"{classifier}-n{n}-seed{seed}"]["examples"]) for seed in seeds])

    least, most = dimensions[0], dimensions[-1]
    ratios = {n: np.log10(examples("logistic", n) / examples("naive_bayes", n)) for n in dimensions}
    results = [
        measure.over_seeds(
            f"1: naive Bayes, examples needed at {most} dimensions − at {least}",
            "examples until error < Bayes error + 0.01",
            examples("naive_bayes", most) - examples("naive_bayes", least),
            expected="below",
            bound=10.0,
        ),
        measure.over_seeds(
            "1: log10 of how many times as many examples logistic regression needs, mean over dimensions",
            "log10 of a ratio of examples",
            np.mean([ratios[n] for n in dimensions], axis=0),
            expected="above",
            bound=1.0,
            refuted_at=0.0,
        ),
    ]
    for n in dimensions:
        sides: tuple[tuple[str, Direction], ...] = (("naive_bayes", "below"), ("logistic", "above"))
        for classifier, expected in sides:
            results.append(
                measure.over_seeds(
                    f"1: {classifier.replace('_', ' ')}, {n} dimensions",
                    "examples until error < Bayes error + 0.01",
                    examples(classifier, n),
                    expected=expected,
                    bound=100.0,
                    decides=False,
                )
            )
    return results


def _features(lab: Lab) -> list[Result]:
    per_class = (2, 4, 16) if lab.quick else PER_CLASS
    subsets = 2 if lab.quick else SUBSETS
    found = lab.cells(
        curves,
        {
            f"{features.split()[0]}{'-whitened' if whiten else ''}": {
                "features": features,
                "whiten": whiten,
                "per_class": list(per_class),
                "subsets": subsets,
                "steps": 20 if lab.quick else STEPS,
            }
            for features in FEATURES
            for whiten in (False, True)
        },
    )
    results = []
    for name, errors in found.items():
        gap = errors["naive_bayes"] - errors["logistic"]
        few = [i for i, n in enumerate(per_class) if n <= 4]
        decides = name == "trained"
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
        lab.note(f"With {name} features the mean errors cross {where} (labels per class).")
    lab.note(
        f"1: covariance 'easy', {CLASSES} classes, {REPEATS} repeats a seed; logistic regression sees",
        "features scaled to [0, 1]. 2: the groups (9) of the emoji, two held-out test sets together; the",
        "number of seeds is the number of random training subsets, so the interval does not cover the",
        "choice of test examples. Sentence embeddings of emoji names are not tried: no such model ships",
        "with the package.",
    )
    return results


CLAIM = Claim(
    slug="naive-bayes-linear-eval",
    statement=(
        "Naive Bayes with pooled variances comes near its best error with few examples whatever the "
        "dimension, where "
        "logistic regression needs ten times as many; on features of a trained network it wins while "
        "labels are few."
    ),
    refuted=(
        "naive Bayes needs more examples as the dimension grows, logistic regression is there first, or "
        "logistic "
        "regression is better even at 2 to 4 labels per class"
    ),
    run=run,
)
