"""LiT: a text tower learns to read a pretrained, locked image tower."""

from __future__ import annotations

from typing import ClassVar

from ..forms import Positive
from ..losses import InfoNCELoss
from ..networks import tune
from ..networks.base import Towers
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from .base import Ranges
from .dual_encoder import DualEncoder, heads_into_first, linear_heads

_CODES = {"L": "pretrained and locked", "U": "pretrained and trained", "u": "trained from random weights"}


class LiT(DualEncoder):
    """Contrastive tuning: symmetric softmax on towers of which each may be pretrained, and locked.

        S = nz(f_I) nz(head(f_T))ᵀ / τ,   L = ( CE(S, i) + CE(Sᵀ, i) ) / 2

    The two letters of ``mode`` are for the first and the second tower, of pictures and of texts: L pretrained and
    locked (no gradient, and batch norm and dropout in evaluation mode), U pretrained and trained, u random and
    trained. Lu is LiT, uu trains from scratch. Weights are named in the recipe or the arm:
    ``lit,image=timm:resnet18@FILE``, or ``lit,image=cnn@RUN`` with a run of one's own.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding if there is an image head.
        mode: the two letters.
        image_head: whether the image gets a linear head, trained even on a locked tower. Without one the text
            is mapped to the image tower's width.
        temperature: where the learned τ starts; it has no bounds.

    Raises:
        ValueError: for another ``mode``, or one that does not go with the towers.

    Source: Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning" (2021), arXiv 2111.07991.
    """

    family = "two towers"
    papers = ("lit",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        mode: str = "Lu",
        image_head: bool = False,
        temperature: Positive = 0.1,
    ) -> None:
        if len(mode) != 2 or not set(mode) <= set(_CODES):
            raise ValueError(
                f"mode={mode!r}: give a letter for the first and one for the second tower, of {_CODES}"
            )
        for letter, (column, tower) in zip(mode, towers.items(), strict=True):
            if tower.pretrained != (letter in "LU"):
                raise ValueError(
                    f"mode={mode!r} wants the {column} tower {_CODES[letter]}, but it is {tower.name!r}; "
                    f"name weights as {tower.modality}=NAME@WEIGHTS, or change the mode"
                )
            if letter == "L":
                tune(tower, "frozen")
        heads = linear_heads(towers, recipe.widths.embedding) if image_head else heads_into_first(towers)
        super().__init__(towers, heads, InfoNCELoss(Temperature(temperature)), "lit")
