"""Scenes with a label for how their first two things lie."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Shaped

from counterpoint.data.base import Data
from counterpoint.data.derived._derived import DerivedData
from counterpoint.data.labels import Classes, Label
from counterpoint.data.synthetic.scenes.scene import RelationKind
from counterpoint.data.synthetic.scenes.world import Scenes

AXES: Mapping[RelationKind, str] = {
    "left of": "side by side",
    "right of": "side by side",
    "above": "one above the other",
    "below": "one above the other",
    "inside": "one inside the other",
    "behind": "one behind the other",
}
"""Relations as they are seen: a picture does not say of which thing its caption speaks first."""


class Related(DerivedData):
    """Scenes whose label ``relation`` is the one that they were composed to show; those without one have no class.

    Args:
        scenes: the world.
    """

    part: ClassVar[str] = "relation"
    changes = ("a label for relations",)

    def __init__(self, scenes: Data) -> None:
        super().__init__(scenes, scenes.name)

    @cached_property
    def labels(self) -> Mapping[str, Label]:
        assert isinstance(self.data, Scenes)
        names = tuple(dict.fromkeys(AXES.values()))
        shown = [self.data.scene(row).relations for row in range(len(self.data))]
        values = np.array([names.index(AXES[relations[0].kind]) if relations else -1 for relations in shown])
        return {**self.data.labels, "relation": Classes(names, values, ())}

    def _became(self) -> Shaped[np.ndarray, "N _"]:
        relation = self.labels["relation"]
        assert isinstance(relation, Classes)
        return relation.values[:, None]
