"""InfoNCE with alignment and uniformity beside it, against the gap between modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ..forms import Positive
from ..pairwise.inputs import paired
from ..pairwise.loss import Loss
from ..pairwise.temperature import Temperature
from .align_uniform import AlignUniformLoss
from .infonce import InfoNCELoss


class ContrastiveGapLoss(Loss):
    """The CLIP loss with alignment and uniformity terms that close the gap it opens.

        loss = L_InfoNCE + w_a mean_i ‖x_i − y_i‖² + w_u (U(x) + U(y)) / 2
               + w_x log mean_{i ≠ j} exp(−2 ‖x_i − y_j‖²)

    Matched pairs are left out of the last term, which would otherwise fight the alignment. The defaults are
    the paper's L_CUA; ``cross_uniformity=1`` is its L_CUAXU; all weights 0 is CLIP.

    Args:
        temperature: of the InfoNCE term; learned from 0.07 within [0.01, 1] unless stated. The size of the
            gap depends on it strongly: compare at the same temperature.
        alignment: w_a.
        uniformity: w_u.
        cross_uniformity: w_x.

    Source: "It's Not a Modality Gap: Characterizing and Addressing the Contrastive Gap" (2024), arXiv
    2405.18570.

    >>> import torch
    >>> x = torch.eye(2)                              # log(1 + 1/e) + 0 - 4
    >>> round(ContrastiveGapLoss(temperature=1.0)(x, x).item(), 4)
    -3.6867
    """

    family = "alignment and uniformity"
    is_method = True
    symmetric = True
    pairwise = True
    papers = ("contrastive-gap",)
    tunable: ClassVar[Mapping[str, tuple[float, float]]] = {
        "temperature": (0.03, 0.2),
        "uniformity": (0.25, 4.0),
    }

    def __init__(
        self,
        temperature: Positive | Temperature | None = None,
        *,
        alignment: float = 1.0,
        uniformity: float = 1.0,
        cross_uniformity: float = 0.0,
    ) -> None:
        super().__init__()
        self.infonce = InfoNCELoss(temperature)
        self.spread = AlignUniformLoss(alignment, uniformity)
        self.cross_uniformity = cross_uniformity

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:
        """Return the loss of unit-norm ``x`` and ``y``."""
        x, y = paired(x=x, y=y)
        loss: Tensor = self.infonce(x, y) + self.spread(x, y)
        if self.cross_uniformity:
            loss = loss + self.cross_uniformity * self.spread.spread(x, y)
        return loss
