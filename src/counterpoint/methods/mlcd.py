"""MLCD: a picture belongs to the clusters that are nearest to what an encoder says of it, several at once."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, Finite, Positive, Share
from ..losses import MLCDLoss
from ..networks.base import ImageTower, Towers
from ..networks.clusters import nearest_centres
from ..networks.heads import ClassHead
from ..networks.state.item_state import ItemState
from ..pairwise.ranks import Ranks as Processes
from ..reasons import counted
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, TrainingExamples
from .base import ONCE, Ranges
from .frozen import check_weights, trained_tower
from .needs import Needs
from .tower_method import TowerMethod, paired


class MLCD(TowerMethod):
    """Discrimination of clusters: each picture has the l nearest of k clusters as its classes, from the first step on.

        c = the centres of k-means of the encoder's embeddings of all pictures,   P(i) = the l centres nearest to i
        z = nz(f(picture)),   L = MLCD(z, nz(W_S); P),   nz(u) = u / ‖u‖

    Clusters are found once, and stay; the class vectors W are learned by themselves, and left off afterwards. S are the
    classes that take part in a step: all positives of the batch and others by chance, up to a share of k, the same for
    the whole batch. A positive of one picture is a negative of another. See `counterpoint.losses.MLCDLoss`.

    Args:
        towers: the image tower, by its column.
        recipe: unused: class vectors are as wide as the tower.
        encoder: an image tower whose embeddings are clustered, with its weights: ``timm:NAME@FILE`` or ``cnn@RUN``; the
            method's own tower, as the run begins, unless given.
        clusters: k. The paper has 1,000,000 for 400 million pictures.
        positives: l.
        share: of the classes that take part in a step; the paper has 0.1, and all of them are worse where clusters are
            many more than concepts.
        scale, shift, joint: of the loss.

    Raises:
        ValueError: for as many positives as clusters, fewer pictures than clusters, or an encoder without weights or
            for pictures of another size.

    Source: An et al., "Multi-label Cluster Discrimination for Visual Representation Learning" (2024), arXiv 2407.17331;
    the sampling of classes: PartialFC (arXiv 2203.15565).
    """

    family = "images"
    papers = ("mlcd",)
    consults: ClassVar[bool] = True
    needs: ClassVar[Needs] = Needs(1, 1, modalities=("image",))
    tunable: ClassVar[Ranges] = MLCDLoss.tunable
    draws = True
    epoch_start_every = ONCE

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        encoder: str = "",
        clusters: Count = 256,
        positives: Count = 8,
        share: Share = 0.5,
        scale: Positive = 16.0,
        shift: Finite = 0.25,
        joint: bool = False,
    ) -> None:
        super().__init__(towers)
        if positives >= clusters:
            raise ValueError(f"positives={positives} of clusters={clusters}: some clusters must be negatives")
        if encoder:
            check_weights("encoder", encoder)
        self.views = paired(towers)
        self.encoder, self.share, self.positives = encoder, share, positives
        self.classes = ClassHead(self.image_tower.width, clusters, "cosine", 1.0)
        self.items = ItemState(positives=[-1.0] * positives)
        self.objective = MLCDLoss(scale, shift, joint=joint)
        self._sample = torch.arange(clusters)

    def check_start(self, rows: int) -> None:
        if (clusters := len(self.classes.weight)) > rows:
            raise ValueError(
                f"clusters={clusters} of {counted(rows, 'row')} to train on: a cluster has a picture at least; give "
                f"clusters={rows} or less"
            )
        self._clustered()

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        """Cluster the encoder's embeddings of all pictures."""
        (column,), encoder = self.columns, self._clustered()

        def embedded(batch: Batch) -> Float[Tensor, "B d"]:
            return F.normalize(encoder(batch[column]), dim=-1).float()

        seed = int(torch.randint(2**31, ()))  # the same on every rank
        nearest = nearest_centres(examples.map(embedded), len(self.classes.weight), self.positives, seed=seed)
        device = self.items.ids.device
        self.items.store(examples.ids.to(device), positives=nearest.float().to(device))

    def prepare(self, batch: Batch, clock: StepInfo) -> Batch:
        """Draw the classes that take part in the step."""
        ranks = Processes.present()
        of_all = ranks.gather(self._positives(batch), ranks.counts(len(batch), batch.ids.device))
        there = torch.unique(of_all[of_all >= 0]).cpu()
        clusters = len(self.classes.weight)
        # On the processor, where the loop seeds every rank alike.
        order = torch.rand(clusters).index_fill(0, there, 2.0)
        self._sample = order.topk(max(round(self.share * clusters), len(there), 1)).indices.sort().values
        return batch

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        (features,) = (z[column] for column in self.columns)
        positives, sample = self._positives(batch), self._sample.to(batch.ids.device)
        places = torch.where(positives < 0, -1, torch.searchsorted(sample, positives))
        rows, bank, _ = self.classes(features)
        return {"mlcd": self.objective(rows, bank[sample], positives=places)}

    def passes_of_all(self) -> dict[str, float]:
        return {"image": 1}

    def _positives(self, batch: Batch) -> Int[Tensor, "B l"]:
        return self.items.recall(batch.ids)[0].long()

    def _clustered(self) -> ImageTower:
        tower = self.image_tower
        if not self.encoder:
            return tower
        encoder = trained_tower("encoder", self.encoder, tower.size)
        return encoder.eval().to(self.classes.weight.device)
