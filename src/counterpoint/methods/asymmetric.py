"""Asymmetric loss: tags of which easy negatives count less than positives."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ..forms import BelowOne, NonNegative
from ..losses import AsymmetricLoss
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Target
from ._scores import ScoreOptions
from ._tags import TagScores
from .base import Ranges


class Asymmetric(TagScores):
    """``L = AsymmetricLoss(s, y)``: `BCE` focused on tags that apply, and on others that are not easily told.

    Args:
        towers: the tower, by its column.
        recipe: unused: the head is as wide as the tower.
        target: the label that is learned.
        gamma_positive, gamma_negative, margin: γ₊, γ₋ and m of the loss.
        options: head, temperature, mixup and dropout of `CrossEntropy`.

    Raises:
        ValueError: without a label, for one that is not of tags, and for a temperature of another head than cosines.

    Source: Ridnik et al., "Asymmetric Loss For Multi-Label Classification" (2021), arXiv 2009.14119.
    """

    family = "tags"
    papers = ("comic",)
    name = "asymmetric"
    tunable: ClassVar[Ranges] = {"gamma_negative": (1.0, 6.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        gamma_positive: NonNegative = 1.0,
        gamma_negative: NonNegative = 4.0,
        margin: BelowOne = 0.05,
        **options: Unpack[ScoreOptions],
    ) -> None:
        super().__init__(towers, recipe, target=target, **options)
        self.objective = AsymmetricLoss(gamma_positive, gamma_negative, margin)
