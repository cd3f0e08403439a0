"""Measurements of tumours in three blocks, some of which rows lack: where claims about gaps take seconds a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ....methods.classifying import Classifying
from ....methods.tower_method import TowerMethod
from ....networks import initialise
from ....networks.base import Input, Tower, Towers
from ....networks.heads import mlp
from ....recipes import Recipe
from ....types import Batch, Target
from ..towers import recipe
from ..vectors import train

BLOCKS = ("mean", "error", "worst")
TARGET = Target("diagnosis", ("benign", "malignant"))
TRAINED, WIDTH, BATCH = 300, 16, 32
NOISE = 2.0

Build = Callable[[Towers, Recipe], TowerMethod]
"""From towers of the blocks to a method."""


@final
class BlockTower(Tower):
    """A perceptron of one hidden layer on one block's numbers."""

    modality = "table"

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.width, self.network = width, mlp(10, 32, width, layers=2, norm=False)

    @property
    def input(self) -> Input:
        raise NotImplementedError("blocks are tensors already")

    def forward(self, rows: Float[Tensor, "B 10"]) -> Float[Tensor, "B width"]:
        return self.network(rows)


@lru_cache(maxsize=1)
def tumours() -> tuple[dict[str, Float[Tensor, "N 10"]], Int[np.ndarray, " N"]]:
    """Load scikit-learn's 569 tumours: ten measurements by mean, error and worst, and which are malignant.

    Under noise of two standard deviations each, so that no block tells alone.
    """
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    rows, _ = split(len(found.target))
    values = (found.data - found.data[rows].mean(0)) / found.data[rows].std(0)
    values = (values + np.random.default_rng(1).normal(0, NOISE, values.shape)) / np.hypot(1, NOISE)
    return dict(
        zip(BLOCKS, torch.split(torch.from_numpy(values).float(), 10, 1), strict=True)
    ), 1 - found.target


def split(count: int) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Return the rows that train and those that test, the same in every claim."""
    order = np.random.default_rng(0).permutation(count)
    return order[:TRAINED], order[TRAINED:]


def lacking(share: float, of_class: int, stream: str) -> Bool[np.ndarray, " N"]:
    """Return which rows lack a block: a share of one class, always the same for a stream."""
    _, classes = tumours()
    draws = np.random.default_rng([*stream.encode()]).random(len(classes))
    return (draws < share) & (classes == of_class)


def batch_of(rows: Int[np.ndarray, " n"], gaps: Mapping[str, Bool[np.ndarray, " N"]]) -> Batch:
    """Return some rows with what they lack."""
    blocks, classes = tumours()
    ids = torch.from_numpy(rows)
    views = {name: values[ids] for name, values in blocks.items()}
    present = {name: torch.from_numpy(~lacks[rows]) for name, lacks in gaps.items()}
    return Batch(ids, views, {TARGET.label: torch.from_numpy(classes)[ids]}, present)


def classifier(
    build: Build, gaps: Mapping[str, Bool[np.ndarray, " N"]], *, seed: int, steps: int, lr: float = 1e-3
) -> Classifying:
    """Train a method that classifies on the training rows with gaps in them."""
    method = build({name: BlockTower() for name in BLOCKS}, recipe(False, widths__embedding=WIDTH))
    assert isinstance(method, Classifying)
    initialise(method, seed)
    rows, _ = split(len(tumours()[1]))

    def draw(rng: np.random.Generator) -> Batch:
        return batch_of(rng.choice(rows, BATCH, replace=False), gaps)

    train(method, draw, steps=steps, lr=lr, seed=seed)
    return method


@torch.no_grad()
def scored(method: Classifying, gaps: Mapping[str, Bool[np.ndarray, " N"]]) -> Float[np.ndarray, "n 2"]:
    """Return the true class of every test row, and the score that it is malignant."""
    _, rows = split(len(tumours()[1]))
    batch = batch_of(rows, gaps)
    logits = method.logits(method.encode(batch), batch).double()
    return np.stack([tumours()[1][rows], (logits[:, 1] - logits[:, 0]).numpy()], 1)
