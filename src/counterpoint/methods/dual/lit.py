"""LiT: a text tower learns to read a pretrained, locked image tower."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from ...losses import InfoNCELoss
from ...networks import tune
from ...networks.base import ImageTower, TextTower
from ...networks.heads import Linear
from ...pairwise import Temperature
from ...recipes.schema import Recipe
from ..base import Ranges
from ..dual_encoder import DualEncoder, linear_heads

_CODES = {"L": "pretrained and locked", "U": "pretrained and trained", "u": "trained from random weights"}


class LiT(DualEncoder):
    """Contrastive tuning: symmetric softmax on towers of which each may be pretrained, and locked.

        S = nz(f_I) nz(head(f_T))ᵀ / τ,   L = ( CE(S, i) + CE(Sᵀ, i) ) / 2

    The two letters of ``mode`` are for the image and the text tower: L pretrained and locked (no gradient,
    and batch norm and dropout in evaluation mode), U pretrained and trained, u random and trained. Lu is LiT,
    uu trains from scratch. Weights are named in the recipe or the arm: ``lit,image=timm:resnet18@FILE``,
    or ``lit,image=cnn@RUN`` with a run of one's own.

    Args:
        image, text: the towers.
        recipe: its ``towers`` say which are pretrained; gives the width of the embedding if there is an image
            head.
        mode: the two letters.
        image_head: whether the image gets a linear head, trained even on a locked tower. Without one the text
            is mapped to the image tower's width.
        temperature: where the learned τ starts; it has no bounds.

    Raises:
        ValueError: for another ``mode``, or one that does not go with the towers.

    Source: Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning" (2021), arXiv 2111.07991.
    """

    papers = ("lit",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        mode: str = "Lu",
        image_head: bool = False,
        temperature: float = 0.1,
    ) -> None:
        if len(mode) != 2 or not set(mode) <= set(_CODES):
            raise ValueError(
                f"mode={mode!r}: give a letter for the image and one for the text tower, of {_CODES}"
            )
        for modality, letter, tower in (("image", mode[0], image), ("text", mode[1], text)):
            name = getattr(recipe.towers, modality)
            if ("@" in name) != (letter in "LU"):
                raise ValueError(
                    f"mode={mode!r} wants the {modality} tower {_CODES[letter]}, but it is {name!r}; "
                    f"name weights as {modality}=NAME@WEIGHTS, or change the mode"
                )
            if letter == "L":
                tune(tower, "frozen")
        heads: dict[str, nn.Module] = {"image": nn.Identity(), "text": Linear(text.width, image.width)}
        if image_head:
            heads = linear_heads(image, text, recipe.widths.embedding)
        super().__init__(image, text, heads, InfoNCELoss(Temperature(temperature)), "lit")
