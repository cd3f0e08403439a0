"""What methods share whose image tower predicts features of frozen teachers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ..networks.towers.parts.pixels import fitted
from ..pairwise.inputs import upcast
from ..raw import check_pictures
from ..types import Fit
from .frozen import Teacher
from .needs import Needs
from .tower_method import TowerMethod

SUMMARY, PATCHES = "summary", "patches"
"""Names of the features of a teacher: those of pictures, and those of their patches."""


class TaughtMethod(TowerMethod):
    """A method of one column of pictures, whose tower predicts features of frozen teachers.

    Attributes:
        teacher: the teachers.
    """

    consults: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))
    teacher: Teacher

    @abstractmethod
    def predicted(self, images: Float[Tensor, "B 3 H W"]) -> list[Mapping[str, Tensor]]:
        """Return the features that are predicted of each teacher: `SUMMARY` ``(B, d)``, `PATCHES` ``(B, h, w, d)``."""

    @torch.no_grad()
    def teacher_features(
        self, pictures: UInt8[Tensor, "n 3 H W"], side: int | None = None
    ) -> Mapping[str, tuple[Float[Tensor, "n m d"], Float[Tensor, "n m d"]]]:
        """Return predicted and true features of teachers; see `counterpoint.types.PredictsTeachers`.

        A map of predicted patches is brought to the teacher's grid.
        """
        pictures, tower = check_pictures(pictures), self.image_tower
        side = side or tower.size
        if side != tower.size:
            tower.check_side(side)
        self.teacher.load()
        was_training, pictures = self.training, pictures.to(next(self.parameters()).device)
        whole = tower.input(pictures)
        shown = whole if side == tower.size else fitted(pictures, Fit(side, side))
        self.eval()
        try:
            predicted = self.predicted(shown)
        finally:
            self.train(was_training)
        true = self.teacher(whole)
        features: dict[str, tuple[Tensor, Tensor]] = {}
        for number, ours in enumerate(predicted):
            end = f"_{number + 1}" if len(predicted) > 1 else ""
            theirs, grid = true[number], self.teacher.grids[number]
            features[SUMMARY + end] = (ours[SUMMARY][:, None], theirs.summary[:, None])
            if PATCHES in ours:
                features[PATCHES + end] = (resized(ours[PATCHES], grid).flatten(1, 2), theirs.patches)
        return features


def resized(maps: Float[Tensor, "B h w d"], grid: tuple[int, int]) -> Float[Tensor, "B H W d"]:
    """Return maps interpolated bilinearly to a grid, as the means of cells where it is smaller."""
    if maps.shape[1:3] == grid:
        return maps
    moved = F.interpolate(maps.permute(0, 3, 1, 2), grid, mode="bilinear", antialias=True)
    return moved.permute(0, 2, 3, 1)


def cosine_distances(ours: Float[Tensor, "B d"], theirs: Float[Tensor, "B d"]) -> Float[Tensor, " B"]:
    """Return 1 − cosine of features of pictures and those of a teacher, row by row."""
    return 1 - (F.normalize(upcast(ours), dim=-1) * F.normalize(upcast(theirs), dim=-1)).sum(-1)
