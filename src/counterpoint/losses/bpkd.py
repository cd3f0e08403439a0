"""BPKD's loss: a segmenter learns a teacher's logits near borders by pixel, and elsewhere by class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Count, NonNegative, Positive
from ..pairwise.inputs import lacks_rows, upcast
from ..pairwise.loss import Loss
from ..raw import UNKNOWN
from ._distillation import channel_divergence, pixel_divergence


class BPKDLoss(Loss):
    """Divergences of masked logits: of the band around the borders of each class, and of the rest.

        L   = edge · L_E + body · L_B
        L_E = mean_b Σ_c α / n_bc Σ_i M_bci T² KL(softmax_c(Z'_bi M_bi / T) ‖ softmax_c(Z_bi M_bi / T))
        L_B = mean_b 1/C Σ_c T² KL(softmax_i(Z'_bc (1 − M_bc) / T) ‖ softmax_i(Z_bc (1 − M_bc) / T))

    Z are the student's logits, Z' the teacher's, which get no gradient. M is 1 within ``radius`` pixels of a border of
    class c and 0 elsewhere, averaged over the pixels of a patch; n_bc = max(1, Σ_i M_bci). The mask multiplies logits
    before the softmax: where it is 0 for all classes, both sides are uniform and differ by nothing. A pixel may be in
    the band of two classes and in the body of the others.

    Args:
        temperature: T.
        edge, body: weights of the terms.
        alpha: α.
        radius: of the band, in pixels of the labels.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Liu et al., "BPKD: Boundary Privileged Knowledge Distillation For Semantic Segmentation" (2023), arXiv
    2306.08075. No training code is published. Two other implementations agree on the band and differ in T (1 and 4) and
    in n, which one of them takes for the number of patches with M > 0.

    >>> labels = torch.zeros(1, 8, 8, dtype=torch.long)  # one class: no border
    >>> BPKDLoss(body=0.0)(torch.randn(1, 3, 2, 2), torch.randn(1, 3, 2, 2), labels).item()
    0.0
    """

    family = "self-distillation"
    stop_gradient = True
    papers = ("bpkd",)

    def __init__(
        self,
        temperature: Positive = 4.0,
        edge: NonNegative = 50.0,
        body: NonNegative = 20.0,
        alpha: NonNegative = 2.0,
        radius: Count = 3,
    ) -> None:
        super().__init__()
        self.temperature, self.edge, self.body = temperature, edge, body
        self.alpha, self.radius = alpha, radius

    def forward(
        self,
        student: Float[Tensor, "B C h w"],
        teacher: Float[Tensor, "B C h w"],
        labels: Int[Tensor, "B H W"],
    ) -> Float[Tensor, ""]:
        """Return the loss of logits, and of classes, 255 where they are not known."""
        if student.ndim != 4 or student.shape != teacher.shape or lacks_rows(student):
            raise ValueError(
                f"student and teacher must be logits (B, C, h, w) of one shape, got {tuple(student.shape)} and "
                f"{tuple(teacher.shape)}"
            )
        if labels.ndim != 3 or len(labels) != len(student):
            raise ValueError(f"labels must be ({len(student)}, H, W), got {tuple(labels.shape)}")
        z, target = upcast(student), upcast(teacher)
        mask = band(labels, z.shape[1], self.radius).to(z)
        mask = F.adaptive_avg_pool2d(mask, (z.shape[2], z.shape[3]))
        at_edge = pixel_divergence(z * mask, target * mask, self.temperature)
        weights = mask.flatten(2)
        weights = self.alpha * weights / weights.sum(2, keepdim=True).clamp_min(1)
        inside = channel_divergence(z * (1 - mask), target * (1 - mask), self.temperature)
        return self.mean(self.edge * (weights * at_edge[:, None]).sum((1, 2)) + self.body * inside.mean(1))


def band(labels: Int[Tensor, "B H W"], classes: int, radius: int) -> Float[Tensor, "B C H W"]:
    """Return 1 for pixels within a radius, also diagonally, of a border of a class; 0 where the class is not known.

    >>> band(torch.tensor([[[0, 0, 0, 1, 1, 1]]]), 2, 1)[0, 1].tolist()
    [[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]]
    """
    known = labels != UNKNOWN
    one_hot = F.one_hot(torch.where(known, labels, 0).long(), classes) * known[..., None]
    one_hot = one_hot.movedim(-1, 1).to(torch.float32)

    def widest(values: Tensor) -> Tensor:
        return F.max_pool2d(values, 2 * radius + 1, stride=1, padding=radius)

    return (widest(one_hot) - (1 - widest(1 - one_hot))) * known[:, None]
