"""The built-in tower of boxes, and its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...raw import Boxes
from ..base import Tower


@final
@dataclass(frozen=True)
class Corners:
    """The input of a tower of boxes: their corners, NaN where there is no box."""

    def stated(self) -> str:
        return repr(self)

    def __call__(self, boxes: Boxes) -> Float[Tensor, "n k 4"]:
        return boxes.corners


class BoxPerceptron(Tower):
    """The mean over the boxes of a picture of ``W_2 relu(W_1 b + b_1) + b_2``, b a box; a learned vector without any.

    Args:
        hidden: width of the hidden layer.
        width: of a feature vector.

    >>> nothing = torch.full((1, 2, 4), torch.nan)
    >>> bool((BoxPerceptron()(nothing) == 0).all())
    True
    """

    modality: ClassVar[str] = "boxes"

    def __init__(self, hidden: int = 128, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.nothing = nn.Parameter(torch.zeros(width))
        self.up, self.down = nn.Linear(4, hidden), nn.Linear(hidden, width)

    @property
    def input(self) -> Corners:
        return Corners()

    def forward(self, boxes: Float[Tensor, "B k 4"]) -> Float[Tensor, "B width"]:
        states, present = self.states(boxes), ~boxes.isnan().any(-1)
        count = present.sum(1, keepdim=True)
        return torch.where(count > 0, states.sum(1) / count.clamp_min(1), self.nothing)

    def states(self, boxes: Float[Tensor, "B k 4"]) -> Float[Tensor, "B k width"]:
        """Return features of the boxes, in the space of `forward`'s, before they are averaged; zero without a box."""
        absent = boxes.isnan().any(-1, keepdim=True)
        return self.down(F.relu(self.up(boxes.masked_fill(absent, 0.0)))).masked_fill(absent, 0.0)
