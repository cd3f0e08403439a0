"""NT-Xent over two views of each example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import dot, paired
from ..pairwise.loss import PairwiseLoss
from ..pairwise.reductions import WholeRow, log_sum_exp
from ..pairwise.temperature import Temperature
from ..pairwise.tile import Tile


class NTXentLoss(PairwiseLoss):
    """Each of 2B views must find the other view of its example among the 2B − 1 views that are not itself.

        loss = mean over anchors a of  log Σ_{b ≠ a} exp(<z_a, z_b>/τ) − <z_a, z_partner(a)>/τ,   z = [x; y]

    A batch of one has no negatives: the loss is 0.

    Args:
        temperature: τ; a number is fixed.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (2020), arXiv
    2002.05709; the self-supervised term of SLIP, Mu et al. (2021), arXiv 2112.12750.

    >>> x = torch.eye(4)                              # the partner at 1, six others at 0: log(1 + 6 / e)
    >>> round(NTXentLoss(temperature=1.0)(x, x).item(), 4)
    1.1654
    """

    family = "softmax"
    is_method = True
    symmetric = True
    papers = ("clip-rocket",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {"temperature": (0.05, 0.5)}

    def __init__(self, temperature: Positive | Temperature = 0.1) -> None:
        super().__init__()
        self.temperature = Temperature.of(temperature, Temperature(0.1))

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm views ``x`` and ``y`` of the same examples."""
        x, y = paired(x=x, y=y)
        z, partner = torch.cat([x, y]), torch.cat([y, x])

        def terms(tile: Tile) -> dict[str, dict[str, WholeRow]]:
            return {"total": {"others": WholeRow(log_sum_exp, tile.off_diagonal(tile.dot()))}}

        scaled = self.temperature.scale(z)
        r = self.reduce(terms, rows={"z": scaled}, columns={"z": z})
        return r.total.others / self.count(z) - self.mean(dot(scaled, partner))
