"""The joint entropy of two codes, by a kernel estimate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.tile import Tile


class JointEntropyLoss(PairwiseLoss):
    """Minus the joint entropy of two codes of the same examples, with Gaussian kernels.

        loss = mean_i log mean_j exp(−‖x_i − x_j‖² / 2τ) exp(−‖y_i − y_j‖² / 2τ)

    To minimise it is to maximise the entropy; where the entropy of each code by itself is held, that lowers what one
    tells of the other, I(x; y) = H(x) + H(y) − H(x, y). The own pair j = i is among the B, so that the loss lies
    between −log B, where any two examples differ much in some code, and 0, where all are alike in both.

    Neither code need be unit-norm: all-zero rows are codes too. The codes may differ in width.

    Args:
        temperature: τ.

    Raises:
        ValueError: for an option out of its range, and for codes that do not pair up.

    Source: Louiset et al., "Separating common from salient patterns with Contrastive Representation Learning" (2024),
    arXiv 2402.11928.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.zeros(2, 3)    # log of the mean of 1 and 1/e
    >>> round(JointEntropyLoss()(x, y).item(), 4)
    -0.3799
    """

    family = "alignment and uniformity"
    symmetric = True
    papers = ("sepclr",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.1, 2.0)}

    def __init__(self, temperature: Positive = 0.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B e"]) -> Float[Tensor, ""]:
        """Return the loss of codes ``x`` and ``y``."""
        if x.shape[:-1] != y.shape[:-1]:
            raise ValueError(
                f"x is {tuple(x.shape)} but y is {tuple(y.shape)}: row i of one must belong to row i of the other"
            )
        # A product of Gaussians is the Gaussian of both distances, those of the two codes side by side.
        (z,) = paired(z=torch.cat([x, y], -1))

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            return {"row": {"all": LogSumExp(-tile.squared_distance() / (2 * self.temperature))}}

        r = self.reduce(terms, rows={"z": z}, columns={"z": z})
        return self.mean(r.row.all) - math.log(self.count(z))
