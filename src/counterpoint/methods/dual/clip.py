"""CLIP, under the basic recipe."""

from __future__ import annotations

from typing import ClassVar, Unpack

from ...networks.base import ImageTower, TextTower
from ...recipes.schema import Recipe
from ..base import Ranges
from ..rocket.global_local import BasicOptions, RocketCLIP


class CLIP(RocketCLIP):
    """Linear heads and a symmetric softmax over the batch.

        S = nz(z_I) nz(z_T)ᵀ / τ,   L = ( CE(S, i) + CE(Sᵀ, i) ) / 2

    τ is learned from 0.07 and kept in [0.01, 1]; one weak picture and one caption, no smoothing, no dropout.
    With ``views=A`` it gets A further weak pairs on the same heads, so that a comparison with the improved
    recipe can give all arms the same pairs.

    Args:
        image, text: the towers.
        recipe: gives the width of the embedding.
        options: ``views`` (0) and ``temperature`` (0.07).

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
    arXiv 2103.00020; the basic recipe of Fini et al. (2023), arXiv 2305.08675.
    """

    papers = ("clip-rocket",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self, image: ImageTower, text: TextTower, recipe: Recipe, **options: Unpack[BasicOptions]
    ) -> None:
        super().__init__(image, text, recipe, **options)
