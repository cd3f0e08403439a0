"""Skewed divergences of a student's distributions from a teacher's."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Fraction
from ..pairwise.inputs import paired
from ..pairwise.loss import Loss


class SkewedDivergenceLoss(Loss):
    """The mean Kullback–Leibler divergence from a mixture of the teacher's distribution p and the student's q.

        forward:  KL(p ‖ α p + (1 − α) q)
        reverse:  KL(q ‖ (1 − α) p + α q')

    α is the weight of the teacher in the forward mixture and of the student in the reverse one. q' is q without
    gradient; the teacher gets no gradient. With α = 0 these are KL(p ‖ q) and KL(q ‖ p), with α = 1 the value is 0.

    Args:
        alpha: α.
        reverse: the divergence of the student's distribution instead of the teacher's.

    Raises:
        ValueError: for logits of another shape than ``(n, classes)``, or of different shapes.

    Source: Ko et al., "DistiLLM-2: A Contrastive Approach Boosts the Distillation of LLMs" (2025), arXiv 2503.07067.

    >>> SkewedDivergenceLoss(0.0)(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 100.0]])).item()  # log 2
    0.6931471824645996
    """

    family = "self-distillation"
    stop_gradient = True
    papers = ("distillm-2",)

    def __init__(self, alpha: Fraction = 0.1, *, reverse: bool = False) -> None:
        super().__init__()
        self.alpha, self.reverse = alpha, reverse

    def forward(
        self,
        student: Float[Tensor, "n V"],
        teacher: Float[Tensor, "n V"],
        weights: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss.

        Args:
            student, teacher: logits.
            weights: of the rows; all the same unless given.
        """
        student, teacher = paired(student=student, teacher=teacher)
        return self.mean(self.of_rows(student, teacher), weights)

    def of_rows(self, student: Float[Tensor, "n V"], teacher: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
        """Return the divergence of each row."""
        log_q, log_p = student.log_softmax(1), teacher.detach().log_softmax(1)
        if self.reverse:
            mixture = torch.logaddexp(_log(1 - self.alpha) + log_p, _log(self.alpha) + log_q.detach())
            return (log_q.exp() * (log_q - mixture)).sum(1)
        mixture = torch.logaddexp(_log(self.alpha) + log_p, _log(1 - self.alpha) + log_q)
        return (log_p.exp() * (log_p - mixture)).sum(1)


def _log(share: float) -> float:
    return math.log(share) if share else -math.inf
