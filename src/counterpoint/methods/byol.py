"""BYOL: one view predicts what a slow copy says of the other, without negatives; and its self-labelled form."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..forms import Fraction
from ..losses import CrossSimilarityLoss, NegativeCosineLoss
from ..losses.cross_similarity import Threshold
from ..modalities import MODALITIES
from ..networks import MomentumCopy
from ..networks.base import Towers
from ..networks.heads import mlp
from ..networks.state.momentum import PREFIX, Schedule
from ..recipes.schema import Recipe
from ..types import Batch, Embeddings, StepInfo, View
from .needs import Needs
from .tower_method import TowerMethod

_LOOKS = {"image": ("byol_1", "byol_2")}
"""The two views of a modality, where they differ from each other."""


class BYOL(TowerMethod):
    """Two views of an example, each predicting the slow projection of the other.

        v_m = nz(g_m(f_m(view))),  p = nz(h(g(f(view)))),  L = D(p_1, v_m2) + D(p_2, v_m1),  D(p, v) = 2 − 2 mean <p, v>
        after the step:  θ_m ← m θ_m + (1 − m) θ,   m from ``momentum`` to 1 along a cosine

    f is the tower, g and h are the projector and the predictor, both left off afterwards: a user gets the tower's own
    features. ``self_label`` lets all pairs of the batch that are alike attract each other too, as D of these
    (`counterpoint.losses.CrossSimilarityLoss`); the share of such pairs is logged as ``self_labelled``. Features that
    have collapsed make all pairs alike, so that the first steps are BYOL's (``warmup``).

    Args:
        towers: the tower, by its column.
        recipe: gives the widths: ``ssl_hidden``, ``ssl_output``.
        momentum: m at the start. The paper's 0.996 is for long runs on large data.
        schedule: ``"constant"`` for the same m all through, as in the self-labelled form's release.
        norm: whether projector and predictor have batch norms.
        self_label: ``"cosine"`` (CCSL), ``"sigmoid"`` (CSSL), or ``"none"``.
        positive: pairs from this cosine, or probability, on are alike.
        negative: pairs to this probability are unlike, in the sigmoid form.
        warmup: the share of the steps without self-labels.

    Source: Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning" (2020), arXiv
    2006.07733; Garg and Jain, "Self-Labeling Refinement for Robust Representation Learning with Bootstrap Your Own
    Latent" (2022), arXiv 2204.04545.
    """

    family = "images"
    papers = ("byol-ccsl",)
    needs: ClassVar[Needs] = Needs(1, 1, prefers="image")

    def __init__(
        self,
        towers: Towers,
        recipe: Recipe,
        *,
        momentum: Fraction = 0.99,
        schedule: Schedule = "cosine",
        norm: bool = True,
        self_label: Literal["none", "cosine", "sigmoid"] = "none",
        positive: Threshold = 0.8,
        negative: Threshold = 0.2,
        warmup: Fraction = 0.2,
    ) -> None:
        super().__init__(towers)
        ((column, tower),) = towers.items()
        looks = _LOOKS.get(tower.modality, (MODALITIES.get(tower.modality).contrasted,) * 2)
        self.views = {f"{column}.{n}": View(tower.modality, look, column) for n, look in enumerate(looks, 1)}
        hidden, width = recipe.widths.ssl_hidden, recipe.widths.ssl_output
        self.projection = mlp(tower.width, hidden, width, layers=2, norm=norm)
        self.predictor = mlp(width, hidden, width, layers=2, norm=norm)
        self.momentum = MomentumCopy(nn.Sequential(tower, self.projection), momentum, schedule)
        self.objective = NegativeCosineLoss()
        self.alike = None
        if self_label != "none":
            self.alike = CrossSimilarityLoss(self_label, positive=positive, negative=negative)
        self.warmup = warmup

    @torch.no_grad()
    def targets(self, batch: Batch) -> Embeddings:
        return {PREFIX + view: F.normalize(self.momentum(batch[view]), dim=-1) for view in self.views}

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        first, second = self.views
        p = {view: F.normalize(self.predictor(self.projection(z[view])), dim=-1) for view in self.views}
        distance = self.objective if self.alike is None or clock.progress < self.warmup else self.alike
        return {"byol": distance(p[first], z[PREFIX + second]) + distance(p[second], z[PREFIX + first])}

    def after_step(self, z: Embeddings, batch: Batch, clock: StepInfo) -> None:
        super().after_step(z, batch, clock)
        self.momentum.update(clock.progress)

    def numbers(self) -> dict[str, float]:
        if self.alike is None or self.alike.share.isnan():  # nothing was chosen yet
            return {}
        return {"self_labelled": float(self.alike.share)}

    def passes(self) -> dict[str, float]:
        return {modality: 2 * count for modality, count in super().passes().items()}
