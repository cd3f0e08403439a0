"""CLIP, under the improved recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from ..networks.base import Towers
from ..recipes.schema import Recipe
from ._rocket import RocketCLIP, RocketOptions
from .base import Ranges


class CLIPRocket(RocketCLIP):
    """A weak global pair and two strongly augmented local views of each modality.

        L = 2 · [ L_CLIP(z_I, z_T) + 2 · mean_{a,b} L_CLIP(h_I^a, h_T^b; ε) ] / 3

    The local stream has three-layer heads, a temperature (from 0.1), label smoothing and text dropout of its
    own; the factor 2 is the sum of the two directions (``reduction=mean`` leaves it out). With
    ``improved=false,views=A`` this is CLIP on A further weak pairs, so that a comparison with the improved recipe can
    give all arms the same pairs.

    Args:
        towers: the towers, by column.
        recipe: gives the widths.
        options: see `RocketCLIP`; ``improved`` is true unless given.

    Source: Fini et al., "Improved baselines for vision-language pre-training" (2023), arXiv 2305.08675.
    """

    family = "CLIP with self-supervision"
    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    @classmethod
    def searched(cls, options: Mapping[str, object]) -> Ranges:
        return super().searched({"improved": True, **options})

    def __init__(self, towers: Towers, recipe: Recipe, **options: Unpack[RocketOptions]) -> None:
        options = {"improved": True, **options}
        super().__init__(towers, recipe, **options)
