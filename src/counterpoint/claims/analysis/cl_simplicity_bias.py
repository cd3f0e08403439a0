"""Simplicity bias: gradient descent on a contrastive loss drops what the loss does not need, and keeps what is easy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...evaluation.classification.classifiers import logistic
from ...evaluation.shortcuts import (
    Subclasses,
    class_moment,
    collapse_index,
    second_moment,
    spectral_descent,
)
from ...evaluation.shortcuts.simplicity import probed, probed_within
from ...evaluation.shortcuts.subclasses import Pull, Sample
from ...losses import NTXentLoss
from ...networks import initialise
from ...networks.heads import mlp
from ..benches.data.emoji import SIDE, emoji_inputs, view
from ..benches.descent import minimise
from ..lab import Arrays, Lab, Result, Score, above, below, beside, combined, decides

CLAIM = (
    "Supervised contrast from a small start loses the subclasses of classes, which a joint loss keeps; "
    "unsupervised contrast loses a class beside larger irrelevant features where it has few dimensions, and "
    "the groups of the emoji beside random bits that both views share."
)
REFUTED = (
    "a noisy probe finds the subclasses of the supervised encoder at 0.7 or above or those of the joint one "
    "at 0.9 or below, one dimension suffices for the class, or random bits do no harm"
)


NOISE = 0.1
"""Noise of probes, relative to the root mean square of features."""
AUGMENTATION = 0.25
SIZE = 2000
"""Size of the data that encoders are trained on, and of the data that probes learn from and are asked about."""
WIDTH, RATE, STEPS, START = 20, 0.02, 2000, 1e-3
RECORDED = (0, 20, 50, 100, 200, 500, 1000)
SUPERVISED: Mapping[str, float] = {"supervised": 1.0, "joint": 0.7, "joint, less": 0.9, "unsupervised": 0.0}
"""The weight of the supervised loss, the rest of the unsupervised one's."""
ARMS: Mapping[str, Mapping[str, Any]] = {
    **{arm: {"arm": arm, "start": START} for arm in SUPERVISED},
    "supervised, large start": {"arm": "supervised", "start": 0.3},
}
WIDTHS = (1, 2, 20)
SUPPRESSED = Subclasses(class_strength=0.5, subclass_strength=0.0, irrelevant=(1.5,))

BITS, EMBEDDINGS = (0, 4, 8), (16, 128)
EMOJI_STEPS, BATCH, LR, TAU = 300, 64, 1e-3, 0.1


def pulls(data: Sample, supervised: float) -> list[Pull]:
    """Return the spectral losses of a linear encoder on some data, those of weight 0 left out.

    A positive of the supervised loss is any example of the class; of the unsupervised one it is the example itself, of
    which the augmentation is noise among negatives.
    """
    moment = second_moment(data.x)
    d = len(moment)
    both = [
        Pull(supervised, class_moment(data.x, data.classes), moment),
        Pull(1 - supervised, moment, moment + AUGMENTATION / d * np.eye(d)),
    ]
    return [pull for pull in both if pull.weight > 0]


def descend(
    world: Subclasses,
    supervised: float,
    width: int,
    start: float,
    seed: int,
    steps: int,
    size: int,
    record: Sequence[int] = (),
) -> dict[int, Float[np.ndarray, "p d"]]:
    """Train a linear encoder from weights of this size."""
    rng = np.random.default_rng([seed, 1])
    data = world.sample(size, rng)
    w = rng.standard_normal((width, world.dimension)) * (start / np.sqrt(world.dimension))
    return spectral_descent(pulls(data, supervised), w, rate=RATE, steps=steps, record=record)


