"""ConVIRT: a picture and one sentence of its report, the two directions weighted unequally."""

from __future__ import annotations

from typing import ClassVar

from ..forms import Fraction, Natural, Positive
from ..losses import InfoNCELoss
from ..networks import freeze_layers
from ..networks.base import TextTower, Towers
from ..networks.heads import mlp
from ..recipes.schema import Recipe
from ..types import View
from .base import Ranges
from .dual_encoder import DualEncoder
from .needs import Needs


class ConVIRT(DualEncoder):
    """A dual encoder with one-hidden-layer heads and a fixed temperature.

        loss = mean_i [ λ CE(<v_i, u_·>/τ, i) + (1 − λ) CE(<u_i, v_·>/τ, i) ]

    v are pictures, u texts: λ belongs to image→text. The text view is one caption of the picture, drawn anew
    every epoch; the text tower's states are pooled by their maximum over the tokens, padding left out.

    Args:
        towers: the towers, by column. The text tower's ``pooling`` is set to ``"max"`` where it can be chosen.
        recipe: gives the width of the embedding and of the heads' hidden layer.
        temperature: τ; not learned.
        image_weight: λ.
        frozen_text_layers: how many residual blocks of the text tower, and its embeddings, do not move (the
            paper: 6 of BERT's 12); 0 leaves all of it trained.

    Raises:
        ValueError: for λ outside [0, 1].

    Source: Zhang et al., "Contrastive Learning of Medical Visual Representations from Paired Images and Text"
    (2020), arXiv 2010.00747.
    """

    family = "two towers"
    papers = ("convirt",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        temperature: Positive = 0.1,
        image_weight: Fraction = 0.75,
        frozen_text_layers: Natural = 0,
    ) -> None:
        picture, text = towers
        reader = towers[text]
        assert isinstance(reader, TextTower)
        if reader.pooling is not None:
            reader.pooling = "max"
        if frozen_text_layers:
            freeze_layers(reader, frozen_text_layers)
        width = recipe.widths.embedding
        super().__init__(
            towers,
            {name: mlp(tower.width, width, width, layers=2, norm=False) for name, tower in towers.items()},
            InfoNCELoss(temperature, weights=(image_weight, 1 - image_weight)),
            "convirt",
            views={picture: View("image", "convirt", picture)},
        )
