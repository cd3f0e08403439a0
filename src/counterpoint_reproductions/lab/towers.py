"""Parts for claims that train registered methods outside a study, and data with other captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, final

from jaxtyping import UInt8
from torch import Tensor

from counterpoint.data.base import Data, ImageSource, Rows
from counterpoint.data.loading.loader import Loader
from counterpoint.data.pictured import PairedData
from counterpoint.methods.arm import Arm
from counterpoint.methods.base import Method
from counterpoint.methods.tower_method import TowerMethod
from counterpoint.recipes import Recipe, load, override
from counterpoint.training.loop import fit
from counterpoint.training.start import order_of

M = TypeVar("M", bound=Method)


def recipe(**changes: Any) -> Recipe:
    """Read the ``cpu`` recipe with some keys changed.

    ``__`` stands for the dot: ``recipe(optimizer__clip_norm=0.0)``.
    """
    return override(load("cpu"), {key.replace("__", "."): value for key, value in changes.items()})


def tiny() -> Recipe:
    """Read the ``cpu`` recipe with small towers and few steps, where a loss is checked and nothing is to be learned."""
    return recipe(
        steps=2, batch_size=16, towers__image_size=16, towers__context=8, augmentation__synonyms=False
    )


def captions_of(data: PairedData, rows: Rows) -> list[str]:
    return [caption for row in rows for caption in data.captions(int(row))]


def build(arm: str, recipe: Recipe, data: PairedData, rows: Rows, seed: int) -> TowerMethod:
    """Build an arm at its start, its vocabulary from some rows' captions."""
    method = Arm.parse(arm).build(recipe, {"text": captions_of(data, rows)}, seed)
    assert isinstance(method, TowerMethod)
    return method


def train(method: M, data: Data, rows: Rows, recipe: Recipe, seed: int) -> M:
    """Train a method on some rows of a data set, or of several that are mixed."""
    loader = Loader(
        data,
        order_of(data, recipe.batch_size, seed, rows),
        method.views,
        augmentation=recipe.augmentation,
        inputs=method.inputs,
    )
    fit(method, loader, recipe, seed=seed)
    method.eval()
    return method


@final
class Recaptioned(PairedData):
    """A data set with other captions for some rows; evaluation still asks for the true ones."""

    def __init__(self, data: PairedData, captions: Mapping[int, Sequence[str]]) -> None:
        self.data, self.other = data, captions
        self.name, self.ids, self.splits = data.name, data.ids, data.splits
        self.subsets, self.labels, self.attribution = data.subsets, data.labels, data.attribution

    def images(self, rows: Rows) -> UInt8[Tensor, "n 3 H W"]:
        return self.data.images(rows)

    def captions(self, row: int) -> Sequence[str]:
        return self.other.get(row) or self.data.captions(row)

    def evaluation_captions(self, row: int) -> Sequence[str]:
        return self.data.evaluation_captions(row)

    def shifts(self) -> Mapping[str, ImageSource]:
        return self.data.shifts()
