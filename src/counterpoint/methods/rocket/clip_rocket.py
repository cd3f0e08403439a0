"""CLIP, under the improved recipe."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ...networks.base import ImageTower, TextTower
from ...recipes.schema import Recipe
from ..base import Ranges
from .global_local import ImprovedOptions, RocketCLIP, improved


class CLIPRocket(RocketCLIP):
    """A weak global pair and two strongly augmented local views of each modality.

        L = 2 · [ L_CLIP(z_I, z_T) + 2 · mean_{a,b} L_CLIP(h_I^a, h_T^b; ε) ] / 3

    The local stream has three-layer heads, a temperature (from 0.1), label smoothing and text dropout of its
    own; the factor 2 is the sum of the two directions (``reduction=mean`` leaves it out).

    Args:
        image, text: the towers.
        recipe: gives the widths, the smoothing and the dropout.
        options: see `RocketCLIP`; the defaults are those of the improved recipe.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "local_temperature": (0.03, 0.3)}

    def __init__(
        self, image: ImageTower, text: TextTower, recipe: Recipe, **options: Unpack[ImprovedOptions]
    ) -> None:
        super().__init__(image, text, recipe, **improved(recipe, options))
