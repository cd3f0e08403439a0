"""Unmasked Token Alignment: visible patches of a picture learn what a frozen model says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import BelowOne
from ..losses import NegativeCosineLoss
from ..networks import tune
from ..networks.base import PictureStates, Towers
from ..networks.heads import BorrowedHead, TargetHead
from ..networks.masking import (
    MaskKind,
    draw_visible,
    drawn_for_batch,
    gather_patches,
    hidden_patches,
    masked_grid,
    visible_count,
)
from ..networks.towers.transformer import Embedding
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._taught import PATCHES, SUMMARY, TaughtMethod
from .frozen import Teacher
from .tower_method import TowerMethod, paired

TEACHER = "teacher."
"""Prefix of the names of the teacher's outputs."""


class UTA(TaughtMethod):
    """A vision transformer that sees some patches, and aligns each of them with a teacher that sees all.

        L = 2 − 2 mean cos(h(f(x_S)_i), g(x)_i),   over i in S and the summary of the picture

    S are the visible patches, f the student, h its head and g the frozen teacher, with its own heads. The student
    never sees a mask token, and what it does not see costs nothing. As the teacher's space is shared with texts, the
    student takes the teacher's text tower and head over, unchanged, and names pictures without training on captions.

    With ``hidden=0`` this is plain distillation of features. With ``predict=masked`` it is masked image modelling, the
    usual alternative: mask tokens go through the student in the places of hidden patches, and the loss is on these.

    Args:
        towers: the image tower, by its column; behind it the teacher's text tower, if any.
        recipe: unused: the teacher gives the width of the space.
        teacher: a run of pictures and texts, ``runs/clip``, or a model of open_clip.
        hidden: the share of patches that the student does not see.
        mask: how they are drawn.
        predict: the patches that the loss is on.

    Raises:
        ValueError: for a tower that cannot leave patches out, masks that hide nothing or everything, and a teacher that
            cannot be read, has other patches, or a text head that is not one linear layer.

    Source: Liu et al., "Enhancing Vision-Language Model with Unmasked Token Alignment" (2024), arXiv 2405.19009, by
    its definitions. The released code has no training; the share that is hidden and the mask are not confirmed by it.
    The paper's summary is a class token. A tower without one is read as the mean of its visible patches.
    """

    family = "images"
    papers = ("uta",)
    asks: ClassVar[Mapping[str, str]] = {"": "takes_masks"}
    carries: ClassVar[tuple[str, str]] = ("teacher", "text")
    draws = True

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        teacher: str,
        hidden: BelowOne = 0.5,
        mask: MaskKind = "reversed-block",
        predict: Literal["visible", "masked"] = "visible",
    ) -> None:
        (column, tower), *carried = towers.items()
        super().__init__({column: tower})
        self.column, self.mask, self.predict = column, mask, predict
        self.grid = masked_grid(self.image_tower)
        self.visible = visible_count(self.grid[0] * self.grid[1], hidden)
        self.views = paired({column: tower})
        self.teacher = Teacher("teacher", teacher, self.image_tower, recipe.microbatch)
        self.teacher.check_grid(self.grid)
        self.projections[column] = TargetHead(tower.width, self.teacher.widths, bias=False)
        for name, text in carried:
            if text.core is not text:
                raise ValueError(
                    f"teacher={teacher!r} reads texts as pictures, with a tower that is not its own"
                )
            tune(text, "frozen")
            self.towers[name], self.columns[name] = text, name
            if not text.projected:
                self.projections[name] = BorrowedHead(text.width, self._text_head(teacher))
        self.mask_token = None
        if predict == "masked":
            if not hidden:
                raise ValueError("predict=masked predicts hidden patches, and hidden=0 hides none")
            self.mask_token = Embedding(1, tower.width, std=0.02)
        self.objective = NegativeCosineLoss()

    @property
    def carried(self) -> tuple[str, ...]:
        return tuple(column for column in self.columns if column != self.column)

    def predicted(self, images: Float[Tensor, "B 3 H W"]) -> list[Mapping[str, Tensor]]:
        head = self.projections[self.column]
        summary, maps = self.image_tower.summary_and_patches(images)
        return [{SUMMARY: head(summary), PATCHES: head(maps.permute(0, 2, 3, 1))}]

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the visible patches."""

        def draw(examples: int) -> Tensor:
            return draw_visible(self.mask, examples, self.grid, self.visible)

        index = drawn_for_batch(len(batch), batch.ids.device, draw)
        return replace(batch, views={**batch.views, f"{self.column}.visible": index})

    def targets(self, batch: Batch) -> Embeddings:
        (states,) = self.teacher(batch[self.column])
        return _named(
            TEACHER, self.column, PictureStates(states.summary, self._predicted(batch, states.patches))
        )

    def encode(self, batch: Batch) -> Embeddings:
        token = None if self.mask_token is None else self.mask_token.weight[0]
        states = self.image_tower.encode_visible(batch[self.column], batch[f"{self.column}.visible"], token)
        if token is not None:
            states = states._replace(patches=self._predicted(batch, states.patches))
        return _named("", self.column, states)

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        ours = self.projections[self.column](_tokens("", self.column, z))
        theirs = _tokens(TEACHER, self.column, z)
        return {"uta": self.objective(F.normalize(ours, dim=-1), F.normalize(theirs, dim=-1))}

    def passes(self) -> dict[str, float]:
        seen = self.visible / (self.grid[0] * self.grid[1]) if self.mask_token is None else 1
        return {modality: count * (1 + seen) for modality, count in super().passes().items()}

    def _predicted(self, batch: Batch, patches: Tensor) -> Tensor:
        """Return the states of the patches that the loss is on, of those of all patches."""
        index = batch[f"{self.column}.visible"]
        return gather_patches(
            patches, index if self.predict == "visible" else hidden_patches(index, patches.shape[1])
        )

    def _text_head(self, teacher: str) -> Tensor | None:
        """Return the weights of the teacher's text head; None where a trained method is read again."""
        if not self.teacher.models:
            return None
        (model,) = self.teacher.models
        assert isinstance(model, TowerMethod)
        text = next(name for name in model.columns if model.tower(name).modality == self.carries[1])
        head = dict(model.projections.items()).get(model.columns[text])
        if not isinstance(head, nn.Linear) or head.bias is not None:
            raise ValueError(
                f"teacher={teacher!r} has a text head that is not one linear layer without bias; name a run of clip"
            )
        return head.weight.detach()


def _named(prefix: str, column: str, states: PictureStates) -> Embeddings:
    return {f"{prefix}{SUMMARY}.{column}": states.summary, f"{prefix}{column}": states.patches}


def _tokens(prefix: str, column: str, z: Embeddings) -> Tensor:
    """Return the summary and the patches of all pictures, one after the other."""
    return torch.cat([z[f"{prefix}{SUMMARY}.{column}"][:, None], z[f"{prefix}{column}"]], 1).flatten(0, 1)
