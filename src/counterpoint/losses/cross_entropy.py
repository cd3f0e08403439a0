"""Cross-entropy of class scores."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from ..forms import Fraction
from ..pairwise.reductions import Gather, LogSumExp, Reduction, Sum
from ..pairwise.tile import Tile
from ._class_scores import ClassLoss, checked, columns_of


class CrossEntropyLoss(ClassLoss):
    """Each example must find its class among all classes.

        loss = mean_i  log Σ_c exp s_ic − (1 − ε) s_iy − (ε / C) Σ_c s_ic,   s_ic = <z_i, w_c> + b_c

    The classes are a bank of vectors, so that the scores of 100,000 of them need never exist at once. Examples labelled
    −1 count for nothing; the loss is 0 where all are. With ε = 0 it is PyTorch's cross-entropy of ``z @ w.T + b``.

    Args:
        smoothing: ε, the part of the target that all classes share.

    Raises:
        ValueError: for shapes that do not fit.

    Source: the baseline in Baek et al., "Harmonic Loss Trains Interpretable AI Models" (2025), arXiv 2502.01628;
    smoothing of Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), arXiv 1512.00567.

    >>> import torch
    >>> w = torch.eye(4)                              # one class scores 1, three score 0: log(1 + 3 / e)
    >>> round(CrossEntropyLoss()(w[:1], w, labels=torch.tensor([0])).item(), 4)
    0.7437
    """

    family = "supervised"
    papers = ("harmonic-loss",)

    def __init__(self, smoothing: Fraction = 0.0) -> None:
        super().__init__()
        self.smoothing = smoothing

    def forward(
        self,
        z: Float[Tensor, "B d"],
        bank: Float[Tensor, "C d"],
        bias: Float[Tensor, " C"] | None = None,
        *,
        labels: Int[Tensor, " B"],
        weights: Float[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of examples and class vectors; ``labels`` are positions in ``bank``, −1 for none.

        Args:
            z: the examples.
            bank: w, the same on every rank.
            bias: b; none unless given.
            labels: the class of each example.
            weights: of the examples, ≥ 0; all alike unless given.
        """
        z, bank = checked(z, bank, labels, bias)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            s = tile.dot() if bias is None else tile.dot() + tile.column.bias
            # Within the tiles: picked out of the bank, own vectors would have a gradient as large as the bank.
            reductions: dict[str, Reduction] = {"all": LogSumExp(s), "own": Gather(s, tile.row.label)}
            return {"row": {**reductions, "sum": Sum(s)} if self.smoothing else reductions}

        rows = {"z": z, "label": labels}
        r = self.reduce(terms, rows=rows, columns=columns_of(bank, bias), same_columns=True).row
        target = r.own
        if self.smoothing:
            target = (1 - self.smoothing) * target + self.smoothing * r.sum / len(bank)
        return self.mean_of_known(r.all - target, labels, weights)
