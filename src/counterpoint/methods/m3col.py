"""M3CoL: mixtures aligned with their parts, then soft targets; classifiers of both modalities beside it."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..forms import Fraction, NonNegative, Positive
from ..losses import M3CoLoss, MultiSClipLoss
from ..networks.base import Towers
from ..networks.heads import Linear, mlp
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, Target
from .base import Ranges
from .classifying import Classifying
from .tower_method import distinct


class M3Col(Classifying):
    """L = λ · (M3Co for the first third of the steps, then MultiSClip) [+ CE(fusion) + CE(image) + CE(text)].

    Both contrastive losses act on the towers' own features u and v; only where their widths differ does a
    linear layer map the text. For M3Co each modality is mixed on its own,

        u~_i = b_i u_i + (1 − b_i) u_p(i),   b_i ~ Beta(β, β) with probability ``mixed``, else 1,

    with p a random permutation of the rank's batch, and compared with the unmixed other one. With β = 0.15
    shares lie near 0 and 1. The draws come from torch's generator.

    With a label three classifiers learn beside that: of each modality, and of the unmixed features of both
    together, which is the one to use (`classify`). Examples without a class (−1) are left out of them.

    Args:
        towers: the towers, by column.
        recipe: unused: no head has a width of its own.
        target: the label that the classifiers learn; None for none.
        weight: λ.
        mixing: the share of the steps with M3Co.
        beta: β > 0.
        mixed: the probability that an example is mixed.
        temperature: of M3Co; fixed.
        soft_temperature: of MultiSClip; fixed.

    Raises:
        ValueError: for β ≤ 0, probabilities outside [0, 1], and a label without at least 2 classes; in
            ``losses`` for one that the data does not have or that exceeds the classes.

    Source: Kumar et al., "Harnessing Shared Relations via Multimodal Mixup Contrastive Learning for
    Multimodal Classification" (2024), arXiv 2409.17777.
    """

    family = "fusion"
    papers = ("m3col",)
    draws = True
    tunable: ClassVar[Ranges] = {"temperature": (0.03, 0.3), "soft_temperature": (0.03, 0.3)}

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        target: Target | None = None,
        weight: NonNegative = 0.1,
        mixing: Fraction = 0.33,
        beta: Positive = 0.15,
        mixed: Fraction = 0.5,
        temperature: Positive = 0.1,
        soft_temperature: Positive = 0.125,
    ) -> None:
        super().__init__(towers, target)
        width = next(iter(towers.values())).width
        self.projections = nn.ModuleDict(
            {
                name: nn.Identity() if tower.width == width else Linear(tower.width, width)
                for name, tower in distinct(towers).items()
            }
        )
        self.m3co, self.multi_sclip = M3CoLoss(temperature), MultiSClipLoss(soft_temperature)
        self.weight, self.mixing, self.beta, self.mixed = weight, mixing, beta, mixed
        widths = {column: tower.width for column, tower in towers.items()}
        widths = {"fusion": sum(widths.values()), **widths}
        classes = 0 if target is None else len(target.classes)
        self.classifiers = nn.ModuleDict(
            {name: mlp(width, 256, classes, norm=False) for name, width in widths.items()} if classes else {}
        )

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        u, v = (self.project(column, z[column], "global") for column in self.columns)
        x, y = F.normalize(u, dim=-1), F.normalize(v, dim=-1)
        if clock.progress < self.mixing:
            # Draws of its own for each modality: a mixture meets the other one unmixed, never another mixture.
            mixed_x, partners_x, shares_x = self.mix(u)
            mixed_y, partners_y, shares_y = self.mix(v)
            contrastive = self.m3co(
                x,
                y,
                batch.ids,
                mixed_x=F.normalize(mixed_x, dim=-1),
                partners_x=batch.ids[partners_x],
                shares_x=shares_x,
                mixed_y=F.normalize(mixed_y, dim=-1),
                partners_y=batch.ids[partners_y],
                shares_y=shares_y,
            )
        else:
            contrastive = self.multi_sclip(x, y)
        return {"m3col": self.weight * contrastive, **self.classification(z, batch)}

    def mix(self, u: Float[Tensor, "B d"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return mixtures of ``u`` with its own rows, the row each was mixed with, and the share of the row itself."""
        partners = torch.randperm(len(u)).to(u.device)
        shares = torch.distributions.Beta(self.beta, self.beta).sample((len(u),))
        # A share of 1 is the example itself.
        shares = torch.where(torch.rand(len(u)) < self.mixed, shares, 1.0).to(u)
        return shares[:, None] * u + (1 - shares[:, None]) * u[partners], partners, shares

    def classification(self, z: Embeddings, batch: Batch) -> dict[str, Tensor]:
        """Compute the cross-entropy of every classifier over the labelled examples."""
        if self.target is None:
            return {}
        logits = {
            "fusion": self.logits(z, batch),
            **{column: self.classifiers[column](z[column]) for column in self.columns},
        }
        return {name: self.cross_entropy(of_classes, batch) for name, of_classes in logits.items()}

    def logits(self, z: Embeddings, batch: Batch) -> Float[Tensor, "B classes"]:
        """Return the logits of the classifier of both modalities."""
        return self.classifiers["fusion"](torch.cat([z[column] for column in self.columns], dim=1))
