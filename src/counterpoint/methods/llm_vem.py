"""LLM-VEM: voxels from pictures by regression, with a small contrast to what is said of the pictures."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..forms import BelowOne, Count, NonNegative, Positive
from ..losses import HardNegativesLoss
from ..networks import tune
from ..networks.base import Towers
from ..networks.heads import Linear
from ..networks.towers.table import TableTower
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..registry import unknown
from ..types import Batch, Embeddings, Stage, StepInfo, TrainingExamples, View
from .base import ONCE, Ranges
from .needs import Needs
from .tower_method import TowerMethod


class LLMVEM(TowerMethod):
    """A picture's features say what every voxel measured; in training they are held near a sentence about it, too.

        ŷ = C (W f + b) + m,   L = mean over voxels (ŷ − y)² + λ InfoNCE(nz(P f), nz(t)) / both directions

    f are the picture's features, t those of a frozen text tower, which gets no gradient; y are the cells of a table in
    units of the training rows. C starts as the principal components of the training rows' voxels, m as their mean; a
    cell that was not measured has no term. Where two examples show one picture neither is the other's negative. Texts
    are for training alone: `predict` and ``embed`` need the picture. λ = 0 is the regression, exactly.

    The run has two stages: in the first the image tower stands still while mapping and projection learn, in the second
    it moves too, at ``slow`` times the learning rate. Give it pretrained towers: ``image=timm:NAME@WEIGHTS``,
    ``text=sentence-transformers:NAME``; a random text tower says nothing, however frozen.

    The values that the paper used could not be checked, as there is no code; they are options. The quality of
    predictions is bounded by K components and by noise: report both beside the correlations.

    Args:
        towers: by column: pictures, texts, and a table with a voxel in each column.
        recipe: unused: the projection is as wide as the texts' features.
        weight: λ; the paper finds small values best.
        temperature: τ of the contrast; fixed.
        components: K, at most the voxels.
        first: the share of the steps that the first stage has; 0 leaves it out.
        slow: the factor of the image tower's learning rate.
        repeats: the label that says which picture an example shows, where pictures occur more than once; every
            example is another one unless given.

    Raises:
        ValueError: for columns that are not a picture, a text and a table; in ``losses`` for a label that the data does
            not have.

    Source: Ma et al., "Aligned with LLM: a new multi-modal training paradigm for encoding fMRI activity in visual
    cortex" (2024), arXiv 2401.03851.
    """

    family = "two towers"
    papers = ("llm-vem",)
    needs: ClassVar[Needs] = Needs(3, 3, modalities=("image", "text", "table"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3), "weight": (0.001, 1.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        weight: NonNegative = 0.1,
        temperature: Positive = 0.07,
        components: Count = 32,
        first: BelowOne = 0.5,
        slow: Positive = 0.1,
        repeats: str = "",
    ) -> None:
        super().__init__(towers)
        self.picture, self.text, self.voxels = towers
        table = self.tower(self.voxels)
        assert isinstance(table, TableTower)
        tune(self.tower(self.text), "frozen")
        table.requires_grad_(False)  # of which the input alone is used
        picture_tower, text_tower = self.tower(self.picture), self.tower(self.text)
        self.views = {
            self.picture: View("image", "weak", self.picture),
            **({self.text: View("text", "plain", self.text)} if weight else {}),
            self.voxels: View("table", "plain", self.voxels),
        }
        self.cells, count = table.cells, table.cells.width
        self.mapping = nn.Linear(picture_tower.width, min(components, count))
        self.components = nn.Linear(min(components, count), count)
        self.projection = Linear(picture_tower.width, text_tower.width) if weight else None
        self.objective = HardNegativesLoss(temperature)
        self.weight, self.repeats = weight, repeats
        self.epoch_start_every = ONCE
        parts = ("mapping.", "components.", "projection.")
        self.stages = (Stage("mapping", first, parts), Stage("whole", 1 - first)) if first else ()
        self.rates = {f"towers.{self.columns[self.picture]}.": slow}

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.picture, self.text) if self.weight else (self.picture,)

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Begin the last layer as the principal components of the training rows' voxels, and their mean."""
        if clock.step:
            return  # a later stage goes on with what was learned
        voxels = examples.map(lambda batch: batch[self.voxels]).float()
        measured = ~voxels.isnan()
        mean = voxels.nan_to_num(0.0).sum(0) / measured.sum(0).clamp_min(1)
        centred = torch.where(measured, voxels - mean, 0.0)
        _, _, axes = torch.linalg.svd(centred.double(), full_matrices=False)
        start = self.components.weight.new_zeros(self.components.weight.shape)
        kept = min(len(axes), start.shape[1])
        start[:, :kept] = axes[:kept].T.to(start)
        self.components.weight.data.copy_(start)
        self.components.bias.data.copy_(mean.to(start))

    def targets(self, batch: Batch) -> Embeddings:
        return {self.text: self.features(self.text, batch[self.text])} if self.weight else {}

    def encode(self, batch: Batch) -> Embeddings:
        return {
            self.picture: self.features(self.picture, batch[self.picture]),
            self.voxels: batch[self.voxels],
        }

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        features = z[self.picture]
        terms = {"voxels": self._regression(features, z[self.voxels])}
        if self.projection is not None:
            u = F.normalize(self.projection(features), dim=-1)
            t = F.normalize(z[self.text].detach().to(u), dim=-1)
            shown = self._shown(batch)
            same = shown, shown.new_zeros(len(shown), 0)
            forth, back = self.objective(u, t, documents=same), self.objective(t, u, documents=same)
            terms["said"] = self.weight * (forth + back) / 2
        return terms

    def _regression(self, features: Float[Tensor, "B w"], voxels: Float[Tensor, "B V"]) -> Float[Tensor, ""]:
        measured = ~voxels.isnan()
        wrong = torch.where(measured, self._voxels(features) - voxels.nan_to_num(0.0), 0.0).square()
        # A mean over the cells that there are: rows of few have a smaller say.
        ranks = Ranks.present()
        cells = moments.mean(measured.sum(1).to(wrong), ranks=ranks)
        # In a batch of which nothing was measured there is nothing to learn, and 0 / 0 would end the run.
        return moments.mean(wrong.sum(1), ranks=ranks) / torch.where(cells == 0, 1.0, cells)

    def _voxels(self, features: Float[Tensor, "n w"]) -> Float[Tensor, "n V"]:
        return self.components(self.mapping(features))

    def _shown(self, batch: Batch) -> Int[Tensor, " B"]:
        """Return a number for the picture of every example."""
        if not self.repeats:
            return batch.ids
        if self.repeats not in batch.labels:
            raise unknown("label", self.repeats, batch.labels)
        # Of pictures of which nothing is said each is another one.
        shown = batch.labels[self.repeats]
        return torch.where(shown < 0, -1 - batch.ids, shown)

    def project(self, column: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        projected = column == self.picture and self.projection is not None
        return self.projection(features) if projected and self.projection is not None else features

    def passes(self) -> dict[str, float]:
        # Of the table no tower is asked.
        return {modality: count for modality, count in super().passes().items() if modality != "table"}

    @torch.no_grad()
    def predict(self, pictures: Any) -> Float[Tensor, "n V"]:
        """Return what every voxel is expected to measure for some pictures, in the units of the training rows.

        Args:
            pictures: uint8 ``(n, 3, H, W)``.
        """
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            prepared = self.tower(self.picture).input(pictures.to(device))
            return self._voxels(self.features(self.picture, prepared))
        finally:
            self.train(was_training)
