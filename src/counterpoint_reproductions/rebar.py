"""REBAR: does the error of a reconstruction tell classes, and are the positives that it chooses worth it?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from counterpoint.data.source import load_any
from counterpoint.evaluation import STATISTICS
from counterpoint.methods.rebar import REBAR
from counterpoint.study.presets import StudyPreset

from .lab import Arrays, Lab, Result, above, decides, effects, secondary
from .lab.data_sensors import basic_motions, few_labels, few_of, label_of, prepared, trained_on

CLAIM = (
    "Of stretches of all classes, one each, the one from which REBAR reconstructs a stretch with the least error is of "
    "its class more often than the one of the least Euclidean distance; and positives that it chooses among the times "
    "of a recording give better embeddings than positives that are drawn."
)
REFUTED = "Euclidean distance finds the class as often, or drawn positives are as good"
SHARE = effects.convention("share")
PRESET = StudyPreset(
    "rebar",
    "series: positives that are drawn, and those from which a stretch is best reconstructed",
    {"arms": ("rebar,nearest=false", "rebar")},
    "rebar,nearest=false",
    {"probe": ("logistic_*_top1",)},
)

ARMS = {
    "chosen": "rebar,candidates=4,alpha=0.5",
    "drawn": "rebar,candidates=4,alpha=0.5,nearest=false",
    "augmented": "ntxent,on=wrist",
}
METRIC = "macro-F1 of activities"
BASIC_MOTIONS = "BasicMotions"
"""Data of the nearest stretches: a setting of the claim, whatever packages are installed."""
FIRST_STAGE, BOTH_STAGES = 150, 160
"""Steps of a method that only learns to reconstruct, and of one that goes on to learn embeddings."""


def nearest(measure: str, seed: int, steps: int, data: str) -> Arrays:
    """Say of each test stretch whether the nearest of one training stretch of each class is of its own class."""
    source = basic_motions() if data == BASIC_MOTIONS else data
    data_set = load_any(source)
    # Of so long a first stage that the second has no step. Euclidean distance is of inputs, which no step changes.
    arm = "rebar,candidates_from=batch,first=0.9999"
    method = trained_on(arm, source, seed, steps if measure == "REBAR" else 1)
    assert isinstance(method, REBAR)
    values = data_set.labels[label_of(data_set)].values
    test = next(iter(data_set.splits.test.values()))
    anchors = prepared(method, data_set, test)
    choices = np.stack([few_of(values, data_set.splits.train, 1, seed, row) for row in range(len(test))])
    others = prepared(method, data_set, choices.reshape(-1))
    others = others.view(*choices.shape, *others.shape[1:])
    if measure == "REBAR":
        torch.manual_seed(seed)
        far = method.errors(anchors, others, torch.randperm(anchors.shape[1])[: anchors.shape[1] // 2])
    else:
        far = (anchors[:, None] - others).square().nanmean((2, 3))
    neighbours = choices[np.arange(len(test)), far.argmin(1).numpy()]
    return {"right": (values[neighbours] == values[test]).astype(float)}


def run(lab: Lab) -> Iterator[Result]:
    scores = lab.grid(
        nearest, {"measure": ("REBAR", "Euclidean")}, steps=FIRST_STAGE, data=BASIC_MOTIONS
    ).scores("right", "nearest of one of each class is of the same class")
    embedded = lab.grid(
        few_labels,
        {"positive": {name: {"arm": arm} for name, arm in ARMS.items()}},
        preset="long",
        options="columns=wrist,steps=360,changes=2-4",
        steps=BOTH_STAGES,
        trained=300,
        tested=500,
        per_class=10,
    ).scores("activities", METRIC, STATISTICS["macro_f1"])
    yield from decides(
        above(scores["REBAR"] - scores["Euclidean"], name="REBAR − Euclidean distance", **SHARE),
        above(embedded["chosen"] - embedded["drawn"], name="chosen − drawn positives", **SHARE),
    )
    yield from secondary(above(embedded["chosen"] - embedded["augmented"], name="chosen − augmentation"))
    lab.note(
        f"Nearest stretches: {BASIC_MOTIONS}, as sktime and aeon ship it; {FIRST_STAGE} steps of the first stage:",
        f"{scores.means()}. Embeddings: made",
        f"recordings of 18 seconds by one device, with two to four transitions; {BOTH_STAGES} steps, three tenths of",
        "them of the first stage; ten labelled recordings of each activity for a logistic regression:",
        f"{embedded.means()}.",
    )
