"""PCD: the patches of a student learn those of a frozen teacher, against a queue of the teacher's pooled vectors."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Count, Positive
from ..losses import MoCoLoss
from ..networks import KeyQueue
from ..networks.base import Towers
from ..networks.heads import mlp
from ..networks.spatial_head import SpatialHead
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from ._patches import patches_of, per_patch
from .base import Ranges
from .frozen import Teacher
from .needs import Needs
from .tower_method import TowerMethod

TEACHER = "teacher."
"""Prefix of the names of the teacher's outputs."""


class PCD(TowerMethod):
    """Each patch of a student meets the teacher's patch at the same place of the same view.

        q_p = nz(h(f(view))_p),   k_p = nz(S(f_t(view))_p),   L = mean over views and p of MoCo(q_p, k_p, queue)
        after the step:  nz(mean_p S(f_t(view 1))_p) takes the place of the oldest keys,   nz(u) = u / ‖u‖

    f is the student's tower before pooling, h its head, a projector and a predictor. f_t is the teacher's tower and S
    its head of vectors as one of patches (`counterpoint.networks.spatial_head.SpatialHead`). The teacher stays in
    evaluation mode. Keys of a picture's own are no negatives of it. The head is left off afterwards: a user gets the
    student's own features.

    Args:
        towers: the student's tower, by its column, one of pictures.
        recipe: gives the widths: ``ssl_hidden``, and ``ssl_output``, which is that of the teacher's head.
        teacher: a run with a projector of pictures (``moco``, ``byol``) or a linear head (``clip``), on the same grid.
        temperature: τ.
        queue: K, at most the rows to train on.
        pooled: the same loss on the means over patches of both sides, one query a view: a control. The key is then
            the teacher's head of its pooled features.

    Raises:
        ValueError: for a teacher that cannot be read, has no such head, or has other patches or another width.

    Source: Huang and Guo, "Pixel-Wise Contrastive Distillation" (2022), arXiv 2211.00218. Its block of self-attention
    between tower and head is left out, as in the release. The release pairs patches by index across two different
    crops; here student and teacher see the same view.
    """

    family = "images"
    papers = ("pcd",)
    consults: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.5)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        teacher: str,
        temperature: Positive = 0.2,
        queue: Count = 1024,
        pooled: bool = False,
    ) -> None:
        super().__init__(towers)
        ((column, _),) = towers.items()
        self.views = {f"{column}.{n}": View("image", f"byol_{n}", column) for n in (1, 2)}
        tower, hidden, width = self.image_tower, recipe.widths.ssl_hidden, recipe.widths.ssl_output
        self.teacher = Teacher("teacher", teacher, tower, recipe.microbatch)
        with torch.no_grad():
            grid = tower.patches(torch.zeros(1, 3, tower.size, tower.size)).shape[2:]
        self.teacher.check_grid((grid[0], grid[1]))
        # No modules of the method: neither trained nor saved, and absent where a trained method is read again.
        self.teacher_heads = tuple(_spatial_head(teacher, model, width) for model in self.teacher.models)
        self.head = nn.Sequential(
            mlp(tower.width, hidden, width, layers=2), mlp(width, hidden, width, layers=2)
        )
        self.queue = KeyQueue(queue, width)
        self.objective = MoCoLoss(temperature)
        self.pooled = pooled

    def encode(self, batch: Batch) -> Embeddings:
        return {view: patches_of(self.image_tower, batch[view]) for view in self.views}

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        return {TEACHER + view: self._teacher_patches(batch[view]) for view in self.views}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        losses = []
        for view in self.views:
            features, keys = z[view], z[TEACHER + view]
            if self.pooled:
                features, keys = (maps.mean((1, 2), keepdim=True) for maps in (features, keys))
            q, k = (
                F.normalize(maps.flatten(0, 2), dim=-1) for maps in (per_patch(self.head, features), keys)
            )
            ids = batch.ids.repeat_interleave(keys.shape[1] * keys.shape[2])
            losses.append(self.objective(q, k, self.queue.keys, ids, self.queue.ids))
        return {"pcd": torch.stack(losses).mean()}

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        first = next(iter(self.views))
        self.queue.enqueue(F.normalize(z[TEACHER + first].mean((1, 2)), dim=-1), batch.ids)

    def passes(self) -> dict[str, float]:
        return {modality: 2 * count for modality, count in super().passes().items()}

    def _teacher_patches(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B h w d"]:
        """Return what the teacher's head says of patches, before it is normalised."""
        if not self.teacher.models:
            raise LookupError("a trained method is read without its teacher")
        (model,), (head,) = self.teacher.models, self.teacher_heads
        assert isinstance(model, TowerMethod)
        tower = model.to(images).image_tower
        parts = torch.split(images, self.teacher.microbatch or len(images) or 1)
        return head.to(images)(torch.cat([patches_of(tower, part) for part in parts]))


def _spatial_head(name: str, model: nn.Module, width: int) -> SpatialHead:
    """Return the head of pictures of a run as one of patches.

    Raises:
        ValueError: for a model without such a head, or of another width.
    """
    head = getattr(model, "projection", None)
    if head is None and isinstance(model, TowerMethod):
        heads = dict(model.projections.items())
        column = next(column for column in model.columns if model.tower(column).modality == "image")
        head = heads.get(model.columns[column])
    if not isinstance(head, nn.Module):
        raise ValueError(
            f"teacher={name!r} has no head of pictures; name the folder of a run of moco or byol"
        )
    spatial = SpatialHead(head).requires_grad_(False).eval()
    its = next(layer.out_features for layer in reversed(spatial.layers) if isinstance(layer, nn.Linear))
    if its != width:
        raise ValueError(f"teacher={name!r} has a head of width {its}; set widths.ssl_output={its}")
    return spatial
