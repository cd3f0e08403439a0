"""Text shearing: several captions of every picture, cut to the length of the first one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor, nn

from ..forms import Count, Positive
from ..losses import InfoNCELoss
from ..networks.base import Towers
from ..networks.towers.parts.pooling import inside
from ..pairwise import Temperature
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .base import Ranges
from .dual_encoder import linear_heads
from .needs import Needs
from .tower_method import TowerMethod, paired


class TextShearing(TowerMethod):
    """CLIP with all captions of a picture, each against the captions of its own slot alone.

        L = mean over slots m of InfoNCE({x_i}, {t_i^m}),   one τ

    Slot 0 is the raw caption, the others are those that models wrote; the data has them in this order. Captions of
    other slots are no negatives: they say the same. Rows without a slot's caption leave its term, and a slot that no
    row of a batch has is not counted, so that with one caption a row this is CLIP.

    Written captions are sheared: of each the first sentence is taken, and of that as many tokens as a raw caption has
    in the mean, so that what models make up later on, and their style, do not outweigh the rest. The mean is that of
    the raw captions of all batches so far, rounded up, in tokens of the text tower (the paper has one number for the
    data set). Drawing one of the captions at each step, the cheaper variant, is what ``clip`` does.

    The paper publishes no code of its training: the mean over slots is as remembered.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding; ``augmentation.captions`` must be ``each``.
        slots: M + 1, the raw caption and the most that are written.
        shear: whether these are cut.
        temperature: where τ starts; it is kept in [0.01, 1].

    Raises:
        ValueError: for a recipe that leaves an example one caption, and options out of their range.

    Source: Liu et al., "MLLMs-Augmented Visual-Language Representation Learning" (2023), arXiv 2311.18765.
    """

    family = "two towers"
    papers = ("text-shearing",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        slots: Count = 5,
        shear: bool = True,
        temperature: Positive = 0.07,
    ) -> None:
        if recipe.augmentation.captions == "shared":
            raise ValueError(
                "augmentation.captions=shared leaves an example one caption; write augmentation.captions=each"
            )
        super().__init__(towers)
        kind = "sentence" if shear else "caption"
        self.picture, self.text = towers
        written = {f"{self.text}.{m}": View("text", f"{kind}:{m}", self.text) for m in range(1, slots)}
        self.slots = (self.text, *written)
        self.views = {**paired(towers), self.text: View("text", "caption:0", self.text), **written}
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        self.shear = shear
        self.raw: Tensor
        # Tokens of the raw captions so far, and their number.
        self.register_buffer("raw", torch.zeros(2, dtype=torch.int64))

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        if not self.shear:
            return batch
        tokens, captions = (self.raw + self._counted(batch)).tolist()
        most = math.ceil(tokens / captions)
        sheared = {name: self.sheared(batch[name], most) for name in self.slots[1:]}
        return replace(batch, views={**batch.views, **sheared})

    def sheared(self, tokens: Int[Tensor, "B L"], most: int) -> Int[Tensor, "B l"]:
        """Return captions of at most so many tokens; one that is cut ends in the end token too."""
        cut = tokens[:, :most].clone()
        cut[self._inside(tokens).sum(1) > most, -1] = self.text_tower.tokenizer.end
        return cut

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x = F.normalize(self.project(self.picture, z[self.picture], "global"), dim=-1)
        mask = self.mask_of_texts(batch)
        counts = Ranks.present().total(mask.sum(1)).tolist()
        terms = []
        for name, rows, count in zip(self.slots, mask, counts, strict=True):
            if count:
                y = F.normalize(self.project(self.text, z[name], "global"), dim=-1)
                terms.append(self.objective(x[rows], y[rows]))
        return {"infonce": torch.stack(terms).mean()}

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        self.raw += self._counted(batch)

    def mask_of_texts(self, batch: Batch) -> Bool[Tensor, "K B"]:
        """Return which slots of each row have a caption; the raw one always does."""
        raw = torch.ones_like(batch.ids, dtype=torch.bool)
        return torch.stack([raw, *(self.says(batch[name]) for name in self.slots[1:])])

    def says(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, " B"]:
        """Return which captions have a word: more tokens than the empty one."""
        nothing = self._inside(self.text_tower.input([""]).to(tokens.device)).sum()
        return self._inside(tokens).sum(1) > nothing

    def _counted(self, batch: Batch) -> Int[Tensor, " 2"]:
        """Count the tokens of a batch's raw captions, and the captions, on all ranks."""
        lengths = self._inside(batch[self.text]).sum(1)
        return Ranks.present().total(torch.stack([lengths.sum(), torch.ones_like(lengths).sum()]))

    def _inside(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        tower = self.text_tower
        return inside(tokens, tower.tokenizer.end, begins_with_end=tower.begins_with_end)
