"""BriVL: momentum contrast between pictures and texts, with a queue for each."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...losses import MoCoLoss
from ...networks import KeyQueue, MomentumCopy
from ...networks.base import ImageTower, TextTower
from ...networks.heads import mlp
from ...networks.momentum import PREFIX
from ...networks.towers.regions import RegionTower
from ...recipes.schema import Recipe
from ...types import Batch, Clock, Embeddings, View
from ..base import Ranges, TwoTower


class BriVL(TwoTower):
    """Each picture must find its text among past texts, and each text its picture among past pictures.

        L = MoCo(q_I, k_T, queue of texts) + MoCo(q_T, k_I, queue of pictures)
        after the step:  θ_m ← m θ_m + (1 − m) θ,  and k_T, k_I take the place of the oldest keys

    q are the embeddings, k those of slow copies of both towers and heads. Negatives come from the queues
    alone, not from the batch, and are never of the anchor's own pair: many of them need no large batch. The
    copies start equal and move after every step, which is before the next keys: the paper's order. In the
    first K/B steps the queues still hold random vectors, and the loss says little.

    With ``regions`` the picture's embedding is that of its regions (`RegionTower`), as in the paper, whose
    regions are the boxes of a detector. Of its text encoder's self-attention above a language model there is
    nothing here: name a deeper text tower instead.

    Args:
        image, text: the towers; with ``regions`` the image tower must have features of places.
        recipe: gives the width of the embedding and of the heads' hidden layer.
        temperature: τ; fixed.
        momentum: m.
        queue: K of each queue (the paper: 9,600 for 30 million pairs).
        regions: whether pictures are read by their regions.

    Raises:
        LookupError: for ``regions`` on an image tower without features of places.

    Source: Huo et al., "WenLan: Bridging Vision and Language by Large-Scale Multi-Modal Pre-Training" (2021),
    arXiv 2103.06561.
    """

    papers = ("brivl",)
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3)}

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        recipe: Recipe,
        *,
        temperature: float = 0.07,
        momentum: float = 0.99,
        queue: int = 1024,
        regions: bool = False,
    ) -> None:
        image = RegionTower(image) if regions else image
        super().__init__(image, text)
        self.views = {"image": View("image", "weak"), "text": View("text")}
        width = recipe.widths.embedding
        self.projections = nn.ModuleDict(
            {
                m: mlp(tower.width, width, width, layers=2, norm=False)
                for m, tower in (("image", image), ("text", text))
            }
        )
        whole = {m: nn.Sequential(self.towers[m], self.projections[m]) for m in self.views}
        self.momentum = MomentumCopy(nn.ModuleDict(whole), momentum)
        self.queues = nn.ModuleDict({m: KeyQueue(queue, width) for m in self.views})
        self.objective = MoCoLoss(temperature)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        copies = self.momentum.module
        return {PREFIX + m: F.normalize(copies.get_submodule(m)(batch[m]), dim=-1) for m in self.views}

    def project(self, modality: str, features: Float[Tensor, "n w"], head: str) -> Float[Tensor, "n d"]:
        return self.projections[modality](features)

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        losses = {}
        for of, to in (("image", "text"), ("text", "image")):
            q = F.normalize(self.project(of, z[of], "global"), dim=-1)
            queue = self.queues[to]
            losses[f"{of}_to_{to}"] = self.objective(q, z[PREFIX + to], queue.keys, batch.ids, queue.ids)
        return losses

    def after_step(self, z: Embeddings, batch: Batch, clock: Clock) -> None:
        super().after_step(z, batch, clock)
        self.momentum.update()
        for m, queue in self.queues.items():
            assert isinstance(queue, KeyQueue)
            queue.enqueue(z[PREFIX + m], batch.ids)

    def passes(self) -> dict[str, int]:
        return {modality: 2 * count for modality, count in super().passes().items()}
