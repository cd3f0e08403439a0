"""SiamLIP: SimSiam from pictures to texts and back, added to CLIP."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ..forms import Count, NonNegative
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ._rocket import RocketCLIP, RocketOptions
from ._rocket_terms import SiamLIPTerm
from .base import Ranges


class SiamLIP(RocketCLIP):
    """L = L_CLIP + w · L_siam; see `SiamLIPTerm`, and `RocketCLIP` for the two recipes.

    Under the improved recipe with A = 2 the term is a mean over 10 distances, and the sum of two directions in the
    contrastive loss halves its weight against that.

    Args:
        towers: the towers, by column.
        recipe: gives the widths of the contrastive heads.
        ssl_weight: w.
        hidden, output: widths of the projectors and predictors. The paper's 2,048 and 128 are in the GPU recipes.
        last_norm: end the projectors in a batch norm.
        separate_proj_child: give the local stream projectors and predictors of its own.
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
        output: Count = 128,
        last_norm: bool = True,
        separate_proj_child: bool = False,
        **options: Unpack[RocketOptions],
    ) -> None:
        widths = {column: tower.width for column, tower in towers.items()}
        term = SiamLIPTerm(widths, hidden, output, separate=separate_proj_child, last_norm=last_norm)
        super().__init__(towers, recipe, term=term, ssl_weight=ssl_weight, **options)
