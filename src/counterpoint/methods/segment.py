"""Segmentation: the class of each pixel, learned from maps, and from a teacher's logits."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import NonNegative, Positive
from ..losses import BPKDLoss
from ..losses._distillation import channel_divergence, pixel_divergence
from ..networks.base import Towers
from ..networks.heads import Linear
from ..networks.towers.maps import MapSquare
from ..networks.towers.parts.pixels import fitted
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..raw import UNKNOWN, check_pictures
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, Fit, StepInfo
from .frozen import Frozen, frozen
from .needs import Needs
from .tower_method import TowerMethod, paired

TEACHER = "teacher."
"""Prefix of the name of the teacher's logits."""
Distillation = Literal["none", "pixel", "channel", "bpkd"]


class Segment(TowerMethod):
    """A linear layer on the patches of pictures gives each pixel a class.

        L = mean over known pixels of cross-entropy(enlarged Z, map) + D(Z, Z')

    Z are the logits of patches; for the cross-entropy they are interpolated to the size of the map. D is 0, or what a
    teacher adds, whose logits Z' are brought to the student's patches:

    - ``distil=pixel``: weight · mean over patches of T² KL(softmax_c(Z'/T) ‖ softmax_c(Z/T))
    - ``distil=channel``: weight · mean over classes of T² KL(softmax_i(Z'/T) ‖ softmax_i(Z/T)), i over patches
    - ``distil=bpkd``: `BPKDLoss`, the first near the borders of each class and the second elsewhere

    `segment` gives maps of classes. Embeddings are the features of the tower.

    Args:
        towers: the tower of pictures and that of maps, of which the input alone is used.
        recipe: unused: the layer is as wide as the tower.
        distil: what a teacher adds.
        teacher: a run of this method with the same classes.
        temperature: T.
        weight: of ``pixel`` and ``channel``.
        edge, body: weights of ``bpkd``; see `BPKDLoss`.

    Raises:
        ValueError: for maps of numbers, and for a teacher that is missing, cannot be read, or has other classes.
        LookupError: for a tower without features of patches.

    Source: Liu et al. (2023), arXiv 2306.08075; ``channel``: Shu et al. (2020), arXiv 2011.13256, whose weight of 3 is
    the default.
    """

    family = "images"
    papers = ("bpkd",)
    needs: ClassVar[Needs] = Needs(modalities=("image", "map"))

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        distil: Distillation = "none",
        teacher: str = "",
        temperature: Positive = 4.0,
        weight: NonNegative = 3.0,
        edge: NonNegative = 50.0,
        body: NonNegative = 20.0,
    ) -> None:
        super().__init__(towers)
        self.image, self.map = towers
        self.views = paired(towers)
        given = towers[self.map].input
        assert isinstance(given, MapSquare)
        if not given.classes:
            raise ValueError(f"segment learns classes, and the maps of {self.map} hold numbers")
        self.use_input_alone(self.map)
        self.classes = given.classes
        self.layer = Linear(self.image_tower.width, len(self.classes), bias=True)
        self.distil, self.temperature, self.weight = distil, temperature, weight
        if (distil == "none") != (not teacher):
            raise ValueError(f"distil={distil} and teacher={teacher!r}: give both, or neither")
        self.teacher: Frozen = frozen("teacher", teacher, self.picture_size) if teacher else ()
        for model in self.teacher:
            if not isinstance(model, Segment) or model.classes != self.classes:
                raise ValueError(f"teacher={teacher!r} is no run of segment with the classes of the data")
        self.objective = BPKDLoss(temperature, edge, body) if distil == "bpkd" else None
        size = self.image_tower.size
        with torch.no_grad():
            self.eval().logits(torch.zeros(1, 3, size, size))  # is refused here, and not at the first step
        self.train()

    @property
    def embeds(self) -> tuple[str, ...]:
        return (self.image,)

    def embed(self, column: str, inputs: Any, head: str = "default") -> Tensor:
        if column == self.map:
            raise ValueError(f"this model predicts {column} and has no {column} embeddings")
        return super().embed(column, inputs, head)

    def logits(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Return the logits of classes at the patches of pictures.

        Raises:
            LookupError: for a tower without features of patches.
        """
        return self.layer(self.image_tower.patches(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def encode(self, batch: Batch) -> Embeddings:
        logits, labels = self.logits(batch[self.image]), batch[self.map].long()
        pixels = F.cross_entropy(
            enlarged(logits, labels.shape[1:]), labels, ignore_index=UNKNOWN, reduction="none"
        )
        known = (labels != UNKNOWN).sum((1, 2))
        return {self.image: logits, self.map: torch.stack([pixels.sum((1, 2)), known.to(pixels)], 1)}

    def targets(self, batch: Batch) -> Embeddings:
        if not self.teacher:
            return {}
        (model,) = self.teacher
        assert isinstance(model, Segment)
        return {TEACHER + self.image: model.to(batch[self.image]).logits(batch[self.image])}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        logits, (summed, known) = z[self.image], z[self.map].unbind(1)
        known = known.detach()
        mean = moments.mean(summed / known.clamp_min(1), known, ranks=Ranks.present())
        losses = {"cross_entropy": mean}
        if self.distil == "none":
            return losses
        teacher = enlarged(z[TEACHER + self.image], logits.shape[2:])
        if self.objective is not None:
            return {**losses, "bpkd": self.objective(logits, teacher, batch[self.map].long())}
        divergence = pixel_divergence if self.distil == "pixel" else channel_divergence
        of_pictures = divergence(logits, teacher, self.temperature).mean(1)
        mean = moments.mean(of_pictures, ranks=Ranks.present())
        return {**losses, self.distil: self.weight * mean}

    def passes(self) -> dict[str, float]:
        passes = super().passes()
        return {"image": passes["image"] * (1 if self.distil == "none" else 2)}

    @torch.no_grad()
    def segment(self, pictures: Any) -> Int[Tensor, "n H W"]:
        """Return the class of each pixel of the central squares of pictures, by its position in ``classes``.

        Args:
            pictures: uint8 ``(n, 3, H, W)``.

        Raises:
            ValueError: for anything else.
        """
        raw = check_pictures(pictures)
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        try:
            size, side = self.image_tower.size, min(raw.shape[-2:])
            logits = self.logits(fitted(raw.to(device), Fit(size, size)))
            return enlarged(logits, (side, side)).argmax(1)
        finally:
            self.train(was_training)


def enlarged(logits: Float[Tensor, "B C h w"], size: Any) -> Float[Tensor, "B C H W"]:
    """Return logits interpolated to a height and a width."""
    return logits if logits.shape[2:] == size else F.interpolate(logits, tuple(size), mode="bilinear")
