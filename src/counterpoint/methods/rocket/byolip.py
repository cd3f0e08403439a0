"""BYOLIP: SiamLIP whose targets come from a slow copy of the model."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ...forms import NonNegative
from ...networks.base import ImageTower, TextTower
from ...recipes.schema import Recipe
from ..base import Ranges
from .global_local import BasicOptions, ImprovedOptions, RocketCLIP, improved
from .siamlip import SiamLIPTerm


class BYOLIPTerm(SiamLIPTerm):
    """`SiamLIPTerm` under another name in logs; the targets are given to it."""

    name = "byolip"


class BYOLIP(RocketCLIP):
    """L = L_CLIP + w · L_siam(p, v_m) under the basic recipe, v_m from a momentum copy of the model.

        θ_m ← m θ_m + (1 − m) θ after every optimiser step, over parameters only

    The copy (of towers and projectors: nobody would read its contrastive heads) sees the same augmented
    inputs, in training mode, so that its batch norms use batch statistics; it costs a second pass of every
    view through both towers.

    Args:
        image, text: the towers.
        recipe: gives the widths.
        ssl_weight: w.
        momentum: m.
        last_norm: whether the projectors end in a batch norm.
        options: ``views`` (0) and ``temperature`` (0.07).

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "ssl_weight": (0.25, 4.0)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        ssl_weight: NonNegative = 1.0,
        momentum: float = 0.99,
        last_norm: bool = True,
        **options: Unpack[BasicOptions],
    ) -> None:
        term = BYOLIPTerm(image, text, recipe, separate=False, last_norm=last_norm)
        super().__init__(image, text, recipe, term=term, ssl_weight=ssl_weight, momentum=momentum, **options)


class BYOLIPRocket(RocketCLIP):
    """L = L_CLIP-rocket + w · L_siam(p, v_m) under the improved recipe; see `BYOLIP` and `CLIPRocket`.

    Args:
        image, text: the towers.
        recipe: gives the widths, the smoothing and the dropout.
        ssl_weight: w.
        momentum: m.
        separate_proj_child: whether the local stream has projectors and predictors of its own.
        last_norm: whether the projectors end in a batch norm.
        options: see `RocketCLIP`.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {
        "temperature": (0.03, 0.2),
        "local_temperature": (0.03, 0.3),
        "ssl_weight": (0.25, 4.0),
    }

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        ssl_weight: NonNegative = 1.0,
        momentum: float = 0.99,
        separate_proj_child: bool = False,
        last_norm: bool = True,
        **options: Unpack[ImprovedOptions],
    ) -> None:
        term = BYOLIPTerm(image, text, recipe, separate=separate_proj_child, last_norm=last_norm)
        super().__init__(
            image,
            text,
            recipe,
            term=term,
            ssl_weight=ssl_weight,
            momentum=momentum,
            **improved(recipe, options),
        )
