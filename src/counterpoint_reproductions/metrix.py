"""Metrix: do mixtures of positives and negatives help to find classes that training has not seen?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.diagnostics import utilization
from counterpoint.evaluation.tasks import LabelRetrieval
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import (
    Arrays,
    Lab,
    Result,
    TrainingComparison,
    above,
    arm,
    below,
    decides,
    effects,
    per_seed,
    secondary,
)

CLAIM = (
    "Mixtures of a positive with each negative, with labels relative to the anchor, find more emoji of concepts that "
    "training has not seen by the other artist's drawing, with the contrastive and with the multi-similarity loss."
)
REFUTED = "P@1 is no higher with mixtures, with either of the two losses"
SHARE = effects.convention("share")

STEPS = 400
LOSSES = {
    "contrastive": "contrastive,on=images",
    "multi-similarity": "multi-similarity,on=images",
    "circle": "circle,on=images",
    "proxy-anchor": "proxy-anchor",
}
MIXED = {loss: f"{loss}, mixed" for loss in LOSSES}
COMPARISON = TrainingComparison(
    {
        **{loss: f"{spec},sampler=classes:2" for loss, spec in LOSSES.items()},
        **{MIXED[loss]: f"{spec},mix=0.4,sampler=classes:2" for loss, spec in LOSSES.items()},
    },
    {"label_retrieval": ("i2i_subgroup_P@1",)},
    data="emoji:both",
    labels="name",
    recipe="cpu",
    changes={"batch_size": 128, "steps": STEPS, "validate_every": STEPS},
)
DECIDE = ("contrastive", "multi-similarity")


@cache
def neighbours(folder: Path) -> Arrays:
    """Return whether the nearest picture of held-out concepts is the same emoji, and how near training came to them."""
    model, data = load(folder), open_data(Run.read(folder))
    rows = np.sort(data.splits.test["concepts"])
    scores = LabelRetrieval(("name",))(model, data, rows)
    features = EmbeddingCache(model, data)
    near = utilization(features.column("image", rows), features.column("image", data.splits.train))
    return {"right": scores.examples["i2i_name_P@1"].to_numpy(), "distance": np.array(near)}


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    seeds = lab.seeds(COMPARISON.seeds)
    measured = {name: {seed: neighbours(study.folder(name, seed)) for seed in seeds} for name in study.arms}
    first = {
        name: arm(
            name, {s: of["right"] for s, of in by_seed.items()}, "P@1 of unseen emoji by the other artist"
        )
        for name, by_seed in measured.items()
    }
    explored = {
        name: per_seed(
            name,
            "squared distance to the nearest training picture",
            [float(of["distance"]) for of in runs.values()],
        )
        for name, runs in measured.items()
    }
    subgroup = study.scores("label_retrieval i2i_subgroup_P@1", "concepts")
    yield from decides(*(above(first[MIXED[loss]] - first[loss], **SHARE) for loss in DECIDE))
    yield from secondary(
        *(above(first[MIXED[loss]] - first[loss]) for loss in LOSSES if loss not in DECIDE),
        *(below(explored[MIXED[loss]] - explored[loss]) for loss in LOSSES),
        *(above(subgroup[MIXED[loss]] - subgroup[loss]) for loss in LOSSES),
    )
    lab.note(
        "The emoji of both artists at 48 px: two pictures of each of 2,324 training emoji, which are classes of their",
        f"own, and 575 emoji of held-out concepts to be found; {STEPS} steps of 64 classes, two views of each picture",
        "where the loss contrasts views, one under proxy-anchor; the built-in convolutional network from random",
        "weights. The paper has a pretrained ResNet-50, photographs of birds, cars and shops, and classes of many",
        "pictures. Utilization is of the training pictures without the mixtures of them.",
    )
