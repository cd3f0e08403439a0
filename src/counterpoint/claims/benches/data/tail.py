"""Pictures of one thing: a long tail of things to train on, or as many pictures of all things alike; the same tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LABEL = "concept"
THINGS = ("cat", "dog", "pig", "fish", "apple", "banana", "car", "bus", "key", "guitar", "hat", "tree")
RATIO = 50
"""Ratio of the pictures of the most frequent thing to those of the rarest one."""
KEPT = 612
"""Pictures of either set; of the long tail one less."""


def pictures(train: int, test: int = 1200) -> str:
    """Return the name of data of so many pictures, and of 600 to validate by."""
    return (
        "scenes:basic,objects=1,repeats=0,relations=0,sizes=large,tinted=0,"
        f"concepts={'+'.join(THINGS)},train={train},validation=600,test={test}"
    )


BATCH, RATE, SIDE = 64, 0.002, 24


def changes(steps: int) -> dict[str, Any]:
    """Return what differs from the recipe ``seconds``, whose perceptron learns no more here than pixels show."""
    return {
        "towers.image": "cnn",
        "towers.image_size": SIDE,
        "optimizer.lr": RATE,
        "batch_size": BATCH,
        "steps": steps,
        "validate_every": steps,
    }


TAIL: Mapping[str, Any] = {"data": pictures(2000), "labels": f"{LABEL},imbalance={RATIO}"}
EVEN: Mapping[str, Any] = {"data": pictures(713), "labels": f"{LABEL},imbalance=1"}
"""Fields of a comparison, by which it trains on either set; of so many pictures as many are left."""
PROBE = f"probe,labels={LABEL}"
ACCURACY, NEAREST = (f"{PROBE} {classifier}_{LABEL}_top1" for classifier in ("logistic", "knn"))
