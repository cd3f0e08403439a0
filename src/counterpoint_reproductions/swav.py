"""SwAV: balanced codes keep the prototypes in use, and small crops are worth their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

import torch
from torch.special import entr

from counterpoint.data import load
from counterpoint.methods.swav import SwAV
from counterpoint.training.start import load as load_run

from .lab import (
    Lab,
    Result,
    Score,
    TrainedStudy,
    TrainingComparison,
    above,
    below,
    decides,
    effects,
    per_seed,
    secondary,
)

CLAIM = (
    "Without balancing, SwAV's codes fall onto few prototypes and its features are worse; at equal pixels two large "
    "and four small crops give better features than two large ones."
)
REFUTED = (
    "without balancing the average code keeps nine tenths of its entropy and the features are as good, or two large "
    "crops alone are as good"
)
SHARE = effects.convention("share")
LEVEL = effects.level("unbalanced codes that stay above 0.9 of ln K refute it; chosen here", "convention")
CROPS = effects.reported(
    70.1, 74.6, "ImageNet linear top-1, two crops against multi-crop, at equal epochs of 400", unit=0.01
)

BATCH, PROTOTYPES, STEPS, EXAMPLES = 128, 64, 300, 1024
TWO, MULTI, UNBALANCED = "two crops", "multi-crop", "unbalanced"
_SWAV = f"swav,prototypes={PROTOTYPES},frozen_steps={STEPS // 10}"
COMPARISON = TrainingComparison(
    {
        TWO: f"{_SWAV},crops=0",
        MULTI: f"{_SWAV},crops=4",
        UNBALANCED: f"{_SWAV},crops=0,iterations=0",
    },
    {"probe": ("logistic_*_top1", "knn_*_top1")},
    data="emoji",
    recipe="cpu",
    changes={"batch_size": BATCH, "steps": STEPS, "validate_every": STEPS},
    steps={MULTI: 2 * STEPS // 3},
    budget="passes",
)
"""Four crops of half the side are a large one, so that three are passed where two were: two thirds of the steps."""


@torch.no_grad()
def entropy(study: TrainedStudy, arm: str, seed: int) -> float:
    """Return the entropy of the average code of training pictures, in shares of ln K."""
    method, data = load_run(study.folder(arm, seed)), load(COMPARISON.data)
    assert isinstance(method, SwAV)
    pictures = method.image_tower.input(data.images(data.splits.train[:EXAMPLES]))
    codes = method.objective.codes(method.prototypes(method.projection(method.features("image", pictures))))
    return float(entr(codes.mean(0)).sum()) / log(codes.shape[1])


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    linear, nearest = (
        study.scores(f"probe {classifier}_subgroup_top1", "concepts") for classifier in ("logistic", "knn")
    )

    def spread(arm: str) -> Score:
        of_seeds = [entropy(study, arm, seed) for seed in lab.seeds(COMPARISON.seeds)]
        return per_seed(arm, "entropy of the average code, of ln K", of_seeds)

    balanced, unbalanced = spread(TWO), spread(UNBALANCED)
    yield from decides(
        below(unbalanced, 0.9, name="1: entropy of the average code, unbalanced", **LEVEL),
        above(linear[TWO] - linear[UNBALANCED], name="1: probe, balanced − unbalanced", **SHARE),
        above(linear[MULTI] - linear[TWO], name="2: probe at equal pixels, multi-crop − two crops", **CROPS),
    )
    yield from secondary(
        above(balanced - unbalanced, name="1: entropy of the average code, balanced − unbalanced"),
        above(nearest[TWO] - nearest[UNBALANCED], name="1: k-NN, balanced − unbalanced"),
        above(nearest[MULTI] - nearest[TWO], name="2: k-NN at equal pixels, multi-crop − two crops"),
    )
    lab.note(
        f"The registered method on emoji of 48 px under the recipe cpu: batch {BATCH}, K = {PROTOTYPES}, {STEPS} steps",
        f"of two large crops, or {COMPARISON.steps[MULTI]} of two large and four small ones. Unbalanced codes are",
        f"softmax(s/ε). Codes are those of {EXAMPLES:,} training pictures. A probe of the subgroup of emoji of",
        f"concepts that training has nothing of decides: {linear.means()}; k-NN: {nearest.means()}.",
    )
