"""The spectral contrastive loss of two modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise import moments
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import Loss


class SpectralLoss(Loss):
    """Matched pairs have a large inner product, others an inner product near 0.

        loss = −2 μ mean_i <x_i, y_i> + μ² mean_{i ≠ j} <x_i, y_j>²

    In expectation this is ``‖Ã − F Gᵀ‖²`` up to a constant, Ã the normalised joint probability of the two
    modalities and F, G their embeddings: its minimum is the best approximation of Ã of rank d. Pairs i ≠ j
    stand for independent draws.

    No pair need be formed: the sum of all <x_i, y_j>² is the trace of the product of the second moments
    ``Σ_i x_i x_iᵀ`` and ``Σ_j y_j y_jᵀ``, of d × d each, from which the diagonal is taken away.

    A batch of one has no other pair: the first term alone is returned.

    Args:
        mu: μ > 0, the squared length that embeddings are given; it takes the part of a temperature, as it
            decides how much a pair at a right angle costs against a match.

    Raises:
        ValueError: for a μ that is not positive, or embeddings that do not pair up.

    Source: HaoChen et al., "Provable Guarantees for Self-Supervised Deep Learning with Spectral Contrastive
    Loss" (2021), arXiv 2106.04156; for two modalities Zhang et al., "On the Generalization of Multi-modal
    Contrastive Learning" (2023), arXiv 2306.04272.

    >>> import torch
    >>> x = torch.eye(4)
    >>> SpectralLoss()(x, x).item(), SpectralLoss()(x[:2], x[[0, 0]]).item()     # -2 + 0, and -2/2 + 1/2
    (-2.0, -0.5)
    """

    family = "alignment and uniformity"
    is_method = True
    symmetric = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"mu": (1.0, 10.0)}
    papers = ("mmcl-generalization", "kernel-infonce")

    def __init__(self, mu: Positive = 1.0) -> None:
        super().__init__()
        self.mu = mu

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one belongs to row i of the other."""
        x, y = paired(x=x, y=y)
        n, matched = self.count(x), dot(x, y)
        loss = -2 * self.mu * self.mean(matched)
        if n == 1:
            return loss
        second_x, second_y = (moments.cross_moment(z, z, ranks=self.ranks) for z in (x, y))
        all_pairs = (second_x * second_y).sum()  # the mean over i and j, equal ones included
        return loss + self.mu**2 * (n * all_pairs - self.mean(matched.square())) / (n - 1)
