"""The distance of a prediction from a target that does not move, as in BYOL and SimSiam."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..pairwise.inputs import dot, paired
from ..pairwise.loss import Loss


class NegativeCosineLoss(Loss):
    """``D(p, v) = 2 − 2 mean_i <p_i, sg(v_i)>``, in [0, 4].

    0 where prediction and target agree, 2 for independent directions. The target is detached here; without
    that the two collapse onto a point.

    Source: Grill et al. (2020), arXiv 2006.07733; Chen and He (2020), arXiv 2011.10566; across modalities
    (SiamLIP, BYOLIP): Fini et al. (2023), arXiv 2305.08675.

    >>> import torch
    >>> NegativeCosineLoss()(torch.eye(3), torch.eye(3)).item()
    0.0
    """

    family = "self-distillation"
    stop_gradient = True
    papers = ("clip-rocket",)

    def forward(self, prediction: Float[Tensor, "B d"], target: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the distance of unit-norm predictions from unit-norm targets."""
        prediction, target = paired(prediction=prediction, target=target)
        return 2 - 2 * self.mean(dot(prediction, target.detach()))
