"""DiHT with its teacher: hard negatives, and the concepts that a frozen image encoder sees."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..forms import Count, NonNegative, Positive
from ..losses import DiHTLoss
from ..networks import tune
from ..networks.base import Towers
from ..networks.heads import Linear
from ..networks.towers.parts.pooling import inside
from ..pairwise import Temperature, moments
from ..pairwise.inputs import upcast
from ..pairwise.ranks import Ranks as Processes
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from .base import Ranges
from .dual_encoder import linear_heads
from .frozen import check_weights, trained_tower
from .needs import Needs
from .tower_method import TowerMethod, paired

TEACHER = "teacher."
"""Prefix of the names of the teacher's outputs."""


class DistilledDiHT(TowerMethod):
    """Concepts of a caption, as a frozen teacher sees them in its picture, are what the student shall see.

        u    = uniform over the concepts of the caption
        t    = softmax(W_t f_t(image)),   s = softmax(W_s f(image))
        loss = DiHT(x, y; α, β) + w · mean CE(s, top-k of t) + mean CE(t, u)

    The teacher is an image tower with weights, frozen; of its head W_t alone moves, and the student's target
    is its k likeliest concepts, their probabilities scaled to add up to 1, without gradient. Both heads are
    left off afterwards.

    Concepts are the tokens of the text tower's vocabulary, one vocabulary in all; those that every caption of
    a batch has are none. (The paper parses objects and attributes into two vocabularies, and fits the
    teacher's heads before the student is trained.)

    Args:
        towers: the towers, by column.
        recipe: gives the width of the embedding and the size of the teacher's pictures.
        teacher: its name with weights, ``timm:NAME@FILE`` or ``cnn@RUN``.
        weight: w.
        top: k.
        alpha, beta: of the loss `DiHTLoss`.
        temperature: where τ starts; learned within [0.01, 1].

    Raises:
        ValueError: for a teacher without weights or for pictures of another size, and options out of range.

    Source: Radenovic et al., "Filtering, Distillation, and Hard Negatives for Vision-Language Pre-Training"
    (2023), arXiv 2301.02280.
    """

    family = "two towers"
    papers = ("diht",)
    consults: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(modalities=("image", "text"))
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.2), "weight": (0.1, 4.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        teacher: str,
        weight: NonNegative = 1.0,
        top: Count = 10,
        alpha: Positive = 1.0,
        beta: NonNegative = 0.25,
        temperature: Positive = 0.07,
    ) -> None:
        check_weights("teacher", teacher)
        super().__init__(towers)
        self.views = paired(towers)
        self.picture, self.text = towers
        self.projections = nn.ModuleDict(linear_heads(towers, recipe.widths.embedding))
        self.objective = DiHTLoss(Temperature(temperature, bounds=(0.01, 1.0)), alpha=alpha, beta=beta)
        image = self.image_tower
        self.teacher = trained_tower("teacher", teacher, image.size)
        tune(self.teacher, "frozen")
        concepts = self.text_tower.tokenizer.vocabulary
        self.teacher_concepts = Linear(self.teacher.width, concepts, bias=True)
        self.student_concepts = Linear(image.width, concepts, bias=True)
        self.weight, self.top = weight, min(top, concepts)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        return {TEACHER + self.picture: self.teacher(batch[self.picture])}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        seen = self.teacher_concepts(z[TEACHER + self.picture])
        likely = upcast(seen.detach()).softmax(-1).topk(self.top)
        target = torch.zeros_like(seen, dtype=likely.values.dtype)
        target.scatter_(1, likely.indices, likely.values / likely.values.sum(1, keepdim=True))
        there = self.concepts(batch[self.text]).to(target.dtype)
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        return {
            "diht": self.objective(x, y),
            "concepts": self.weight * _cross_entropy(self.student_concepts(z[self.picture]), target),
            # A caption without any concept has a target of zeros, and so no loss, rather than NaN.
            "teacher": _cross_entropy(seen, there / there.sum(1, keepdim=True).clamp_min(1)),
        }

    def concepts(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, "B concepts"]:
        """Return which concepts each caption has."""
        tower = self.text_tower
        word = inside(tokens, tower.tokenizer.end, begins_with_end=tower.begins_with_end)
        there = torch.zeros(
            len(tokens), self.text_tower.tokenizer.vocabulary, dtype=torch.bool, device=tokens.device
        )
        rows, places = word.nonzero().unbind(1)
        there[rows, tokens[rows, places]] = True
        processes = Processes.present()
        # Over all ranks, as the batch is one; such tokens tell no picture from another.
        everywhere = processes.total(there.sum(0)) == sum(processes.counts(len(tokens), tokens.device))
        return there & ~everywhere

    def passes(self) -> dict[str, float]:
        return {"image": 2, "text": 1}


def _cross_entropy(logits: Float[Tensor, "B n"], target: Float[Tensor, "B n"]) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy over the examples of all ranks."""
    logits = upcast(logits)
    losses = F.cross_entropy(logits, target.to(logits.dtype), reduction="none")
    return moments.mean(losses, ranks=Processes.present())
