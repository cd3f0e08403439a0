"""LUAB: a classifier that also says where in a picture somebody clicked as the picture was labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..forms import NonNegative
from ..frames import to_view
from ..networks.base import Towers
from ..networks.heads import Linear
from ..pairwise import draws, moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Kind, StepInfo, Target
from .base import Ranges
from .cross_entropy import CrossEntropy
from .needs import Needs

_CHANCE = 11  # a stream of draws of its own


class LUAB(CrossEntropy):
    """Classes, and a byproduct of labelling: the point of each picture that an annotator clicked, a hint at the object.

        L = CE(s, y) + λ 1/|V| Σ_{i ∈ V} ½ Σ_{x, y} h(W f(v_i) + b − p_i),    h(u) = ½ u² for |u| < 1, else |u| − ½

    p_i is the click in shares of the sides of the view v_i. `Batch.frames` carries it from the whole picture through
    the cut to a square, the crop and the mirror. V are the pictures of the batch, on all ranks, whose click is known
    and lies in their view; the others weigh nothing, and with no such picture the term is 0. Clicks of pictures without
    a class are learned from too.

    f is the pooled feature that the classes are read from, on purpose: it must hold the place. W and b are left off
    afterwards; the rest is as in `CrossEntropy`, which it is with λ = 0. There is no ``mixup``: the point of a blend of
    two pictures is none.

    Args:
        towers: the tower, by its column, one of pictures.
        recipe: unused: the heads are as wide as the tower.
        target: the label that is learned.
        points: the label that holds the clicks, one of points.
        weight: λ; the release has no training code, so that 1 is a choice of ours, and values to 10 are worth a try.
        chance: whether each click stands elsewhere, uniformly, the same in all epochs: a control, since a second head
            may help by itself.

    Raises:
        ValueError: without a label of classes.

    Source: Han et al., "Neglected Free Lunch; Learning Image Classifiers Using Annotation Byproducts" (2023), arXiv
    2303.17595. Of its two forms it is that of ImageNet: one class and one click a picture.
    """

    family = "supervised"
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))
    papers = ("luab",)
    tunable: ClassVar[Ranges] = {"weight": (0.1, 30.0)}
    further: ClassVar[Mapping[str, tuple[Kind, ...]]] = {"points": ("points",)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        points: str = "click",
        weight: NonNegative = 1.0,
        chance: bool = False,
    ) -> None:
        super().__init__(towers, recipe, target=target)
        ((self.column, tower),) = towers.items()
        self.views = {self.column: replace(self.views[self.column], framed=True)}
        self.pointer = Linear(tower.width, 2, bias=True)
        self.points, self.weight, self.chance = points, weight, chance

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        clicks = batch.labels[self.points]
        if self.chance:
            clicks = torch.where(clicks.isnan(), clicks, draws.uniform(batch.ids, 2, _CHANCE).to(clicks))
        where, inside = to_view(batch.frames[self.column], clicks)
        predicted = self.pointer(z[self.column])
        # A click that does not count may be NaN, and its gradient with it.
        off = F.smooth_l1_loss(
            predicted, torch.where(inside[:, None], where, 0.0).to(predicted), reduction="none"
        )
        click = moments.mean(off.mean(1), inside.to(off.dtype), ranks=Ranks.present())
        return {**super().losses(z, batch, clock), "click": self.weight * click}
