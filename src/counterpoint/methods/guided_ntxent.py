"""Guided NT-Xent: two views of each picture, whose positives and negatives a teacher chooses."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..forms import BelowOne, Positive
from ..losses import GuidedNTXentLoss
from ..losses.guided_ntxent import Rule
from ..networks.base import ImageTower, Towers
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings
from .base import Ranges
from .frozen import embed_in_parts, frozen
from .needs import Needs
from .single_loss import SingleLoss

TEACHER = "teacher."
"""Prefix of the names of the teacher's embeddings."""


class GuidedNTXent(SingleLoss):
    """SimCLR whose pairs are chosen by what a teacher sees in the same views (CLIP, in the paper).

        c_v = nz(teacher(view v)),   L = GuidedNTXent(z_1, z_2; c_1, c_2),   nz(u) = u / ‖u‖

    The teacher is frozen and no part of the trained model: a checkpoint does not hold it, a run that goes on needs it
    still, and the model is used without it. The rules hand on what the teacher knows, so that distilling it is the fair
    control beside ``ntxent,on=images``. With ``ratio=0`` a rule that leaves out changes nothing: the loss is NT-Xent.

    Args:
        towers: the image tower, by its column.
        recipe: gives the widths of SimCLR's perceptron.
        teacher: a model of pictures, as `counterpoint.load` reads it: a run, ``open_clip:NAME@TAG``. Its pictures must
            be of the tower's size.
        rule: as `GuidedNTXentLoss` has it: ``add_positive``, ``drop_false_positive``, ``drop_false_negative`` or
            ``drop_easy_negative``.
        ratio: of the rule; the paper's unless given.
        temperature: τ, fixed.

    Raises:
        ValueError: for a teacher that is not there or takes other pictures, and options out of range.

    Source: Zhang et al., "On the Generalization of Multi-modal Contrastive Learning" (2023), arXiv 2306.04272.
    """

    family = "images"
    papers = ("mmcl-generalization",)
    consults: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.5)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        teacher: str,
        rule: Rule = "add_positive",
        ratio: BelowOne | None = None,
        temperature: Positive = 0.1,
    ) -> None:
        loss = GuidedNTXentLoss(rule, ratio=ratio, temperature=temperature)
        super().__init__(towers, recipe, loss, "guided-ntxent")
        self.part = recipe.microbatch
        self._teacher = frozen("teacher", teacher, self.image_tower.size)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        if not self._teacher:
            raise LookupError("a trained guided-ntxent is read without its teacher, which its loss asks")
        (teacher,) = self._teacher
        teacher.to(next(self.parameters()))
        column = next(name for name in teacher.columns if isinstance(teacher.tower(name), ImageTower))
        return {
            TEACHER + name: embed_in_parts(teacher, column, batch[name], self.part) for name in self.views
        }

    def loss_inputs(self, z: Embeddings, batch: Batch) -> dict[str, Tensor]:
        first, second = (z[TEACHER + name] for name in self.views)
        return {"teacher_x": first, "teacher_y": second}

    def passes(self) -> dict[str, float]:
        return {column: 2 * passes for column, passes in super().passes().items()}
