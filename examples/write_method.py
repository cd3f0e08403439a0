"""Write a method, check it, and train it beside CLIP.

    python examples/write_method.py

The method is CLIP with two losses. ``counterpoint check examples/write_method.py:TwoLosses`` prints a line for each
property that is checked here. ``counterpoint compare clip examples/write_method.py:TwoLosses,share=0.2 --data …``
compares it with CLIP.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

import counterpoint as cp
from counterpoint.forms import Share
from counterpoint.losses import HingeLoss, InfoNCELoss
from counterpoint.methods import TowerMethod
from counterpoint.methods.tower_method import distinct, paired
from counterpoint.networks.base import Towers
from counterpoint.networks.heads import Linear
from counterpoint.recipes import Recipe
from counterpoint.testing import check_method
from counterpoint.types import Batch, Embeddings, StepInfo


class TwoLosses(TowerMethod):
    """A softmax over the batch, and a margin to the hardest other pair: L = (1 − share) L_InfoNCE + share L_hinge."""

    family = "two towers"

    def __init__(self, towers: Towers, recipe: Recipe, *, share: Share = 0.5) -> None:
        super().__init__(towers)
        self.views = paired(towers)  # one view of each of two columns
        width = recipe.widths.embedding
        self.projections = nn.ModuleDict(
            {name: Linear(tower.width, width) for name, tower in distinct(towers).items()}
        )
        self.share = share
        self.softmax, self.hinge = InfoNCELoss(0.1), HingeLoss()

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        return {
            "softmax": (1 - self.share) * self.softmax(x, y),
            "hinge": self.share * self.hinge(x, y),
        }


def main(steps: int = 60) -> dict[str, float]:
    """Check the method, then train both; return the zero-shot accuracy of each."""
    check_method(TwoLosses)
    recipe = cp.recipes.override(cp.recipes.load("seconds"), {"steps": steps})
    scores = {}
    with tempfile.TemporaryDirectory() as scratch:
        for arm in ("clip", f"{__file__}:TwoLosses,share=0.2"):
            folder = Path(scratch) / Path(arm).name
            cp.train(arm, "digits", recipe=recipe, folder=folder, tasks=["zero_shot"])
            first = json.loads((folder / "scores.json").read_text())[0]
            scores[Path(arm).name] = first["value"]
            print(f"{Path(arm).name}: {first['metric']} {first['value']:.3f}, chance {first['chance']:.3f}")
    return scores


if __name__ == "__main__":
    main()
