"""Textual localization: a new word attends where its subject is."""

from __future__ import annotations

from typing import ClassVar, Unpack

from torch import Tensor

from ..forms import NonNegative
from ..generation import attention_loss
from ..generation.personal import Guidance
from ..networks.base import Towers
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._personal import MAPS, MASKS, CustomDiffusionOptions
from .custom_diffusion import CustomDiffusion
from .needs import Needs


class TextualLocalization(CustomDiffusion):
    """`CustomDiffusion` with a loss that ties the attention of each new word to the mask of its subject.

        L = L of `CustomDiffusion` + attention · `attention_loss`

    The map of a word is averaged over heads, layers and sides, each side moved to [0, 1]. Its position is searched for
    in the prompt. A picture without a map has the first terms alone, and so have pictures of ``prior``.

    Args:
        towers: of pictures and of maps of classes.
        recipe, painter: as for `Personal`.
        attention: weight of the loss; with 0 it is `CustomDiffusion`.
        guidance: ``hard`` asks for the mask; ``soft`` asks for nothing inside of it, and for no attention outside.
        options: of `CustomDiffusion`.

    Source: Shentu, Watson and Al Moubayed, "Textual Localization: Decomposing Multi-concept Images for Subject-Driven
    Text-to-Image Generation" (2024), arXiv 2402.09966.
    """

    papers = ("textual-localization",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "map"))

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        painter: str,
        attention: NonNegative = 1.0,
        guidance: Guidance = "hard",
        **options: Unpack[CustomDiffusionOptions],
    ) -> None:
        super().__init__(towers, recipe, painter=painter, **options)
        self.attention, self.guidance = attention, guidance

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = super().losses(z, batch, clock)
        if self.attention:
            gap = attention_loss(z[MAPS + self.map], batch[MASKS], self.guidance)
            losses["attention"] = self.attention * gap
        return losses
