"""SupCon: positives of a class are averaged outside the logarithm, and the features bear corruption."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...losses import NTXentLoss, SupConLoss
from ...networks import initialise
from ...networks.heads import mlp
from ...study.presets import Preset
from ..benches.data import emoji_views as pictures
from ..benches.data.emoji import SIDE
from ..benches.descent import minimise
from ..benches.exact import disagreement
from ..lab import Arrays, Lab, Result, Score, above, arm, below, beside, decides, exact

CLAIM = (
    "Averaging over positives outside the logarithm gives better features than inside where anchors have many "
    "positives; accuracy drops less under corruption than after cross-entropy; without labels the loss is "
    "NT-Xent."
)
REFUTED = (
    "the mean inside is at least as good, the drop is equal or larger than after cross-entropy, or the loss "
    "without labels is another"
)
PRESET = Preset(
    "supcon",
    "positives of a class averaged inside the logarithm, and outside",
    {"arms": ("supcon,on=images,inside=true", "supcon,on=images")},
    "supcon,on=images,inside=true",
    {"probe": ("logistic_*_top1",)},
)


CLASSES, PER_CLASS = 8, 8
"""Subgroups in a batch, and emoji of each subgroup, in two pictures."""
TAU = 0.1
STEPS = 600
CHANGES = ("crop", "colour jitter")
LEVELS = (1, 2, 3, 4, 5)


def trained(loss: str, lr: float, seed: int, steps: int) -> Arrays:
    """Train one encoder by subgroups, then a linear classifier unless it has one, and test both artists' pictures.

    Returns:
        ``correct`` (0 or 1 per test picture), ``corrupted`` (the share of corruptions under which it is right),
        and the accuracy on ``validation`` pictures.
    """
    data = pictures.emoji("subgroup", PER_CLASS)
    classes = int(data.classes.max()) + 1
    encoder = mlp(3 * SIDE * SIDE, 256, 128, layers=2, norm=False)
    head, classifier = mlp(128, 128, 64, layers=2, norm=False), nn.Linear(128, classes)
    objective = SupConLoss(TAU, inside=loss == "inside")
    for name, module in (("encoder", encoder), ("head", head), ("classifier", classifier)):
        initialise(module, seed, name)
    members = [data.train[data.classes[data.train] == k] for k in range(classes)]

    def step(rng: np.random.Generator) -> Tensor:
        drawn = rng.choice(classes, CLASSES, replace=False)
        chosen = np.concatenate([rng.choice(members[k], PER_CLASS, replace=False) for k in drawn])
        rows = torch.from_numpy(chosen)
        h = [encoder(pictures.changed(artist[rows], rng, CHANGES)) for artist in data.pictures]
        labels = torch.from_numpy(data.classes[chosen])
        if loss == "cross-entropy":
            return F.cross_entropy(classifier(torch.cat(h)), labels.repeat(2))
        return objective(*(F.normalize(head(part), dim=-1) for part in h), labels=labels)

    used = classifier if loss == "cross-entropy" else head
    minimise(step, [*encoder.parameters(), *used.parameters()], steps=steps, lr=lr, seed=seed)
    (train, train_classes), (spare, spare_classes), (test, test_classes) = map(
        data.of, (data.train, data.validation, data.test)
    )
    with torch.no_grad():
        read: pictures.Reader
        if loss == "cross-entropy":
            read = lambda h: classifier(h).argmax(1).numpy()  # noqa: E731 # one of two classifiers
        else:
            read = pictures.linear_probe(encoder(train), train_classes)
        worse = [read(encoder(x)) == test_classes for x in corrupted(test)]
        return {
            "correct": (read(encoder(test)) == test_classes).astype(float),
            "corrupted": np.mean(worse, axis=0),
            "validation": np.array((read(encoder(spare)) == spare_classes).mean()),
        }


def corrupted(x: Float[Tensor, "n p"]) -> list[Float[Tensor, "n p"]]:
    """Corrupt pictures by noise, blur, and a grey square in them, at five levels each; always the same."""
    rng = np.random.default_rng(0)
    square = x.reshape(-1, 3, SIDE, SIDE)
    noise = torch.from_numpy(rng.standard_normal(square.shape)).float()
    corner = torch.from_numpy(rng.random((2, len(x), 1)))
    found, smooth, place = [], square, torch.arange(SIDE)
    for level in LEVELS:
        smooth, side = pictures.blurred(smooth), 2 * level
        inside = [(place >= at) & (place < at + side) for at in (corner * (SIDE - side + 1)).long()]
        hidden = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        found += [square + 0.15 * level * noise, smooth, square.masked_fill(hidden, 0.0)]
    return [part.flatten(1) for part in found]


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.tuned(
        trained,
        {"loss": ("outside", "inside", "cross-entropy")},
        over={"lr": (3e-4, 1e-3, 3e-3)},
        tuning_seeds=(1000,),
        steps=STEPS,
    )
    metric = "accuracy on the subgroup, held-out emoji of two artists"
    accuracy = runs.scores("correct", metric)

    def drop(loss: str) -> Score:
        lost = {seed: run["correct"] - run["corrupted"] for seed, run in runs[loss].items()}
        return arm(loss, lost, f"{metric}, clean − mean over 3 corruptions × {len(LEVELS)} levels")

    yield from decides(
        above(accuracy["outside"] - accuracy["inside"], name="1: mean outside the logarithm − inside"),
        below(
            drop("outside") - drop("cross-entropy"),
            name="2: drop under corruption, SupCon − cross-entropy",
        ),
        below(
            exact(
                disagreement(SupConLoss(TAU), NTXentLoss(TAU)), "largest relative error of loss and gradient"
            ),
            1e-7,
            name="3: SupCon without labels against NT-Xent, float64",
        ),
    )
    yield from beside(
        above(
            accuracy["outside"] - accuracy["cross-entropy"],
            name="2: SupCon − cross-entropy, clean pictures",
        )
    )
    lab.note(
        "1 and 2: two-layer networks on 16 × 16 pixels of the emoji that are not people, in the subgroups that",
        f"have {PER_CLASS} of them to train on; batches of {CLASSES} subgroups × {PER_CLASS} emoji × 2 artists under",
        f"random crops and colours, so that an anchor has {2 * PER_CLASS - 1} positives; τ = {TAU:g}, a head of two",
        f"layers, {STEPS} steps of Adam. SupCon's encoder is then frozen and read by a linear classifier;",
        "cross-entropy keeps its own. Learning rates were chosen by held-out concepts for validation and a seed",
        f"that is not among the tested ones ({runs.choices}). Corruptions are noise, blur and a grey square.",
    )
