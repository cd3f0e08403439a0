"""BYOLIP: SiamLIP whose targets come from a slow copy of the model."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ..forms import Count, Fraction, NonNegative
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ._rocket import RocketCLIP, RocketOptions
from ._rocket_terms import SiamLIPTerm
from .base import Ranges


class BYOLIP(RocketCLIP):
    """L = L_CLIP + w · L_siam(p, v_m), v_m from a momentum copy of the model; see `RocketCLIP` for the two recipes.

        θ_m ← m θ_m + (1 − m) θ after every optimiser step, over parameters only

    The copy (of towers and projectors: nobody would read its contrastive heads) sees the same augmented
    inputs, in training mode, so that its batch norms use batch statistics; it costs a second pass of every
    view through both towers.

    Args:
        towers: the towers, by column.
        recipe: gives the widths of the contrastive heads.
        ssl_weight: w.
        momentum: m.
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
        momentum: Fraction = 0.99,
        hidden: Count = 512,
        output: Count = 128,
        last_norm: bool = True,
        separate_proj_child: bool = False,
        **options: Unpack[RocketOptions],
    ) -> None:
        widths = {column: tower.width for column, tower in towers.items()}
        term = SiamLIPTerm(
            widths, hidden, output, separate=separate_proj_child, last_norm=last_norm, name="byolip"
        )
        super().__init__(towers, recipe, term=term, ssl_weight=ssl_weight, momentum=momentum, **options)
