"""Several towers of a kind as one: encoders whose features stand side by side."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ...base import Input, Tower, Towers

PAPERS = {"mcl": ("ConcatenatedTower",)}


@final
class ConcatenatedTower(Tower):
    """Towers of one kind, which others hold, with the features of each behind those of the one before."""

    def __init__(self, towers: Sequence[Tower]) -> None:
        super().__init__()
        self.towers = tuple(towers)  # a tuple, and so no modules of this one: no weight is held twice
        self.modality = towers[0].modality  # type: ignore[misc] # that of what it is made of
        self.name, self.width = towers[0].name, sum(tower.width for tower in towers)

    @property
    def input(self) -> Input:
        return self.towers[0].input

    def forward(self, inputs: Tensor) -> Float[Tensor, "B width"]:
        return torch.cat([tower(inputs) for tower in self.towers], dim=-1)


def again(towers: Towers) -> Towers:
    """Return the towers once more, to start at other weights, those that are pretrained at the same."""
    copies = copy.deepcopy(dict(towers))
    for tower in copies.values():
        tower.weights_set = tower.weights_set and tower.pretrained
    return copies


def side_by_side(encoders: Sequence[Towers]) -> Towers:
    """Return the towers of all encoders by column; columns that share one share what is made of it."""
    made: dict[int, ConcatenatedTower] = {}
    for column, tower in encoders[0].items():
        made.setdefault(id(tower), ConcatenatedTower([each[column] for each in encoders]))
    return {column: made[id(tower)] for column, tower in encoders[0].items()}
