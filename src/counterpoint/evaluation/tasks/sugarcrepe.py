"""SugarCrepe: a caption among fluent wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from ...types import Metric
from ._choices import ChoiceTask, Outcomes, mean_over_kinds


@final
class SugarCrepe(ChoiceTask):
    """SugarCrepe's scores: accuracy among a caption and its hard negatives, by how the negative was made.

    ``accuracy`` over all items, ``mean_over_kinds`` over the kinds (``"swap object"``, ``"add attribute"`` …), and
    one for each family that occurs: ``swap``, ``replace``, ``add``. Chance is 1/2 with one negative.

    Source: Hsieh et al., "SugarCrepe: Fixing Hackable Benchmarks for Vision-Language Compositionality" (2023),
    arXiv 2306.14610.
    """

    family = "compositionality"
    name = "sugarcrepe"
    by_family = False

    def by_kind(self, of: np.ndarray, outcomes: Outcomes) -> Mapping[str, Metric]:
        return {"mean_over_kinds": mean_over_kinds("right", outcomes)}
