"""InfoNCE under other kernels than the Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired, squared_distance
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile

Mix = Literal["none", "loss", "kernel", "concatenation"]
"""The way in which a kernel is combined with the Gaussian one."""
LogKernel = Callable[[Tensor, Tensor], Tensor]
"""From squared distances and 1/τ to log k."""

_CLOSEST = 1e-6
"""Added to squared distances: the gradient of d^γ has a pole at 0 for γ < 2."""


class KernelInfoNCELoss(PairwiseLoss):
    """Each view must find the other view of its example, by a kernel of their distance.

    With z = [x; y], 2B anchors a, and the kernel ``log k_γ(a, b) = −‖z_a − z_b‖^γ / τ``:

        L(k) = mean_a  log Σ_{b ≠ a} k(a, b) − log k(a, partner(a))

    γ = 2 is the Gaussian kernel, 1 the Laplacian. On the sphere ‖a − b‖² = 2 − 2 cos, so that the Gaussian at τ
    is `NTXentLoss` at τ/2: match temperatures before kernels are compared. The sums of kernels:

    =================  =====================================================================================
    ``none``           L(k_γ)
    ``loss``           λ L(k_γ) + (1 − λ) L(k_2), as in the authors' code
    ``kernel``         L(λ k_γ + (1 − λ) k_2), as in the paper
    ``concatenation``  λ L(k_γ) of the first half of the dimensions + (1 − λ) L(k_2) of the second
    =================  =====================================================================================

    Distances are √(‖a − b‖² + 10⁻⁶), as the gradient of ‖a − b‖^γ is infinite where two views coincide. For γ ≤ 1 in
    float32 they are imprecise near collapse: all views within 10⁻³ of each other leave the gradient off by 0.2 %,
    within 10⁻⁴ by 3 %. A batch of one has no negatives: the loss is 0.

    Args:
        gamma: γ in (0, 2]; the default is the Laplacian kernel, the authors' code has 2.
        mix: with the Gaussian kernel, and how.
        lam: λ in (0, 1), the share of γ's kernel in a mixture.
        temperature: τ; a number is fixed.

    Raises:
        ValueError: for an option out of its range, halves of a single dimension, or embeddings that do not
            pair up.

    Source: Tan et al., "Contrastive Learning Is Spectral Clustering On Similarity Graph" (2023), arXiv
    2303.15103.

    >>> x = torch.eye(4)                              # the partner at distance 0, six others at √2
    >>> loss = KernelInfoNCELoss(gamma=2.0, temperature=2.0)
    >>> round(loss(x, x).item(), 4)                   # log(1 + 6 / e)
    1.1654
    """

    family = "alignment and uniformity"
    is_method = True
    symmetric = True
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.05, 1.0), "gamma": (0.5, 2.0)}
    papers = ("kernel-infonce",)

    def __init__(
        self,
        gamma: Annotated[float, Field(gt=0, le=2)] = 1.0,
        *,
        mix: Mix = "none",
        lam: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        temperature: Positive | Temperature = 0.1,
    ) -> None:
        super().__init__()
        self.gamma, self.mix, self.lam = gamma, mix, lam
        self.temperature = Temperature.of(temperature, Temperature(0.1))

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views ``x`` and ``y`` of the same examples."""
        x, y = paired(x=x, y=y)
        if self.mix == "none":
            return self._loss(x, y, self._power)
        if self.mix == "kernel":
            return self._loss(x, y, self._mixture)
        first, second = slice(None), slice(None)
        if self.mix == "concatenation":
            half = x.shape[1] // 2
            if half == 0:
                raise ValueError(
                    "a concatenation of kernels needs embeddings of at least 2 dimensions, got 1"
                )
            first, second = slice(half), slice(half, None)
        power = self._loss(x[:, first], y[:, first], self._power)
        gaussian = self._loss(x[:, second], y[:, second], self._gaussian)
        return self.lam * power + (1 - self.lam) * gaussian

    def _loss(self, x: Tensor, y: Tensor, log_kernel: LogKernel) -> Tensor:
        z, partner = torch.cat([x, y]), torch.cat([y, x])
        scale = self.temperature.inverse(z.dtype).to(z.device)

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            logits = log_kernel(tile.squared_distance(), tile.scale)
            return {"row": {"others": LogSumExp(tile.off_diagonal(logits))}}

        r = self.reduce(terms, rows={"z": z}, columns={"z": z}, shared={"scale": scale})
        return self.mean(r.row.others - log_kernel(squared_distance(z, partner), scale))

    def _power(self, squared: Tensor, scale: Tensor) -> Tensor:
        return -scale * (squared.clamp_min(0) + _CLOSEST) ** (self.gamma / 2)

    def _gaussian(self, squared: Tensor, scale: Tensor) -> Tensor:
        return -scale * squared

    def _mixture(self, squared: Tensor, scale: Tensor) -> Tensor:
        return torch.logaddexp(
            math.log(self.lam) + self._power(squared, scale),
            math.log1p(-self.lam) + self._gaussian(squared, scale),
        )
