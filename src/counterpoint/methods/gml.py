"""GML: a logit-adjusted classifier, and contrast with keys of every class, which score by their mean."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import Count, Fraction, NonNegative, Positive
from ..losses import GMLLoss
from ..networks import MomentumCopy
from ..networks.base import Towers
from ..networks.heads import mlp
from ..networks.state.class_queue import ClassQueue
from ..networks.state.momentum import PREFIX
from ..pairwise import Temperature
from ..pairwise.ranks import Ranks as Processes
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target, TrainingExamples
from .base import Ranges
from .logit_adjusted import LogitAdjusted
from .tower_method import contrasted


class GML(LogitAdjusted):
    """Three views of each example of a column: one is classified, and two are contrasted with the keys of classes.

        s = cos(f(view), w) · 30,   q = nz(g(f(view 1))),   k = nz(g_m(f_m(view 2))),   nz(u) = u / ‖u‖
        L = CE(s + log π, y) + β · GML(q, keys of the queue and of this step, y, π)
        after the step:  θ_m ← m θ_m + (1 − m) θ,  and each k takes the place of the oldest of its class

    The queue has a part for every class, so that rare classes keep their keys. This step's keys are met too, as the
    release has it, which puts them into its queue first: each query meets its own key. The queue keeps the keys k, as
    that of `MoCo` does, so that old keys are of an earlier g_m; the release keeps the features f_m and applies g_m to
    all of them in every step. With β = 0 it is
    `LogitAdjusted` with cosines. A user gets the tower's own features, and the classes without log π.

    Args:
        towers: the tower, by its column.
        recipe: gives the width of the keys: ``ssl_output``.
        target: the label that is learned.
        weight: β.
        temperature: where T starts, which is learned by a branch of its own.
        momentum: m. The paper's 0.999 is for long runs on large data.
        queue: the number of keys.
        least: how many of them every class has at least.
        average: whether a class scores by the mean over its keys; else by their sum, a control.
        adjusted: whether log π stands in the contrast too; without it, a control.

    Raises:
        ValueError: without a label, and for a queue with fewer places than the classes are to have.

    Source: Suh and Seo, "Long-Tailed Recognition by Mutual Information Maximization between Latent Features and
    Ground-Truth Labels" (2023), arXiv 2305.01160. Keys from a frozen teacher, and distillation from it, are not built;
    g is a perceptron without batch norms, as in `MoCo`.
    """

    family = "supervised"
    papers = ("gml",)
    tunable: ClassVar[Ranges] = {"temperature": (0.05, 0.5), "weight": (0.1, 2.0)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        weight: NonNegative = 1.0,
        temperature: Positive = 0.1,
        momentum: Fraction = 0.99,
        queue: Count = 1024,
        least: Count = 2,
        average: bool = True,
        adjusted: bool = True,
    ) -> None:
        super().__init__(towers, recipe, target=target, head="cosine", temperature=1 / 30)
        ((column, tower),) = towers.items()
        contrast = contrasted(column, tower, 2)
        self.query, self.key = contrast
        self.views = {**self.views, **contrast}
        width = recipe.widths.ssl_output
        self.projection = mlp(tower.width, tower.width, width, layers=2, norm=False)
        self.momentum = MomentumCopy(nn.Sequential(tower, self.projection), momentum)
        self.queue = ClassQueue(queue, width, len(self.prior), least=least)
        self.contrast = GMLLoss(Temperature(temperature), average=average)
        self.weight, self.adjusted = weight, adjusted

    def on_epoch_start(self, examples: TrainingExamples, clock: StepInfo) -> None:
        super().on_epoch_start(examples, clock)
        self.queue.divide(self.prior)

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        return {PREFIX + self.key: F.normalize(self.momentum(batch[self.key]), dim=-1)}

    def encode(self, batch: Batch) -> Embeddings:
        (column,) = self.columns
        return {**super().encode(batch), self.query: self.features(column, batch[self.query])}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        q, k, labels = (
            F.normalize(self.projection(z[self.query]), dim=-1),
            z[PREFIX + self.key],
            self.classes(batch),
        )
        processes = Processes.present()
        counts = processes.counts(len(k), k.device)
        keys, key_labels, key_ids = (
            torch.cat([kept.to(new.dtype), processes.gather(new, counts)])
            for kept, new in ((self.queue.keys, k), (self.queue.labels, labels), (self.queue.ids, batch.ids))
        )
        prior = self.prior if self.adjusted else None
        contrast = self.contrast(q, keys, key_labels, prior, key_ids, labels=labels, ids=batch.ids)
        return {**super().losses(z, batch, clock), "gml": self.weight * contrast}

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        self.momentum.update()
        self.queue.enqueue(z[PREFIX + self.key], batch.ids, self.classes(batch))
