"""SupCon: positives of a class are averaged outside the logarithm, and the features bear corruption."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from counterpoint.data.corruptions import CORRUPTIONS, STRENGTHS
from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.data.source import load as load_data
from counterpoint.evaluation.classifiers import CLASSIFIERS
from counterpoint.evaluation.shots import rows_of_classes, training_rows
from counterpoint.losses import NTXentLoss, SupConLoss
from counterpoint.methods.classifying import Classifying
from counterpoint.study.presets import StudyPreset
from counterpoint.training.start import load

from .lab import (
    Arrays,
    Lab,
    Result,
    Score,
    TrainingComparison,
    above,
    arm,
    below,
    decides,
    effects,
    exact,
    secondary,
)
from .lab.gradients import disagreement

CLAIM = (
    "Averaging over positives outside the logarithm gives better features than inside where anchors have many "
    "positives; accuracy drops less under corruption than after cross-entropy; without labels the loss is "
    "NT-Xent."
)
REFUTED = (
    "the mean inside is at least as good, the drop is equal or larger than after cross-entropy, or the loss "
    "without labels is another"
)
OUTSIDE = effects.reported(67.4, 78.7, "ImageNet top-1, ResNet-50, L_in against L_out", unit=0.01)
SHARE = effects.convention("share")

PRESET = StudyPreset(
    "supcon",
    "positives of a class averaged inside the logarithm, and outside",
    {"arms": ("supcon,on=images,inside=true", "supcon,on=images")},
    "supcon,on=images,inside=true",
    {"probe": ("logistic_*_top1",)},
)

LABEL, TEST = "subgroup", "concepts"
BATCH, EACH, STEPS, TAU = 64, 8, 300, 0.1
"""Pictures of a batch, and of each of its subgroups."""
READ = 1000
"""Training pictures that a probe reads, as the task does."""
PROBE = f"probe,labels={LABEL}"
SUPCON = f"supcon,on=images,temperature={TAU},sampler=classes:{EACH}"
COMPARISON = TrainingComparison(
    {
        "cross-entropy": f"cross-entropy,sampler=classes:{EACH}",
        "inside": f"{SUPCON},inside=true",
        "outside": SUPCON,
    },
    {PROBE: (f"logistic_{LABEL}_top1",)},
    data="emoji:both",
    labels=LABEL,
    changes={
        "batch_size": BATCH,
        "steps": STEPS,
        "validate_every": STEPS,
        "augmentation.contrasted": "simclr",
        "augmentation.paired": "simclr",
    },
)


@cache
def shown() -> list[Tensor]:
    """Return the held-out pictures, as they are and under every corruption."""
    data = load_data(COMPARISON.data)
    rows = data.splits.test[TEST]
    pictures, ids = data.read("image", rows), torch.from_numpy(data.ids[rows])
    return [
        pictures,
        *(corrupt(pictures, ids, strength) for corrupt in CORRUPTIONS.values() for strength in STRENGTHS),
    ]


@cache
def named(folder: Path) -> Arrays:
    """Test whether held-out pictures are given their subgroup: by a run's own classes, or by a probe of its features.

    Returns:
        ``clean`` (0 or 1 per picture) and ``corrupted`` (the share of corruptions under which the answer is right).
    """
    model, data = load(folder), load_data(COMPARISON.data)
    label = data.label(LABEL, "classes")
    if isinstance(model, Classifying):
        answers = torch.cat([model.classify({"image": pictures}).argmax(1) for pictures in shown()]).numpy()
    else:
        of_class = rows_of_classes(data.splits.train, label.values, len(label.names))
        train = training_rows(data, "image", LABEL, of_class, READ, "probe")
        features = EmbeddingCache(model, data)
        z = torch.cat([features.pictures(pictures) for pictures in shown()])
        learned = features.images(train), label.values[train]
        answers = CLASSIFIERS["logistic"](learned[0].numpy(), learned[1], z.numpy(), len(label.names))
    right = answers.reshape(len(shown()), -1) == label.values[data.splits.test[TEST]]
    return {"clean": right[0].astype(float), "corrupted": right[1:].mean(0)}


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    accuracy = study.scores(f"{PROBE} logistic_{LABEL}_top1", TEST)
    answers = {
        name: {seed: named(study.folder(name, seed)) for seed in lab.seeds(COMPARISON.seeds)}
        for name in study.arms
    }
    metric = f"accuracy on the {LABEL}, held-out emoji of two artists"
    worse = f"clean − mean over {len(CORRUPTIONS)} corruptions × {len(STRENGTHS)} strengths"

    def clean(name: str) -> Score:
        return arm(name, {seed: own["clean"] for seed, own in answers[name].items()}, metric)

    def drop(name: str) -> Score:
        lost = {seed: own["clean"] - own["corrupted"] for seed, own in answers[name].items()}
        return arm(name, lost, f"{metric}, {worse}")

    yield from decides(
        above(
            accuracy["outside"] - accuracy["inside"], name="1: mean outside the logarithm − inside", **OUTSIDE
        ),
        below(
            drop("outside") - drop("cross-entropy"),
            name="2: drop under corruption, SupCon − cross-entropy",
            **SHARE,
        ),
        below(
            exact(
                disagreement(SupConLoss(TAU), NTXentLoss(TAU)), "largest relative error of loss and gradient"
            ),
            1e-7,
            name="3: SupCon without labels against NT-Xent, float64",
        ),
    )
    yield from secondary(
        above(clean("outside") - clean("cross-entropy"), name="2: SupCon − cross-entropy, clean pictures"),
    )
    shares = ", ".join(f"{name} {clean(name).measure().estimate:.3f}" for name in study.arms)
    lab.note(
        f"1 and 2: a study of the registered methods by the recipe of seconds, the emoji of both artists, {STEPS}",
        f"steps of {BATCH // EACH} subgroups × {EACH} pictures × 2 views under SimCLR's changes, so that an anchor has",
        f"{2 * EACH - 1} positives; τ = {TAU:g}. Cross-entropy sees one view a picture, under the same changes.",
        "SupCon's features are read by a logistic regression as the task probe has it; in 2 cross-entropy keeps its",
        f"own classes. Right of clean pictures: {shares}. Corruptions are those of the task shift: blur, noise,",
        "contrast and JPEG. The first evidence had networks and training of its own, a learning rate chosen for each",
        "loss, emoji that are no people, and noise, blur and a grey square.",
    )
