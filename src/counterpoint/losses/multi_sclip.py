"""InfoNCE with soft targets that both modalities' similarities give, as M3CoL has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import LogSumExp, Reduction, WeightedMean
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class MultiSClipLoss(PairwiseLoss):
    """Each example is as near to the others across modalities as they are to each other within one.

        T^c = softmax(c cᵀ / τ) for c = x and c = y,   S = x yᵀ / τ
        loss = ½ Σ_c mean_i [CE(S_i, T^c_i) + CE(Sᵀ_i, T^c_i)],   CE(s, t) = log Σ_j exp s_j − Σ_j t_j s_j

    The targets carry gradient, as in the authors' code, unless detached. A batch of one costs nothing.

    Args:
        temperature: τ of logits and targets; a number is fixed.
        detach_targets: whether the targets are constants.

    Raises:
        ValueError: for embeddings that do not pair up.

    Source: Kumar et al., "Harnessing Shared Relations via Multimodal Mixup Contrastive Learning for
    Multimodal Classification" (2024), arXiv 2409.17777.

    >>> import torch
    >>> x = torch.ones(8, 4) / 2                      # all alike: 2 log 8
    >>> round(MultiSClipLoss()(x, x).item(), 4)
    4.1589
    """

    family = "softmax"
    is_method = True
    symmetric = True
    papers = ("m3col",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.03, 0.5)}

    def __init__(self, temperature: Positive | Temperature = 0.125, *, detach_targets: bool = False) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.125))
        self.detach_targets = detach_targets

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``, of which row i of one belongs to row i of the other."""
        x, y = paired(x=x, y=y)

        def terms(tile: Tile) -> dict[str, dict[str, Reduction]]:
            logits, among_x, among_y = tile.dot("x", "y"), tile.dot("x"), tile.dot("y")
            if self.detach_targets:
                among_x, among_y = among_x.detach(), among_y.detach()
            # Similarities within a modality are symmetric, so that one matrix serves both directions.
            reductions: dict[str, Reduction] = {
                "all": LogSumExp(logits),
                "by_x": WeightedMean(among_x, logits),
                "by_y": WeightedMean(among_y, logits),
            }
            return {"row": reductions, "column": dict(reductions)}

        rows = {"x": self.temperature.scale(x), "y": self.temperature.scale(y)}
        r = self.reduce(terms, rows=rows, columns={"x": x, "y": y})
        targets = r.row.by_x + r.row.by_y + r.column.by_x + r.column.by_y
        return self.mean(r.row.all + r.column.all - targets / 2)
