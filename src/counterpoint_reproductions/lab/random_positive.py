"""A loss for controls, which a study names as it names any loss of a file: ``random_positive.py:RandomPositive``."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from counterpoint.losses import GuidedNTXentLoss


class RandomPositive(GuidedNTXentLoss):
    """NT-Xent whose second positive a teacher chooses that sees noise."""

    def forward(self, x: Float[Tensor, "B d"], y: Float[Tensor, "B d"]) -> Float[Tensor, ""]:  # type: ignore[override] # no teacher is given
        """Return the loss of unit-norm views ``x`` and ``y``."""
        return super().forward(x, y, teacher_x=torch.randn_like(x), teacher_y=torch.randn_like(y))
