"""SuSana Distancia: does its margin, or its score of neighbours, keep classes apart that training has not seen?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.metrics import silhouette_score

from counterpoint.data.embeddings import EmbeddingCache
from counterpoint.evaluation.tasks import FewShot, LabelRetrieval
from counterpoint.study.opened import open_data
from counterpoint.training.run import Run
from counterpoint.training.start import load

from .lab import (
    UNSEEN,
    Arrays,
    Lab,
    Result,
    TrainingComparison,
    above,
    arm,
    decides,
    effects,
    per_seed,
    secondary,
)

CLAIM = (
    "Beside the loss of a prototypical network, the margin between the distances to the own and to the nearest other "
    "prototype, and the score of nearest neighbours, make the nearest picture of an emoji that training has not seen "
    "more often the same emoji by the other artist, and cost no accuracy in episodes of five."
)
REFUTED = "purity is no higher with either of the two, or accuracy falls by more than 0.01"
SHARE = effects.convention("share")

STEPS = 300
COMPARISON = TrainingComparison(
    {
        "ProtoNet": "protonet,queries=3",
        "and triplet": "protonet,queries=3,terms=cross/triplet",
        "and ICNN": "protonet,queries=3,terms=cross/icnn",
        "and both": "susana,queries=3",
        "random triplet": "protonet,queries=3,terms=triplet-all",
        "detached": "protonet,queries=3,terms=cross/icnn,detached=true",
    },
    {"label_retrieval": ("i2i_subgroup_P@1",)},
    data="emoji:both",
    labels="name",
    recipe="cpu",
    changes={"batch_size": 128, "steps": STEPS, "validate_every": STEPS},
    seeds=UNSEEN,
)
DECIDE = ("and triplet", "and ICNN")


@cache
def measured(folder: Path) -> Arrays:
    """Return what a run makes of the emoji of held-out concepts: purity, accuracy of episodes, and silhouette."""
    model, data = load(folder), open_data(Run.read(folder))
    rows = np.sort(data.splits.test["concepts"])
    purity = LabelRetrieval(("name",))(model, data, rows).examples["i2i_name_P@1"]
    episodes = FewShot(("name",), shots=(1,))(model, data, rows).examples["name_5way_1shot"]
    names = data.label("name", "classes").values[rows]
    z = EmbeddingCache(model, data).column("image", rows).numpy()
    return {
        "purity": purity.to_numpy(),
        "accuracy": episodes.to_numpy(),
        "silhouette": np.array(silhouette_score(z, names)),
    }


def run(lab: Lab) -> Iterator[Result]:
    study = lab.study(COMPARISON)
    runs = {
        name: {seed: measured(study.folder(name, seed)) for seed in lab.seeds(COMPARISON.seeds)}
        for name in study.arms
    }
    purity, accuracy = (
        {name: arm(name, {s: of[key] for s, of in by_seed.items()}, metric) for name, by_seed in runs.items()}
        for key, metric in (("purity", "P@1 of unseen emoji"), ("accuracy", "5-way 1-shot of unseen emoji"))
    )
    silhouette = {
        name: per_seed(
            name, "silhouette of unseen emoji", [float(of["silhouette"]) for of in by_seed.values()]
        )
        for name, by_seed in runs.items()
    }
    yield from decides(
        *(above(purity[name] - purity["ProtoNet"], **SHARE) for name in DECIDE),
        *(above(accuracy[name] - accuracy["ProtoNet"], **effects.tolerance("share")) for name in DECIDE),
    )
    others = [name for name in purity if name != "ProtoNet"]
    yield from secondary(
        *(above(purity[name] - purity["ProtoNet"]) for name in others if name not in DECIDE),
        *(above(silhouette[name] - silhouette["ProtoNet"]) for name in others),
    )
    lab.note(
        "The emoji of both artists at 48 px, which are classes of two pictures: an episode has 32 of 2,324 emoji, one",
        f"picture of each to be shown and three views to be asked about; {STEPS} steps of the built-in convolutional",
        "network from random weights. Held out are 575 emoji of other concepts. The paper has classes of hundreds of",
        "photographs, 15 queries of each, and 20,000 episodes.",
    )
