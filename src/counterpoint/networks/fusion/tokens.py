"""The tokens of a column, as a transformer over several columns reads them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..base import ImageTower, Tower
from ..decoder import sine_cosine_positions
from ..heads import Linear
from ..towers.maps import MapPatches
from ..towers.transformer import Embedding


class ColumnTokens(nn.Module):
    """The states of a tower, projected to a width, with an embedding of the column and fixed positions.

        tokens = W norm(states) + column + positions

    States are the patches of a tower of pictures or maps, and the parts of an example of another one: words, or times.
    A tower that knows no parts gives one token. Positions are those of `sine_cosine_positions`, as a convolutional
    tower has none.

    Args:
        states: the width of the tower's states.
        width: of the tokens; a multiple of 4.
    """

    def __init__(self, states: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(states)
        self.project = Linear(states, width, bias=True)
        self.column = Embedding(1, width, std=0.02)

    def forward(
        self, tower: Tower, inputs: Tensor, whole: bool = False
    ) -> tuple[Float[Tensor, "B n width"], Bool[Tensor, "B n"]]:
        """Return tokens, and which of them are no padding; of each example there is one at least.

        Args:
            tower: gives the states.
            inputs: of the tower.
            whole: whether a picture has one token, of the mean of its patches.

        Raises:
            LookupError: for a tower that hides its states.
        """
        if isinstance(tower, ImageTower | MapPatches):
            maps = tower.patches(inputs)
            maps = maps.mean((2, 3), keepdim=True) if whole else maps
            rows = maps.shape[2]
            states = maps.flatten(2).mT
            mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        else:
            states = tower.states(inputs)
            rows = 1
            first = torch.arange(states.shape[1], device=states.device) == 0
            mask = states.ne(0).any(-1) | first
        return self.embedded(states, rows), mask

    def embedded(self, states: Float[Tensor, "B n V"], rows: int = 1) -> Float[Tensor, "B n width"]:
        """Return the tokens of states, those of some rows of a grid one after the other."""
        positions = sine_cosine_positions(self.width, (rows, states.shape[1] // rows)).to(states)
        return self.project(self.norm(states)) + self.column.weight + positions