def found_in(w: Float[np.ndarray, "p d"], world: Subclasses, seed: int, size: int) -> tuple[float, float]:
    """Measure what noisy probes find of the class, and of the subclass given the class, on data of the probes' own."""
    rng = np.random.default_rng([seed, 2])
    train, test = (world.sample(size, rng) for _ in range(2))
    features = [data.x @ w.T for data in (train, test)]
    scale = NOISE * np.sqrt(np.mean(features[0] ** 2))
    z, queries = (f + scale * rng.standard_normal(f.shape) for f in features)
    of_class = probed(z, train.classes, queries, test.classes, 2)
    subclass, _ = probed_within((z, train.classes, train.subclasses), (queries, test.classes))
    return float(of_class.mean()), float((subclass == test.subclasses).mean())


def collapse(arm: str, start: float, seed: int, steps: int, size: int) -> Arrays:
    """Track classes, subclasses given the class, and ‖W e₂‖ / ‖W e₁‖ along the way (part 1)."""
    world = Subclasses()
    along = descend(world, SUPERVISED[arm], WIDTH, start, seed, steps, size, RECORDED)
    rows = []
    for step, w in sorted(along.items()):
        lengths = np.linalg.norm(w[:, :2], axis=0)
        rows.append([step, *found_in(w, world, seed, size), lengths[1] / lengths[0]])
    return {"along": np.array(rows)}


def suppression(width: int, seed: int, steps: int, size: int) -> Arrays:
    """Measure what an unsupervised encoder of some width finds of a class whose feature is smaller (part 2)."""
    w = descend(SUPPRESSED, 0.0, width, 1e-2, seed, steps, size)[steps]
    return {"class": np.array(found_in(w, SUPPRESSED, seed, size)[0])}


def with_bits(
    pixels: Float[Tensor, "n p"], bits: int, rng: np.random.Generator
) -> tuple[Float[Tensor, "n q"], Float[Tensor, "n q"]]:
    """Draw two views of pictures, beside ``bits`` planes of a random sign each, which both views share."""
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (len(pixels), bits))).float()
    planes = signs.repeat_interleave(SIDE * SIDE, dim=1)
    one, two = (torch.cat([view(pixels, rng), planes], 1) for _ in range(2))
    return one, two


def random_bits(bits: int, width: int, seed: int, steps: int, train_size: int | None) -> Arrays:
    """Train SimCLR on emoji and bits, then probe the emoji's groups and the first bit (part 3).

    Probes learn from all training rows, or from ``train_size`` of them that lie evenly among all, and so in all groups.
    """
    data, pixels, _ = emoji_inputs()
    network = mlp(SIDE * SIDE * (3 + bits), 256, width, layers=2, norm=False)
    initialise(network, seed)
    objective = NTXentLoss(TAU)

    def loss(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(data.splits.train, BATCH, replace=False)
        return objective(*(F.normalize(network(v), dim=-1) for v in with_bits(pixels[rows], bits, rng)))

    minimise(loss, network.parameters(), steps=steps, lr=LR, seed=seed)
    rng = np.random.default_rng([seed, 3])
    train, test = data.splits.train, data.splits.test["concepts"]
    train = train[:: len(train) // (train_size or len(train))]
    groups = data.labels["group"]
    z, queries = (embedded(network, pixels[rows], bits, rng) for rows in (train, test))
    predicted = logistic(z, groups.values[train], queries, len(groups.names))
    return {"correct": (predicted == groups.values[test]).astype(float)}


@torch.no_grad()
def embedded(
    network: nn.Module, pixels: Float[Tensor, "n p"], bits: int, rng: np.random.Generator
) -> Float[np.ndarray, "n d"]:
    """Embed pictures as they are, beside bits drawn for them."""
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (len(pixels), bits))).float()
    seen = torch.cat([pixels, signs.repeat_interleave(SIDE * SIDE, dim=1)], 1)
    return F.normalize(network(seen), dim=-1).double().numpy()


def run(lab: Lab) -> Iterator[Result]:
    yield from subclasses(lab)
    yield from classes(lab)
    yield from groups(lab)


def subclass(along: Float[np.ndarray, "steps 4"]) -> float:
    """Return the last accuracy on subclasses."""
    return float(along[-1, 2])


