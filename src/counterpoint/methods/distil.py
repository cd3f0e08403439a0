"""Distillation: features of pictures learn those of a frozen teacher."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from ..networks.base import Towers
from ..networks.heads import BorrowedHead, TargetHead
from ..networks.towers.sparse import SparseTransformer
from ..networks.towers.transformer import VisionTransformer
from ..pairwise import moments
from ..pairwise.ranks import Ranks
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo
from ._taught import SUMMARY, TaughtMethod, cosine_distances
from .frozen import Teacher
from .tower_method import TowerMethod, paired

TEACHER = "teacher."
"""Prefix of the name of the teacher's output."""


class Distil(TaughtMethod):
    """A student whose embedding of a picture has the direction of a frozen teacher's.

        L = mean (1 − cos(h(f(x)), g(x)))

    f is the student's tower, h a linear layer and g the teacher, with its head. Patches and labels have no part in it.
    `UTA` and `Radio` add patches to this loss.

    With ``inherit=true`` a tower ``sparse`` takes the later blocks, the last norm and the linear head of pictures of
    the teacher over (`SparseTransformer.inherit`). Those of the last third, the norm and the head stay as they are.

    Args:
        towers: the image tower, by its column.
        recipe: gives the pictures that the teacher sees at a time.
        teacher: a run, or an image tower with its weights.
        inherit: whether the student takes parts of the teacher over.

    Raises:
        ValueError: for a teacher that cannot be read, for several, and for parts that cannot be taken over.

    Source: Gao et al., "Bootstrapping SparseFormers from Vision Foundation Models" (2023), arXiv 2312.01987. The form
    of the loss is from memory of the paper.
    """

    family = "images"
    papers = ("sparseformer-bootstrapping",)

    def __init__(self, towers: Towers, recipe: Recipe, *, teacher: str, inherit: bool = False) -> None:
        super().__init__(towers)
        ((self.column, tower),) = towers.items()
        self.views = paired(towers)
        self.teacher = Teacher("teacher", teacher, self.image_tower, recipe.microbatch, patches=False)
        if len(self.teacher.names) > 1:
            raise ValueError(f"teacher={teacher!r}: distil learns from one teacher, and radio from several")
        head: nn.Module = TargetHead(tower.width, self.teacher.widths, bias=False)
        if inherit:
            head = self._inherited(teacher) or head
        self.projections[self.column] = head

    def targets(self, batch: Batch) -> Embeddings:
        (states,) = self.teacher(batch[self.column])
        return {f"{TEACHER}{self.column}": states.summary}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        ours = self.project(self.column, z[self.column], "global")
        distances = cosine_distances(ours, z[f"{TEACHER}{self.column}"])
        return {"distil": moments.mean(distances, ranks=Ranks.present())}

    def predicted(self, images: Float[Tensor, "B 3 H W"]) -> list[Mapping[str, Tensor]]:
        return [{SUMMARY: self.project(self.column, self.image_tower(images), "global")}]

    def passes(self) -> dict[str, float]:
        return {modality: 2 * count for modality, count in super().passes().items()}

    def _inherited(self, name: str) -> BorrowedHead | None:
        """Take over parts of the teacher; return its head, None if that is no linear layer without bias."""
        tower = self.image_tower
        if not isinstance(tower, SparseTransformer):
            raise ValueError(
                "inherit=true is for the tower that is made of a teacher's parts: take image=sparse"
            )
        if not self.teacher.models:  # read again: its weights replace all
            return BorrowedHead(tower.width, None)
        (model,) = self.teacher.models
        its = model if not isinstance(model, TowerMethod) else model.image_tower
        if not isinstance(its, VisionTransformer):
            raise ValueError(f"teacher={name!r} has no blocks to inherit: name a run with image=vit")
        tower.inherit(its)
        if not isinstance(model, TowerMethod):
            return None
        head = dict(model.projections.items()).get(next(c for c in model.columns if model.tower(c) is its))
        if not isinstance(head, nn.Linear) or head.bias is not None:
            return None
        return BorrowedHead(tower.width, head.weight.detach())
