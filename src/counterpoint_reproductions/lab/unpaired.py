"""Two towers that never saw a pair, of pictures and of names, kept frozen while arms learn to relate them from few."""

from __future__ import annotations

from dataclasses import replace

from . import Lab, TrainingComparison
from . import data_names as names

DATA = f"{names.__file__}:OWN"
BATCH, SEEDS = 128, 5
PICTURES, TEXTS = "pictures", "texts"
PRETRAINING = TrainingComparison(
    {PICTURES: "moco", TEXTS: "simcse"},
    {"probe": ("knn_group_top1",)},
    data=DATA,
    changes={
        "batch_size": BATCH,
        "steps": 300,
        "validate_every": 300,
        "towers.context": 24,
        "towers.vocabulary": 2048,
    },
    seeds=SEEDS,
)
WAYS = ("i2t", "t2i")
RETRIEVAL = {"retrieval": tuple(f"{way}_R@1" for way in WAYS)}
"""Both directions of retrieval, of which arms are asked."""


def towers(lab: Lab, *further: int) -> str:
    """Train the towers under each seed and further ones, and return them as an arm takes those of its seed."""
    trained = lab.study(replace(PRETRAINING, seeds=(*lab.seeds(SEEDS), *further)), "pretraining")
    return f'image="mlp@{trained.each(PICTURES)}",text="bag@{trained.each(TEXTS)}"'


def with_pairs(share: float) -> str:
    """Return the name of the data in which a share of the pictures to train on keep their names, by their ids."""
    return f"{DATA},missing=text:{1 - share:g}/in:train"
