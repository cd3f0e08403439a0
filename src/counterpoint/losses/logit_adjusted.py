"""Cross-entropy of class scores to which the log of how frequent a class is was added."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Fraction, NonNegative
from ._class_scores import ClassLoss, checked
from .cross_entropy import CrossEntropyLoss


class LogitAdjustedLoss(ClassLoss):
    """Each example must find its class although frequent classes have a start.

        loss = CrossEntropy(s_ic + τ log π_c),   s_ic = <z_i, w_c> + b_c

    π_c is the share of class c among the training examples. In training the frequent classes are what they are by
    their number; afterwards the scores without it are those of classes that are equally frequent. Of equal shares, or
    with τ = 0, it is `CrossEntropyLoss`.

    Args:
        tau: τ. 1 is the Bayes-optimal choice, and the paper's.
        smoothing: of the targets, see `CrossEntropyLoss`.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Menon et al., "Long-tail learning via logit adjustment" (2021), arXiv 2007.07314; the supervised branch of
    Suh and Seo (2023), arXiv 2305.01160.

    >>> import torch
    >>> w = torch.eye(2)                              # scores 1 and 0, the second class three times as frequent
    >>> loss = LogitAdjustedLoss()(w[:1], w, torch.tensor([0.25, 0.75]), labels=torch.tensor([0]))
    >>> round(loss.item(), 4)                         # log(1 + 3 / e)
    0.7437
    """

    family = "supervised"
    papers = ("gml",)

    def __init__(self, tau: NonNegative = 1.0, *, smoothing: Fraction = 0.0) -> None:
        super().__init__()
        self.tau, self.cross_entropy = tau, CrossEntropyLoss(smoothing)

    def forward(
        self,
        z: Float[Tensor, "B d"],
        bank: Float[Tensor, "C d"],
        prior: Float[Tensor, " C"],
        bias: Float[Tensor, " C"] | None = None,
        *,
        labels: Int[Tensor, " B"],
        weights: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of examples and class vectors; ``prior`` is π, > 0, the rest as `CrossEntropyLoss` has it."""
        z, bank = checked(z, bank, labels)
        adjustment = self.tau * prior.log()
        return self.cross_entropy(
            z, bank, adjustment if bias is None else bias + adjustment, labels=labels, weights=weights
        )
