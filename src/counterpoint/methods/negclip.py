"""NegCLIP: false captions are negatives of every picture, and with pictures of their own they are pairs."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Positive
from ..losses import HardNegativesLoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired


class NegCLIP(TowerMethod):
    """CLIP's loss, in which a picture also looks among captions that are false of some picture of the batch.

        L = mean_i [ log ( Σ_j exp(x_i · y_j / τ) + Σ_j exp(x_i · n_j / τ) ) − x_i · y_i / τ ] / 2
          + mean_i [ log Σ_j exp(y_i · x_j / τ) − y_i · x_i / τ ] / 2

    with x of pictures, y of captions and n of false captions, each nz(W f(·)). A caption looks among the pictures
    alone, since a false one has no picture to find. The first two columns are the pair, and each further one
    of the second one's modality holds negatives. Further columns of the first one's modality are what the negatives are
    true of, in the same order: where a row has both, they are a pair as any other, so that pictures have hard negatives
    too. Rows that lack a negative are pairs without one; without any negative it is CLIP.

    Args:
        towers: by column: the pair, then negatives, then what they are true of.
        recipe: gives the width of the embedding.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        ValueError: for a column of neither modality of the pair, and for more columns that negatives are true of than
            there are negatives.

    Source: Rösch et al., "Enhancing Conceptual Understanding in Multimodal Contrastive Learning through Hard Negative
    Samples" (2024), arXiv 2403.02875, with a negative for each concept; Miranda et al., "BiVLC" (2024), arXiv
    2406.09952: TROHN-Text with one column of negatives, and with their pictures TROHN-Img. After NegCLIP of Yüksekgönül
    et al. (2023), arXiv 2210.01936, which adds further pictures beside.
    """

    family = "two towers"
    needs: ClassVar[Needs] = Needs(3, None, further=(0, 1))
    incomplete: ClassVar[Literal["drop", "use"]] = "use"
    papers: tuple[str, ...] = ("inpaintcoco", "bivlc")
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(self, towers: Towers, recipe: Recipe, *, temperature: Positive = 0.07) -> None:
        super().__init__(towers)
        first, second, *others = towers
        self.pair = first, second
        modalities = {column: tower.modality for column, tower in towers.items()}
        self.negatives = [column for column in others if modalities[column] == modalities[second]]
        self.shown = [column for column in others if column not in self.negatives]
        if len(self.shown) > len(self.negatives):
            raise ValueError(
                f"negclip takes a column of negatives for each of {', '.join(self.shown)}, and is given "
                f"{', '.join(self.negatives) or 'none'}"
            )
        self.views = paired(towers)
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective = HardNegativesLoss(Temperature(temperature, bounds=(0.01, 1.0)))

    @property
    def embeds(self) -> tuple[str, ...]:
        return self.pair

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        first, second = self.pair
        both = batch.has(first) & batch.has(second)
        x, y = (self._unit(column, z[column][both]) for column in self.pair)
        negatives = torch.stack([self._unit(column, z[column][both]) for column in self.negatives], 1)
        counts = torch.stack([batch.has(column)[both] for column in self.negatives], 1)
        pictures, captions = [x], [y]
        for k, column in enumerate(self.shown):
            shown = counts[:, k] & batch.has(column)[both]
            pictures.append(self._unit(column, z[column][both][shown]))
            captions.append(negatives[shown, k])
            counts[:, k] &= ~shown  # it is one of the captions now
        x, y = torch.cat(pictures), torch.cat(captions)
        if not self.objective.count(x):
            return {"negclip": (x * y).sum() + negatives.sum()}
        more = len(x) - len(negatives)  # pairs that are themselves made of negatives have none of their own
        negatives, counts = F.pad(negatives, (0, 0, 0, 0, 0, more)), F.pad(counts, (0, 0, 0, more))
        return {"negclip": (self.objective(x, y, negatives, counts) + self.objective(y, x)) / 2}

    def _unit(self, column: str, features: Float[Tensor, "n w"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.project(column, features, "global"), dim=-1)
