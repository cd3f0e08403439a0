"""Binary cross-entropy: a classifier of tags on the features of one column, trained with its tower."""

from __future__ import annotations

from typing import Unpack

from ..losses import BCELoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._scores import ScoreOptions
from ._tags import TagScores


class BCE(TagScores):
    """``L = Σ_c BCE(σ(s_c), y_c)`` over the tags c of which it is known whether they apply, the mean over examples.

    The label is one of tags; the rest is as in `CrossEntropy`. An example of whose tags nothing is known counts for
    nothing.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        options: head, temperature, mixup and dropout of `CrossEntropy`.

    Raises:
        ValueError: without a label, for one that is not of tags, and for a temperature of another head than cosines.

    Source: the baseline of Ridnik et al., "Asymmetric Loss For Multi-Label Classification" (2021), arXiv 2009.14119.
    """

    family = "tags"
    papers = ("comic",)
    name = "bce"

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        **options: Unpack[ScoreOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.objective = BCELoss()