def lost(accuracies: Sequence[float]) -> float:
    """Return the class collapse index of an encoder beside a reference; NaN where the reference is at chance."""
    one, other = accuracies
    return collapse_index(one, other, 0.5) if other > 0.5 else np.nan


def subclasses(lab: Lab) -> Iterator[Result]:
    """Judge what encoders of a small start lose (part 1)."""
    runs = lab.grid(collapse, {"arm": ARMS}, steps=STEPS, size=SIZE)
    along = runs.scores(
        "along", "accuracy of a noisy probe of the subclass given the class", by_seed=subclass
    )
    index = combined(lost, "class collapse index", (along["supervised"], along["unsupervised"]))
    yield from decides(
        below(along["supervised"], 0.7, name="1: subclasses, supervised"),
        above(along["joint"], 0.9, name="1: subclasses, joint"),
    )
    yield from beside(
        above(along["unsupervised"], 0.9, name="1: subclasses, unsupervised"),
        above(
            index,
            0.9,
            name="1: class collapse index of the supervised encoder, the unsupervised one as reference",
            metric="1 is all lost, 0 nothing",
        ),
        above(
            along["supervised, large start"] - along["supervised"],
            name="1: subclasses, supervised from a large start − from a small one",
        ),
    )
    for arm in ARMS:
        mean = along.values(arm).mean(0)
        course = ", ".join(f"{accuracy:.2f} at {step:.0f}" for step, _, accuracy, _ in mean)
        lab.note(
            f"1, {arm}: subclass {course} steps; class {mean[-1, 1]:.2f}, ‖W e₂‖ / ‖W e₁‖ {mean[-1, 3]:.3f} at the end."
        )
    lab.note(
        f"1: probes see noise of {NOISE:.0%} of the root mean square of features; without it a linear probe finds",
        "components a thousand times smaller. Before the first step W is a random projection, in which all is",
        "found, so that the rise which the paper reports for deep networks is not tested, only the fall.",
    )


def classes(lab: Lab) -> Iterator[Result]:
    """Judge how many dimensions it takes to find a class beside a larger irrelevant feature (part 2)."""
    metric = "accuracy of a noisy probe of the class, whose feature is a third of the irrelevant one"
    accuracy = lab.grid(suppression, {"width": WIDTHS}, steps=STEPS, size=SIZE).scores("class", metric)
    yield from decides(
        below(accuracy[1], 0.6, name="2: class with one dimension"),
        above(accuracy[20], 0.9, name="2: class with 20 dimensions"),
    )
    yield from beside(above(accuracy[2], 0.9, name="2: class with 2 dimensions"))
    means = ", ".join(f"{accuracy.values(p).mean():.2f} at width {p}" for p in WIDTHS)
    lab.note(f"2: class {means}.")


def groups(lab: Lab) -> Iterator[Result]:
    """Judge what random bits that both views share do to the groups of the emoji (part 3)."""
    runs = lab.grid(random_bits, {"bits": BITS, "width": EMBEDDINGS}, steps=EMOJI_STEPS, train_size=None)
    accuracy = runs.scores("correct", "logistic probe of the group, held-out concepts of the emoji")
    most = BITS[-1]

    def fall(width: int) -> Score:
        return accuracy[0, width] - accuracy[most, width]

    def named(width: int) -> str:
        return f"3: no bits − {most} bits, {width} dimensions"

    small, large = EMBEDDINGS
    yield from decides(above(fall(small), name=named(small)))
    yield from beside(
        above(fall(large), name=named(large)),
        above(fall(small) - fall(large), name=f"3: fall with {small} dimensions − with {large}"),
    )
    means = "; ".join(
        f"{d} dimensions {', '.join(f'{accuracy.values((b, d)).mean():.3f}' for b in BITS)}"
        for d in EMBEDDINGS
    )
    lab.note(
        f"3: SimCLR on {SIDE} × {SIDE} pixels of the emoji beside planes of random bits, {EMOJI_STEPS} steps of",
        f"{BATCH}; with {', '.join(map(str, BITS))} bits: {means}. The bits of a picture are drawn anew each time.",
    )
