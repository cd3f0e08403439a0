"""Simplicity bias: gradient descent on a contrastive loss drops what the loss does not need, and keeps what is easy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...catalog.evidence import Result
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
from ..benches.descent import minimise
from ..benches.emoji import SIDE, emoji_inputs, view
from ..lab import Arrays, Lab, measure

CLAIM = (
    "Supervised contrast from a small start loses the subclasses of classes, which a joint loss keeps; "
    "unsupervised contrast loses a class beside larger irrelevant features where it has few dimensions, and "
    "the groups of the emoji beside random bits that both views share."
)
REFUTED = (
    "a noisy probe finds the subclasses of the supervised encoder at 0.7 or above or those of the joint one "
    "at 0.9 or below, one dimension suffices for the class, or random bits do no harm"
)


SEEDS = 5
NOISE = 0.1
"""Noise of probes, relative to the root mean square of features."""
AUGMENTATION = 0.25
SIZE = 2000
"""Size of the data that encoders are trained on, and of the data that probes learn from and are asked about."""
WIDTH, RATE, STEPS, START = 20, 0.02, 2000, 1e-3
RECORDED = (0, 20, 50, 100, 200, 500, 1000)
SUPERVISED: Mapping[str, float] = {"supervised": 1.0, "joint": 0.7, "joint, less": 0.9, "unsupervised": 0.0}
"""The weight of the supervised loss, the rest of the unsupervised one's."""
WIDTHS = (1, 2, 20)
SUPPRESSED = Subclasses(class_strength=0.5, subclass_strength=0.0, irrelevant=(1.5,))
LARGE_START = 0.3

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
    z, asked = (f + scale * rng.standard_normal(f.shape) for f in features)
    of_class = probed(z, train.classes, asked, test.classes, 2)
    subclass, _ = probed_within((z, train.classes, train.subclasses), (asked, test.classes))
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


def random_bits(bits: int, width: int, seed: int, steps: int, quick: bool) -> Arrays:
    """Train SimCLR on emoji and bits, then probe the emoji's groups and the first bit (part 3)."""
    data, pixels, _ = emoji_inputs()
    network = mlp(SIDE * SIDE * (3 + bits), 256, width, layers=2, norm=False)
    initialise(network, seed)
    objective = NTXentLoss(TAU)

    def loss(rng: np.random.Generator) -> Tensor:
        rows = rng.choice(data.splits.train, BATCH, replace=False)
        return objective(*(F.normalize(network(v), dim=-1) for v in with_bits(pixels[rows], bits, rng)))

    minimise(loss, network.parameters(), steps=steps, lr=LR, seed=seed)
    rng = np.random.default_rng([seed, 3])
    train, test = data.splits.train[:: 20 if quick else 1], data.splits.test["concepts"]
    groups = data.labels["group"]
    z, asked = (embedded(network, pixels[rows], bits, rng) for rows in (train, test))
    predicted = logistic(z, groups.values[train], asked, len(groups.names))
    return {"correct": (predicted == groups.values[test]).astype(float)}


@torch.no_grad()
def embedded(
    network: nn.Module, pixels: Float[Tensor, "n p"], bits: int, rng: np.random.Generator
) -> Float[np.ndarray, "n d"]:
    """Embed pictures as they are, beside bits drawn for them."""
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (len(pixels), bits))).float()
    seen = torch.cat([pixels, signs.repeat_interleave(SIDE * SIDE, dim=1)], 1)
    return F.normalize(network(seen), dim=-1).double().numpy()


def run(lab: Lab) -> Sequence[Result]:
    return [*_collapse(lab), *_suppression(lab), *_bits(lab)]


