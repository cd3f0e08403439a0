"""DreamLIP: sentences of long captions, each against its picture and against the patches that it describes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..forms import BelowOne, Count, NonNegative, Positive
from ..losses import GroupingLoss
from ..networks.base import Towers
from ..pairwise import Temperature
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from ._patches import patches_of, per_patch
from .text_shearing import TextShearing


class DreamLIP(TextShearing):
    """CLIP with the raw caption and M sentences of written captions, and each of these with its patches.

        L = mean over the K = M + 1 texts of InfoNCE({x_i}, {t_ik}_i) + w L_group({v_ip}, {t_ik})

    x_i is the mean of the tower's patches behind the head, v_ip are patches behind the same head, and L_group is
    `counterpoint.losses.GroupingLoss`. The sentences are drawn anew at each step from all captions behind the first,
    without replacement as far as there are enough; from the caption itself where there is no other. A caption of one
    sentence is that sentence.

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding; ``augmentation.captions`` must be ``each``.
        sentences: M.
        grouping: w.
        threshold: δ of the grouping.
        temperature: where both τ start; they are kept in [0.01, 1].

    Raises:
        ValueError: for a recipe that leaves an example one caption, and options out of their range.
        LookupError: for an image tower without features of patches.

    Source: Zheng et al., "DreamLIP: Language-Image Pre-training with Long Captions" (2024), arXiv 2403.17007, without
    its circle loss and without joined sentences. Patches are those of the tower's last layer, and their mean is the
    picture's feature.
    """

    family = "two towers"
    papers = ("dreamlip",)

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        sentences: Count = 6,
        grouping: NonNegative = 1.0,
        threshold: BelowOne = 0.0,
        temperature: Positive = 0.07,
    ) -> None:
        super().__init__(towers, recipe, slots=sentences + 1, shear=False, temperature=temperature)
        pieces = {
            name: View("text", f"piece:{number}", self.text, like=self.text)
            for number, name in enumerate(self.slots[1:])
        }
        self.views = {**self.views, **pieces}
        self.weight = grouping
        bounded = Temperature(temperature, bounds=(0.01, 1.0))
        self.grouping = GroupingLoss(bounded, threshold=threshold) if grouping else None
        size = self.image_tower.size
        with torch.no_grad():
            self.image_tower.patches(
                torch.zeros(1, 3, size, size)
            )  # is refused here, and not at the first step

    def features(self, column: str, inputs: Tensor) -> Tensor:
        if column == self.text:
            return super().features(column, inputs)
        return patches_of(self.image_tower, inputs).mean((1, 2))

    def encode(self, batch: Batch) -> Embeddings:
        patches = patches_of(self.image_tower, batch[self.picture])
        texts = {name: self.features(self.text, batch[name]) for name in self.slots}
        return {self.picture: patches, **texts}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        maps = z[self.picture]
        losses = super().losses({**z, self.picture: maps.mean((1, 2))}, batch, clock)
        if self.grouping is None:
            return losses
        head = self.projections[self.columns[self.picture]]
        patches = F.normalize(per_patch(head, maps).flatten(1, 2), dim=-1)
        texts = [F.normalize(self.project(self.text, z[name], "global"), dim=-1) for name in self.slots]
        loss = self.grouping(patches, torch.stack(texts, 1), mask=self.mask_of_texts(batch).T)
        return {**losses, "grouping": self.weight * loss}
