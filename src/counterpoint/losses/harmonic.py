"""Harmonic loss: classes by an inverse power of the distance to their vectors."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import softplus, squared_distance
from ..pairwise.reductions import LogSumExp
from ..pairwise.tile import NEG, Tile
from ._class_scores import ClassLoss, checked


class HarmonicLoss(ClassLoss):
    """Each example must lie nearer to its class's vector than to any other, by ratios of distances.

        p_ic = d_ic^−n / Σ_j d_ij^−n,   d_ic² = ‖z_i − w_c‖² + ε,   loss = −mean_i log p_iy

    p does not change where everything is scaled (but for ε), so that the loss nears 0 at finite vectors, and the
    vectors of classes become their centres. n acts on distances: the release takes its n of squared ones, so that its n
    is half of this one. There is no bias. In the log domain; the example's own class is scored by differences, as
    ‖z‖² − 2<z, w> + ‖w‖² loses a small distance in float32.

    Args:
        exponent: n; √d unless given, the least that the paper recommends (from about √d to d).
        epsilon: ε, the release's.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Baek et al., "Harmonic Loss Trains Interpretable AI Models" (2025), arXiv 2502.01628.

    >>> w = torch.tensor([[0.0, 0.0], [3.0, 0.0]])    # distances 1 and 2: p = 1 / (1 + 2^−2)
    >>> loss = HarmonicLoss(exponent=2.0, epsilon=1e-9)
    >>> round(loss(torch.tensor([[1.0, 0.0]]), w, labels=torch.tensor([0])).exp().item(), 4)
    1.25
    """

    family = "supervised"
    papers = ("harmonic-loss",)

    def __init__(self, exponent: Positive | None = None, *, epsilon: Positive = 1e-4) -> None:
        super().__init__()
        self.exponent, self.epsilon = exponent, epsilon

    def forward(
        self,
        z: Float[Tensor, "B d"],
        bank: Float[Tensor, "C d"],
        *,
        labels: Int[Tensor, " B"],
        weights: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of examples and class vectors; see `CrossEntropyLoss` for the arguments."""
        z, bank = checked(z, bank, labels)
        y = labels.clamp_min(0)

        def terms(tile: Tile) -> dict[str, dict[str, LogSumExp]]:
            s = self.log_power(tile.squared_distance(), z.shape[1])
            return {"row": {"others": LogSumExp(s.masked_fill(tile.row.label[:, None] == tile.j, NEG))}}

        r = self.reduce(terms, rows={"z": z, "label": y}, columns={"z": bank}, same_columns=True)
        target = self.log_power(squared_distance(z, bank[y]), z.shape[1])
        return self.mean_of_known(softplus(r.row.others - target), labels, weights)

    def log_power(self, squared: Float[Tensor, "*shape"], width: int) -> Float[Tensor, "*shape"]:
        """Return ``log d^−n`` from squared distances of vectors of a width."""
        n = width**0.5 if self.exponent is None else self.exponent
        return -n / 2 * (squared.clamp_min(0.0) + self.epsilon).log()

    def scores(self, z: Float[Tensor, "B d"], bank: Float[Tensor, "C d"]) -> Float[Tensor, "B C"]:
        """Return log-probabilities of the classes but for a constant of each example; exact, and dense."""
        distances = torch.cdist(z.float(), bank.float(), compute_mode="donot_use_mm_for_euclid_dist")
        return self.log_power(distances.square(), z.shape[1])
