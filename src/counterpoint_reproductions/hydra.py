"""Hydra: do gates make any two classes positives that teach something, and open wider where classes are alike?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from counterpoint.evaluation.statistic import spearman
from counterpoint.methods.hydra import Hydra
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import UNSEEN, Lab, Result, TrainingComparison, above, decides, effects, per_seed, secondary

CLAIM = (
    "Arbitrary pairs of classes as positives, in the dimensions that a gate leaves open, give features from which "
    "subgroups of emoji are told better than with all dimensions open, and which spread in more directions than those "
    "of supervised contrast."
)
REFUTED = (
    "features without gates are as good, or the effective rank is no higher than that of supervised contrast"
)
SHARE = effects.convention("share")
RANK = effects.convention("count", reason="the effective rank is a number of dimensions")

COMPARISON = TrainingComparison(
    {
        "SupCon": "supcon,on=images",
        "all open": "hydra,gated=false",
        "own class": "hydra,targets=identical",
        "gated": "hydra",
    },
    {"probe": ("logistic_subgroup_top1",)},
    data="emoji",
    labels="subgroup",
    recipe="cpu",
    changes={"batch_size": 128, "steps": 400, "validate_every": 400},
    seeds=UNSEEN,
)


def relation(folder: Path) -> float:
    """Return the rank correlation over pairs of subgroups of open dimensions and being of one group."""
    model, data = load(folder).eval(), open_data(Run.read(folder))
    assert isinstance(model, Hydra)
    assert model.gate is not None
    subgroups, first = np.unique(data.label("subgroup", "classes").values, return_index=True)
    groups = data.label("group", "classes").values[first]
    a, b = np.triu_indices(len(subgroups), 1)
    with torch.no_grad():
        gates = model.gate(*(torch.from_numpy(subgroups[one]) for one in (a, b)))
    return spearman(np.stack([groups[a] == groups[b], gates.sum(1).double().numpy()], 1))


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    accuracy = study.scores("probe logistic_subgroup_top1")
    rank = study.diagnostics("effective_rank_image")
    relations = [relation(study.folder("gated", seed)) for seed in lab.seeds(COMPARISON.seeds)]
    yield from decides(
        above(accuracy["gated"] - accuracy["all open"], **SHARE),
        above(rank["gated"] / rank["SupCon"], 1.0, name="effective rank, gated / SupCon", **RANK),
    )
    yield from secondary(
        above(rank["gated"] - rank["all open"], name="effective rank, gated − all open"),
        above(accuracy["gated"] - accuracy["SupCon"], -0.03),
        above(accuracy["gated"] - accuracy["own class"], -0.03),
        above(
            per_seed("gated", "rank correlation of open dimensions and one group, over subgroups", relations),
            0.1,
        ),
    )
    lab.note(f"Accuracy: {accuracy.means()}; effective rank of features: {rank.means(1)}.")