def _collapse(lab: Lab) -> list[Result]:
    seeds, steps, size = lab.seeds(SEEDS), *((100, 100) if lab.quick else (STEPS, SIZE))
    arms = {arm: (arm, START) for arm in SUPERVISED} | {
        "supervised, large start": ("supervised", LARGE_START)
    }
    cells = lab.cells(
        collapse,
        {
            f"{list(arms).index(name)}-seed{s}": {
                "arm": arm,
                "start": start,
                "seed": s,
                "steps": steps,
                "size": size,
            }
            for name, (arm, start) in arms.items()
            for s in seeds
        },
    )
    along = {name: np.stack([cells[f"{n}-seed{s}"]["along"] for s in seeds]) for n, name in enumerate(arms)}
    last = {name: values[:, -1] for name, values in along.items()}
    for name, values in along.items():
        of_steps = ", ".join(f"{sub:.2f} at {step:.0f}" for step, _, sub, _ in values.mean(0))
        lab.note(
            f"1, {name}: subclass {of_steps} steps; class {last[name][:, 1].mean():.2f}, ‖W e₂‖ / ‖W e₁‖ "
            f"{last[name][:, 3].mean():.3f} at the end."
        )
    lab.note(
        f"1: probes see noise of {NOISE:.0%} of the root mean square of features; without it a linear probe finds",
        "components a thousand times smaller. Before the first step W is a random projection, in which all is",
        "found, so that the rise which the paper reports for deep networks is not tested, only the fall.",
    )
    metric = "accuracy of a noisy probe of the subclass given the class"
    both = zip(last["supervised"][:, 2], last["unsupervised"][:, 2], strict=True)
    index = [collapse_index(one, other, 0.5) if other > 0.5 else np.nan for one, other in both]
    return [
        measure.over_seeds(
            "1: subclasses, supervised", metric, last["supervised"][:, 2], expected="below", bound=0.7
        ),
        measure.over_seeds("1: subclasses, joint", metric, last["joint"][:, 2], expected="above", bound=0.9),
        measure.over_seeds(
            "1: subclasses, unsupervised",
            metric,
            last["unsupervised"][:, 2],
            expected="above",
            bound=0.9,
            decides=False,
        ),
        measure.over_seeds(
            "1: class collapse index of the supervised encoder, the unsupervised one as reference",
            "1 is all lost, 0 nothing",
            index,
            expected="above",
            bound=0.9,
            decides=False,
        ),
        measure.over_seeds(
            "1: subclasses, supervised from a large start − from a small one",
            metric,
            last["supervised, large start"][:, 2] - last["supervised"][:, 2],
            expected="above",
            decides=False,
        ),
    ]


def _suppression(lab: Lab) -> list[Result]:
    seeds, steps, size = lab.seeds(SEEDS), *((200, 100) if lab.quick else (STEPS, SIZE))
    cells = lab.cells(
        suppression,
        {
            f"p{p}-seed{s}": {"width": p, "seed": s, "steps": steps, "size": size}
            for p in WIDTHS
            for s in seeds
        },
    )
    found = {p: np.array([float(cells[f"p{p}-seed{s}"]["class"]) for s in seeds]) for p in WIDTHS}
    metric = "accuracy of a noisy probe of the class, whose feature is a third of the irrelevant one"
    lab.note(f"2: class {', '.join(f'{v.mean():.2f} at width {p}' for p, v in found.items())}.")
    return [
        measure.over_seeds(
            "2: class with one dimension", metric, found[WIDTHS[0]], expected="below", bound=0.6
        ),
        *(
            measure.over_seeds(
                f"2: class with {p} dimensions",
                metric,
                found[p],
                expected="above",
                bound=0.9,
                decides=p == WIDTHS[-1],
            )
            for p in WIDTHS[1:]
        ),
    ]


def _bits(lab: Lab) -> list[Result]:
    seeds, steps = lab.seeds(SEEDS), 3 if lab.quick else EMOJI_STEPS
    cells = lab.cells(
        random_bits,
        {
            f"b{b}-d{d}-seed{s}": {"bits": b, "width": d, "seed": s, "steps": steps, "quick": lab.quick}
            for b in BITS
            for d in EMBEDDINGS
            for s in seeds
        },
    )

    def hits(bits: int, width: int) -> dict[int, np.ndarray]:
        return {s: cells[f"b{bits}-d{width}-seed{s}"]["correct"] for s in seeds}

    each = "; ".join(
        f"{d} dimensions {', '.join(f'{np.mean([v.mean() for v in hits(b, d).values()]):.3f}' for b in BITS)}"
        for d in EMBEDDINGS
    )
    lab.note(
        f"3: SimCLR on {SIDE} × {SIDE} pixels of the emoji beside planes of random bits, {steps} steps of {BATCH};",
        f"with {', '.join(map(str, BITS))} bits: {each}. The bits of a picture are drawn anew each time.",
    )
    metric = "logistic probe of the group, held-out concepts of the emoji"
    falls = [
        measure.difference(
            f"3: no bits − {BITS[-1]} bits, {d} dimensions",
            metric,
            hits(BITS[0], d),
            hits(BITS[-1], d),
            expected="above",
            decides=d == EMBEDDINGS[0],
        )
        for d in EMBEDDINGS
    ]
    small, large = EMBEDDINGS
    arms = {f"{d} {b}": hits(b, d) for d in EMBEDDINGS for b in (BITS[0], BITS[-1])}
    return [
        *falls,
        measure.of_arms(
            f"3: fall with {small} dimensions − with {large}",
            metric,
            arms,
            lambda score: (
                (score[f"{small} {BITS[0]}"] - score[f"{small} {BITS[-1]}"])
                - (score[f"{large} {BITS[0]}"] - score[f"{large} {BITS[-1]}"])
            ),
            expected="above",
            decides=False,
        ),
    ]
