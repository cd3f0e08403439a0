"""PixPro's loss: the patches of one view predict those of the other that lie near them in the picture."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import lacks_rows, upcast
from ..pairwise.loss import Loss


class PixProLoss(Loss):
    """Positive pairs of patches of two views of a picture agree; with a temperature, they are also told from others.

        PixPro:       L = 2 − 2 mean_b [ Σ_pq A_bpq <y_bp, x_bq> / Σ_pq A_bpq ]
        PixContrast:  L = mean_b mean_{p: A_bp ≠ 0} −log [ Σ_q A_bpq exp(<y_bp, x_bq>/τ) / Σ_q exp(<y_bp, x_bq>/τ) ]

    A is 1 for positive pairs. The mean over b is over the pictures that have a positive pair: others weigh nothing, and
    without any the loss is 0. The targets x get no gradient. Negatives are patches of the same picture.

    Args:
        temperature: τ of PixContrast, 0.3 in the paper; none for PixPro, which has no negatives.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Xie et al., "Propagate Yourself: Exploring Pixel-Level Consistency for Unsupervised Visual Representation
    Learning" (2020), arXiv 2011.10043. The mean per picture of PixContrast is this package's choice.

    >>> x = torch.eye(4)[None]
    >>> PixProLoss()(x, x, torch.eye(4).bool()[None]).item()
    0.0
    >>> round(PixProLoss(temperature=1.0)(x, x, torch.eye(4).bool()[None]).item(), 4)  # log(1 + 3 / e)
    0.7437
    """

    family = "self-distillation"
    stop_gradient = True
    papers = ("pixpro",)

    def __init__(self, temperature: Positive | None = None) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self,
        prediction: Float[Tensor, "B P d"],
        target: Float[Tensor, "B Q d"],
        positive: Bool[Tensor, "B P Q"],
    ) -> Float[Tensor, ""]:
        """Return the loss of unit-norm predictions and targets; ``positive`` is A."""
        _check(prediction, target, positive)
        y, x = upcast(prediction), upcast(target).detach()
        with torch.autocast(y.device.type, enabled=False):
            cosine = y @ x.mT
        pairs = positive.to(cosine.dtype)
        count = pairs.sum((1, 2))
        if self.temperature is None:
            return 2 * self.mean(1 - (pairs * cosine).sum((1, 2)) / count.clamp(min=1), (count > 0).to(count))
        scores = cosine / self.temperature
        anchors = positive.any(2)
        # An anchor without a positive has none in its sum, whose logarithm has no gradient.
        chosen = scores.masked_fill(~positive & anchors[..., None], -torch.inf).logsumexp(2)
        terms = (scores.logsumexp(2) - chosen) * anchors
        return self.mean(terms.sum(1) / anchors.sum(1).clamp(min=1), (count > 0).to(count))


def _check(prediction: Tensor, target: Tensor, positive: Tensor) -> None:
    for name, patches in (("prediction", prediction), ("target", target)):
        if patches.ndim != 3 or 0 in patches.shape[1:] or lacks_rows(patches):
            raise ValueError(f"{name} must be (B, patches, d) of no size 0, got {tuple(patches.shape)}")
    if len(prediction) != len(target) or prediction.shape[2] != target.shape[2]:
        raise ValueError(
            f"prediction is {tuple(prediction.shape)} but target is {tuple(target.shape)}: picture i of one must be "
            "picture i of the other, in the same dimensions"
        )
    if positive.shape != (*prediction.shape[:2], target.shape[1]) or positive.dtype != torch.bool:
        raise ValueError(
            f"positive must be boolean {(*prediction.shape[:2], target.shape[1])}, got {positive.dtype} "
            f"{tuple(positive.shape)}"
        )
