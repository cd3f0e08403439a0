"""MS-CLAP: sounds and texts contrasted, after the tower of sounds has learned several labels at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import BelowOne, Natural, Positive
from ..losses import InfoNCELoss
from ..networks.base import TextTower, Towers
from ..networks.heads import Linear, ResidualProjection
from ..pairwise import Temperature, moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Kind, Stage, StepInfo
from .base import Ranges
from .tower_method import TowerMethod, distinct, paired

SUPERVISED, CONTRASTIVE = "supervised", "contrastive"


class MSCLAP(TowerMethod):
    """CLIP's loss on residual projections, after a stage in which one tower learns labels.

        g(u) = LayerNorm(W_1 u + drop(W_2 gelu(W_1 u))),   x = nz(g_1(f_1(sound))),   y = nz(g_2(f_2(text)))
        L = ( CE(x yᵀ / τ, i) + CE(y xᵀ / τ, i) ) / 2

    With ``tasks`` the first stage trains the tower of the first column that is no text by the mean cross-entropy of
    those labels, each with a linear head that is dropped afterwards; an example without a label (−1) is left out of it.
    Both towers move in the second stage. The text tower runs in the first stage too, without moving.

    A text tower that reads from left to right, as the built-in one does, is read at a text's last token, its end, which
    is found by the end token and never by counting: in GPT-2's vocabulary the padding of the release, id 0, is "!".

    Args:
        towers: the towers, by column: of any two, sounds and texts as published.
        recipe: gives the width of the embedding.
        tasks: the labels of the first stage, with + between them; without any there is no first stage.
        share: of the steps, of the first stage.
        classes: the most classes that a label of the first stage may have.
        dropout: in the projections.
        temperature: where τ starts; it is kept in [0.01, 1].
        read: at which token texts are read; ``first`` says nothing where a tower reads from left to right.

    Raises:
        ValueError: for a task twice; in ``losses`` for a label that the data does not have or that exceeds the classes.

    Source: Elizalde et al., "Natural Language Supervision for General-Purpose Audio Representations" (2023), arXiv
    2309.05767, and its code. Its labels are 22; τ starts where the code starts it, and is bounded as CLIP's.
    """

    family = "two towers"
    papers = ("msclap-2023",)
    draws = True
    further: ClassVar[Mapping[str, tuple[Kind, ...]]] = {"tasks": ("classes",)}
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        tasks: str = "",
        share: BelowOne = 0.5,
        classes: Natural = 256,
        dropout: BelowOne = 0.5,
        temperature: Positive = 0.07,
        read: Literal["end", "first"] = "end",
    ) -> None:
        super().__init__(towers)
        self.views = paired(towers)
        width = recipe.widths.embedding
        self.projections = nn.ModuleDict(
            {
                name: ResidualProjection(tower.width, width, dropout)
                for name, tower in distinct(towers).items()
            }
        )
        self.objective = InfoNCELoss(Temperature(temperature, bounds=(0.01, 1.0)))
        for tower in towers.values():
            if isinstance(tower, TextTower) and tower.pooling is not None:
                tower.pooling = read
        self.tasks = tuple(task for task in tasks.split("+") if task)
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks={tasks} names a label twice")
        self.taught = next(
            (c for c in self.columns if self.tower(c).modality != "text"), next(iter(self.columns))
        )
        taught = self.tower(self.taught).width
        self.classifiers = nn.ModuleList(Linear(taught, classes, bias=True) for _ in self.tasks)
        if self.tasks:
            first = (f"towers.{self.columns[self.taught]}.", "classifiers.")
            second = ("towers.", "projections.", "objective.")
            self.stages = (Stage(SUPERVISED, share, first), Stage(CONTRASTIVE, 1 - share, second))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        if clock.stage == SUPERVISED:
            return self.supervised(z[self.taught], batch)
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        return {"msclap": self.objective(x, y)}

    def supervised(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Compute the cross-entropy of every label over the examples that have it, of K labels a K-th each."""
        terms = {}
        for task, classifier in zip(self.tasks, self.classifiers, strict=True):
            target, logits = batch.labels[task], classifier(features)
            if int(target.max()) >= logits.shape[1]:
                raise ValueError(
                    f"{task} has a class {int(target.max())}, and there is room for {logits.shape[1]}: classes="
                )
            known = (target >= 0).to(logits.dtype)
            cross_entropy = F.cross_entropy(logits, target.clamp_min(0), reduction="none")
            terms[task] = moments.mean(cross_entropy, known, ranks=Ranks.present()) / len(self.tasks)
        return terms
