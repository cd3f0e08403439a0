"""ARO: attributes, relations and the order of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from ...types import Metric
from ._choices import ChoiceTask, Outcomes, mean_over_kinds


@final
class ARO(ChoiceTask):
    """ARO's scores: attribution, relation and order.

    The kind of an item is its family and, after a colon, what exactly it is about: ``"relation: to the left of"``,
    ``"attribution: white red"``, ``"order"``. ``accuracy`` is over all items; for each family there are its own,
    ``relation`` …, and ``relation_macro``, the mean over what it is exactly about, which is the paper's number. All
    relations and all pairs of attributes that occur count, however rare. The subsets are the families.

    Source: Yüksekgönül et al., "When and Why Vision-Language Models Behave like Bags-of-Words" (2023), arXiv
    2210.01936.
    """

    family = "compositionality"
    name = "aro"
    by_family = True

    def by_kind(self, of: np.ndarray, outcomes: Outcomes) -> Mapping[str, Metric]:
        return {f"{family}_macro": mean_over_kinds(family, outcomes) for family in dict.fromkeys(of.tolist())}
