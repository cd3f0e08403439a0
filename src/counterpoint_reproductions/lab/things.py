"""Pictures of one thing each, of which a small network learns neither nothing nor everything in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import TrainingComparison

LABEL = "concept"
THINGS = ("cat", "dog", "pig", "fish", "apple", "banana", "car", "bus", "key", "guitar", "hat", "tree")
RATIO = 50
"""Ratio of the pictures of the most frequent thing to those of the rarest one."""
KEPT, TESTED = 612, 4000
"""Pictures to train on, of the long tail one less; and those that test where things are as frequent."""


def pictures(train: int, test: int = 1200) -> str:
    """Return the name of data of so many pictures, and of 600 to validate by."""
    return (
        "scenes:basic,objects=1,repeats=0,relations=0,sizes=large,tinted=0,"
        f"concepts={'+'.join(THINGS)},train={train},validation=600,test={test}"
    )


BATCH, RATE, SIDE = 64, 0.002, 24


TAIL: Mapping[str, Any] = {"data": pictures(2000), "labels": f"{LABEL},imbalance={RATIO}"}
EVEN: Mapping[str, Any] = {"data": pictures(713), "labels": f"{LABEL},imbalance=1"}
"""Fields of a comparison on a long tail of things, or on all of them alike, with the same tests: both keep `KEPT`."""
PROBE = f"probe,labels={LABEL}"
ACCURACY, NEAREST = (f"{PROBE} {classifier}_{LABEL}_top1" for classifier in ("logistic", "knn"))


def compared(arms: Mapping[str, str], steps: int, **fields: Any) -> TrainingComparison:
    """Return a comparison of arms under the recipe ``seconds``, whose perceptron learns no more than pixels show.

    Args:
        arms: by their names.
        steps: of every arm.
        fields: further ones of `TrainingComparison`; the data is as many pictures of all things unless given.
    """
    changes = {
        "towers.image": "cnn",
        "towers.image_size": SIDE,
        "optimizer.lr": RATE,
        "batch_size": BATCH,
        "steps": steps,
        "validate_every": steps,
    }
    every = {"data": pictures(KEPT, TESTED), "labels": LABEL} | fields
    return TrainingComparison(arms, {PROBE: (f"logistic_{LABEL}_top1",)}, changes=changes, **every)
