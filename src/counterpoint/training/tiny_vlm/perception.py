"""Learning to see: what is where, patch by patch, from the annotations of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.synthetic.scenes.config import CORRUPTED, SceneConfig
from ...data.synthetic.scenes.scene import SIZES, UNIT, Scene

NOTHING, OWN = 0, 1
"""Class of a patch without a thing; colour of a thing that is not dyed."""
PLACES = 12
"""Columns, and rows, of the picture between which places are told apart."""


@dataclass(frozen=True)
class Targets:
    """The classes of what there is to see on a grid of patches, one each.

    Attributes:
        concept: 0 for nothing, else 1 + the place among the concepts.
        colour: 0 for nothing, 1 for the artist's own colours, else 2 + the place among the colours.
        size: 0 for nothing, else 1 + the place among the sizes.
        centre: 1 where a thing has its centre.
        column, row: 0 for nothing, else 1 + which of `PLACES` columns or rows of the picture the thing's centre is in.
        corruption: of the picture: 0 for none, else its strength.
    """

    concept: Int[Tensor, "n p"]
    colour: Int[Tensor, "n p"]
    size: Int[Tensor, "n p"]
    centre: Int[Tensor, "n p"]
    column: Int[Tensor, "n p"]
    row: Int[Tensor, "n p"]
    corruption: Int[Tensor, " n"]

    def __getitem__(self, rows: Int[Tensor, " k"]) -> Targets:
        return Targets(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def targets(scenes: Sequence[Scene], config: SceneConfig, grid: int) -> Targets:
    """Return what there is to see in scenes: in each of ``grid`` × ``grid`` patches the nearest thing over its middle.

    >>> from counterpoint.data.synthetic.scenes.scene import Thing
    >>> cat = Thing("cat", None, "large", 500, 750, 750)
    >>> targets([Scene(0, (cat,))], SceneConfig(concepts=("dog", "cat"), objects=1), 2).concept
    tensor([[0, 0, 0, 2]])
    """
    concepts = {name: 1 + k for k, name in enumerate(config.concepts)}
    colours = {None: OWN} | {name: 2 + k for k, name in enumerate(config.colours)}
    sizes = {name: 1 + k for k, name in enumerate(SIZES)}
    cells = np.zeros((6, len(scenes), grid, grid), np.int64)
    middles = (np.arange(grid) + 0.5) * UNIT / grid
    for i, scene in enumerate(scenes):
        for thing in scene.things:  # from back to front
            left, top, right, bottom = thing.box
            columns = slice(*np.searchsorted(middles, (left, right)))
            rows = slice(*np.searchsorted(middles, (top, bottom)))
            cells[0, i, rows, columns] = concepts[thing.concept]
            cells[1, i, rows, columns] = colours[thing.colour]
            cells[2, i, rows, columns] = sizes[thing.size]
            cells[3, i, thing.y * grid // UNIT, thing.x * grid // UNIT] = 1
            cells[4, i, rows, columns] = 1 + thing.x * PLACES // UNIT
            cells[5, i, rows, columns] = 1 + thing.y * PLACES // UNIT
    strength = [int(s.corruption.rpartition("_")[2]) if s.corruption in CORRUPTED else 0 for s in scenes]
    concept, colour, size, centre, column, row = torch.from_numpy(cells).flatten(2)
    return Targets(concept, colour, size, centre, column, row, torch.tensor(strength))


class PerceptionHeads(nn.Module):
    """Heads that read `Targets` off a vision tower's patches, and the loss: the mean cross-entropy of each, summed.

    Args:
        width: of the tower.
        config: of the world that is seen.
    """

    def __init__(self, width: int, config: SceneConfig) -> None:
        super().__init__()
        self.classes = {
            "concept": 1 + len(config.concepts),
            "colour": 2 + len(config.colours),
            "size": 1 + len(SIZES),
            "centre": 2,
            "column": 1 + PLACES,
            "row": 1 + PLACES,
        }
        self.norm = nn.LayerNorm(width)
        self.patches = nn.Linear(width, sum(self.classes.values()))
        self.picture = nn.Linear(width, 4)

    def forward(self, features: Float[Tensor, "n p w"], seen: Targets) -> dict[str, Float[Tensor, ""]]:
        normed = self.norm(features)
        logits = self.patches(normed).split(list(self.classes.values()), -1)
        losses = {
            name: F.cross_entropy(one.flatten(0, 1).float(), getattr(seen, name).flatten())
            for name, one in zip(self.classes, logits, strict=True)
        }
        whole = self.picture(normed.mean(1)).float()
        return losses | {"corruption": 0.2 * F.cross_entropy(whole, seen.corruption)}

    @torch.no_grad()
    def accuracy(self, features: Float[Tensor, "n p w"], seen: Targets) -> dict[str, float]:
        """Return the share of the patches with a thing (of the pictures) whose class is right."""
        normed = self.norm(features)
        logits = self.patches(normed).split(list(self.classes.values()), -1)
        there = seen.concept != NOTHING
        accuracies = {
            name: float((one.argmax(-1) == getattr(seen, name))[there].float().mean())
            for name, one in zip(self.classes, logits, strict=True)
        }
        whole = self.picture(normed.mean(1)).argmax(-1)
        return accuracies | {"corruption": float((whole == seen.corruption).float().mean())}
