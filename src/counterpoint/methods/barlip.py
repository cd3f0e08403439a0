"""BarLIP: Barlow Twins from pictures to texts, added to CLIP."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ..forms import Count, NonNegative
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ._rocket import RocketCLIP, RocketOptions
from ._rocket_terms import BarLIPTerm
from .base import Ranges


class BarLIP(RocketCLIP):
    """L = L_CLIP + w · L_bar; see `BarLIPTerm`, and `RocketCLIP` for the two recipes.

    Args:
        towers: the towers, by column.
        recipe: gives the widths of the contrastive heads.
        ssl_weight: w; the term has its factor of 0.025 already.
        hidden, output: widths of the projectors. The paper's 3,000 and 8,192 are in the GPU recipes.
        separate_proj_child: give the local stream projectors of its own.
        options: see `RocketCLIP`.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    family = "CLIP with self-supervision"
    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "ssl_weight": (0.25, 4.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        ssl_weight: NonNegative = 1.0,
        hidden: Count = 512,
        output: Count = 512,
        separate_proj_child: bool = False,
        **options: Unpack[RocketOptions],
    ) -> None:
        term = BarLIPTerm(
            {column: tower.width for column, tower in towers.items()},
            hidden,
            output,
            separate=separate_proj_child,
        )
        super().__init__(towers, recipe, term=term, ssl_weight=ssl_weight, **options)
