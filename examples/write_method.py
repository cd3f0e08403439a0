"""Write a method, check it, and train it beside CLIP.

    python examples/write_method.py

The method is CLIP with two losses. ``counterpoint check examples/write_method.py:TwoLosses`` prints a line for each
property that is checked here. ``counterpoint compare clip examples/write_method.py:TwoLosses,share=0.2 --data …``
compares it with CLIP.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

import counterpoint as cp
from counterpoint.forms import Share
from counterpoint.losses import InfoNCELoss, SigLIPLoss
from counterpoint.methods import TowerMethod
from counterpoint.methods.tower_method import distinct, paired
from counterpoint.networks.base import Towers
from counterpoint.networks.heads import Linear
from counterpoint.recipes import Recipe
from counterpoint.testing import check_method
from counterpoint.types import Batch, Embeddings, StepInfo


class TwoLosses(TowerMethod):
    """A softmax over the batch and a sigmoid of every pair: L = (1 − share) L_InfoNCE + share L_SigLIP."""

    family = "two towers"

    def __init__(self, towers: Towers, recipe: Recipe, *, share: Share = 0.5) -> None:
        super().__init__(towers)
        self.views = paired(towers)  # one view of each of two columns
        width = recipe.widths.embedding
        self.projections = nn.ModuleDict(
            {name: Linear(tower.width, width) for name, tower in distinct(towers).items()}
        )
        self.share = share
        self.softmax = InfoNCELoss(0.1)
        self.sigmoid = SigLIPLoss(0.1, bias=SigLIPLoss.balanced_bias(recipe.batch_size))

    def losses(self, z: Embeddings, batch: Batch, clock: StepInfo) -> dict[str, Tensor]:
        x, y = (F.normalize(self.project(column, z[column], "global"), dim=-1) for column in self.columns)
        return {
            "softmax": (1 - self.share) * self.softmax(x, y),
            "sigmoid": self.share * self.sigmoid(x, y),
        }


def main(steps: int = 60) -> dict[str, float]:
    """Check and train; return the retrieval score of each method."""
    check_method(TwoLosses)
    recipe = cp.recipes.override(cp.recipes.load("seconds"), {"steps": steps})
    scores = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, arm in enumerate(("clip", f"{__file__}:TwoLosses", f"{__file__}:TwoLosses,share=0.2")):
            folder = Path(scratch) / str(number)
            cp.train(arm, "digits", recipe=recipe, folder=folder, tasks=["zero_shot"])
            result = cp.evaluation.RunResults.read(folder)
            scores[Path(arm).name] = result.scores()[0]["value"]
    print(*(f"{arm}: {score:.3f}" for arm, score in scores.items()), sep="\n")
    return scores


if __name__ == "__main__":
    main()
