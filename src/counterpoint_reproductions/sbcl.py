"""SBCL: is it the clusters, and not their number, that help rare classes?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from sklearn.metrics import normalized_mutual_info_score

from counterpoint.methods.sbcl import SBCL
from counterpoint.study.opened import open_data
from counterpoint.study.presets import StudyPreset
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import UNSEEN, Lab, Result, TrainingComparison, above, decides, effects, per_seed, secondary

CLAIM = (
    "With classes thinned to 100 : 1, balanced subclasses by clusters make features from which groups of emoji are "
    "told better than under random subclasses of the same sizes, and they come to agree with the true subgroups."
)
REFUTED = "random subclasses do as well, or clusters agree no better with subgroups at the end than after the warm-up"
SHARE = effects.convention("share")
AGREEMENT = effects.convention("correlation")
"""NMI measures how two partitions go together, as a correlation does two numbers."""

EPOCH = 12
"""Steps of an epoch, about."""
EARLY = "first clusters"
COMPARISON = TrainingComparison(
    {
        "SupCon": "supcon,on=images",
        "fine alone": "sbcl,beta=0",
        "random": "sbcl,subclasses=random",
        # Clusters anew every ten epochs is the default: an arm under another name, which ends before the second time.
        EARLY: "sbcl,every=10",
        "clusters": "sbcl",
    },
    {"probe": ("logistic_group_mean_per_class",)},
    data="emoji",
    labels="group,imbalance=100",
    changes={"steps": 40 * EPOCH, "batch_size": 128, "towers.image_size": 32},
    steps={EARLY: 11 * EPOCH},
    seeds=UNSEEN,
)
PRESET = StudyPreset(
    "sbcl",
    "supervised contrast of classes, and of balanced subclasses: by clusters, at random, and without the classes",
    {"arms": tuple(arm for name, arm in COMPARISON.arms.items() if name != EARLY)},
    COMPARISON.arms["SupCon"],
    COMPARISON.tasks,
)


def agreement(folder: Path) -> float:
    """Return the mutual information of a run's last subclasses and the true subgroups, normalised."""
    model, run = load(folder), Run.read(folder)
    assert isinstance(model, SBCL)
    data = open_data(run)
    rows = data.splits.train
    (numbers, _) = model.items.recall(torch.from_numpy(data.ids_of(rows)))
    return float(normalized_mutual_info_score(data.label("subgroup", "classes").values[rows], numbers))


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    accuracy = study.scores("probe logistic_group_mean_per_class")
    nmi = {
        name: per_seed(
            name,
            "NMI of subclasses and true subgroups",
            [agreement(study.folder(name, seed)) for seed in lab.seeds(COMPARISON.seeds)],
        )
        for name in ("clusters", "random", EARLY)
    }
    yield from decides(
        above(accuracy["clusters"] - accuracy["random"], **SHARE),
        above(nmi["clusters"] - nmi[EARLY], name="NMI, at the end − after the warm-up", **AGREEMENT),
    )
    yield from secondary(
        above(accuracy["clusters"] - accuracy["SupCon"]),
        above(accuracy["clusters"] - accuracy["fine alone"]),
        above(nmi["clusters"] - nmi["random"], name="NMI, clusters − random"),
    )
