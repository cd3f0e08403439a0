"""Definitions of nouns: arms of texts alone go on from one run a seed, and are judged on pairs of other definitions."""

from __future__ import annotations

from collections.abc import Mapping

from . import Lab, TrainedStudy, TrainingComparison

STEPS, PRETRAINING_STEPS, RATE, SEEDS = 250, 700, 3e-4, 10
RANKED = "graded_similarity spearman"
"""The metric by which arms are judged."""
_TOWER = {"towers.vocabulary": 4096, "towers.context": 24}
_MODEL = "clip"
_PRETRAINING = TrainingComparison(
    {_MODEL: "clip,columns=term+gloss"},
    {"retrieval": ("*_R@1",)},
    data="glosses,train=20000,validation=500,test=1500",
    changes={**_TOWER, "batch_size": 128, "steps": PRETRAINING_STEPS, "validate_every": PRETRAINING_STEPS},
    seeds=SEEDS,
)


def went_on(lab: Lab, arms: Mapping[str, str]) -> TrainedStudy:
    """Train arms on definitions, each on from the run between nouns and definitions of its seed."""
    origin = lab.study(_PRETRAINING, "pretraining").each(_MODEL)
    comparison = TrainingComparison(
        {name: f'{arm},from="{origin}"' for name, arm in arms.items()},
        {"graded_similarity": ("spearman",)},
        data="glosses:graded,train=6000,validation=300,test=900",
        changes={
            **_TOWER,
            "batch_size": 64,
            "steps": STEPS,
            "validate_every": STEPS,
            "optimizer.lr": RATE,
        },
        seeds=SEEDS,
    )
    return lab.study(comparison)


NOTE = (
    "On definitions of WordNet's nouns under the recipe seconds, with a bag of words, 64 wide (no order of words). All "
    f"arms go on from a run of clip between 20,000 nouns and their definitions, {PRETRAINING_STEPS} steps of 128, with "
    f"definitions alone for {STEPS} steps of 64, τ = 0.05, dropout 0.1, at the rate of earlier forms of these claims, "
    f"{RATE:g}. All are judged without the head on 900 pairs of other definitions, of each tenth of Wu and Palmer's "
    "similarity about as many."
)
"""Words on the experiment that claims begin theirs with."""
