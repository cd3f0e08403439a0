"""Shared parts of the losses of examples against a vector of each class: a bank, tiled like any similarity."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss


class ClassLoss(PairwiseLoss):
    """The shared base of the losses of examples ``(B, d)`` against the vectors of classes ``(C, d)``.

    Class vectors are the same on every rank. Their gradient there is the part of that rank's own examples; averaged
    over ranks, as data parallelism does, it is that of one process. Under tiles no ``(B, C)`` exists.
    """

    def mean_of_known(
        self, losses: Float[Tensor, " B"], labels: Int[Tensor, " B"], weights: Float[Tensor, " B"] | None
    ) -> Float[Tensor, ""]:
        """Return the (weighted) mean over the examples of all ranks that have a class, 0 where none has."""
        known = (labels >= 0).to(losses.dtype)
        return self.mean(losses, known if weights is None else known * weights)


def checked(z: Tensor, bank: Tensor, labels: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the examples, and the class vectors in the same precision; refuse what does not fit."""
    z, bank = matched(z, bank, bias)
    if labels.shape != z.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"z is {tuple(z.shape)} but labels {tuple(labels.shape)} {labels.dtype}: "
            "row i of one must belong to row i of the other, one integer each"
        )
    return z, bank


def matched(z: Tensor, bank: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the examples, and the class vectors in the same precision; refuse widths that differ."""
    (z,), (bank,) = paired(z=z), paired(bank=bank)
    if bank.shape[1] != z.shape[1]:
        raise ValueError(f"z has {z.shape[1]} dimensions but bank {bank.shape[1]}")
    if bias is not None and bias.shape != bank.shape[:1]:
        raise ValueError(f"bias must be one number per class, ({len(bank)},), got {tuple(bias.shape)}")
    return z, bank.to(z.dtype)


def columns_of(bank: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
    """Return the column tensors of classes, with their biases where they have some."""
    return {"z": bank} if bias is None else {"z": bank, "bias": bias.to(bank.dtype)}
