"""CLIP that is trained for a minute on scenes: the start of claims about what goes on from a pair or from its tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .study import TrainingComparison

ARM = "CLIP"


def pretraining(
    data: str, steps: int, side: int, tasks: Mapping[str, tuple[str, ...]] | None = None
) -> TrainingComparison:
    """Return the comparison whose one arm is CLIP under the recipe ``cpu``.

    Args:
        data: scenes with captions.
        steps: of batches of 64 pairs.
        side: of the pictures, in pixels.
        tasks: retrieval unless given.
    """
    changes: dict[str, Any] = {
        "steps": steps,
        "validate_every": steps,
        "batch_size": 64,
        "towers.image_size": side,
        "augmentation.paired": "plain",
    }
    asked = {"retrieval": ("i2t_R@1",)} if tasks is None else tasks
    return TrainingComparison({ARM: "clip"}, asked, data=data, recipe="cpu", changes=changes)
