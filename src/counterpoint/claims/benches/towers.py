"""Parts for claims that train the package's own towers outside a study: other rows, other captions, other losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

from ...data.base import ImageSource, Rows
from ...data.loading.loader import Loader
from ...data.loading.order import Shuffled
from ...data.pictured import PairedData
from ...losses import NTXentLoss
from ...methods.arm import Arm
from ...methods.base import Method, TowerMethod
from ...networks import ImageTower, initialise
from ...networks.base import Input
from ...networks.heads import Linear, mlp
from ...recipes import Recipe, load, override
from ...training.loop import fit
from ...types import Batch, Clock, Embeddings, View

M = TypeVar("M", bound=Method)


def recipe(quick: bool, **changes: Any) -> Recipe:
    """Read the ``cpu`` recipe with some keys changed, with towers and steps of seconds for a smoke run.

    ``__`` stands for the dot: ``recipe(False, optimizer__clip_norm=0.0)``.
    """
    small: dict[str, Any] = {"steps": 2, "batch_size": 16, "towers.image_size": 16, "towers.context": 8}
    small |= {"augmentation.synonyms": False}
    given = {key.replace("__", "."): value for key, value in changes.items()}
    return override(load("cpu"), {**given, **(small if quick else {})})


def captions_of(data: PairedData, rows: Rows) -> list[str]:
    return [caption for row in rows for caption in data.captions(int(row))]


def build(arm: str, recipe: Recipe, data: PairedData, rows: Rows, seed: int) -> TowerMethod:
    """Build an arm at its start, its vocabulary from some rows' captions."""
    method = Arm.parse(arm).build(recipe, {"text": captions_of(data, rows)}, seed)
    assert isinstance(method, TowerMethod)
    return method


def trained(method: M, data: PairedData, rows: Rows, recipe: Recipe, seed: int) -> M:
    """Train a method on some rows of a data set."""
    loader = Loader(
        data,
        Shuffled(rows, recipe.batch_size, seed),
        method.views,
        augmentation=recipe.augmentation,
        inputs=method.inputs,
    )
    fit(method, loader, recipe, seed=seed)
    method.eval()
    return method


@torch.no_grad()
def features(tower: ImageTower, pictures: UInt8[Tensor, "n 3 H W"]) -> np.ndarray:
    """Return the features that a tower gives before any head, ``(n, width)``."""
    parts = [tower.eval()(tower.input(part)) for part in torch.split(pictures, 256)]
    return torch.cat(parts).double().numpy()


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


class ImageOnly(Method):
    """The base of methods that read no captions."""

    def __init__(self, image: ImageTower) -> None:
        super().__init__()
        self.image = image

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {"image": self.image.input}

    def encode(self, batch: Batch) -> Embeddings:
        return {name: self.image(batch[name]) for name in self.views}

    @torch.no_grad()
    def embed(self, modality: str, inputs: Tensor | Sequence[str], head: str = "default") -> Tensor:
        assert modality == "image"
        assert isinstance(inputs, Tensor)
        return F.normalize(torch.from_numpy(features(self.image, inputs)), dim=-1)


@final
class SimCLR(ImageOnly):
    """NT-Xent between two strong views of each picture; a two-layer head, τ = 0.1."""

    views = {f"image.{a}": View("image", "simclr") for a in (1, 2)}  # noqa: RUF012 # a mapping nobody changes

    def __init__(self, image: ImageTower, recipe: Recipe, seed: int) -> None:
        super().__init__(image)
        self.head = mlp(image.width, recipe.widths.ssl_hidden, recipe.widths.ssl_output, layers=2)
        self.objective = NTXentLoss(0.1)
        initialise(self.head, seed, "simclr")

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        x, y = (F.normalize(self.head(z[name]), dim=-1) for name in self.views)
        return {"simclr": self.objective(x, y)}


@final
class Supervised(ImageOnly):
    """Cross-entropy of a linear classifier on the tower's features.

    Args:
        image: the tower.
        classes: the class of every id.
        seed: of the classifier.
    """

    views = {"image": View("image", "weak")}  # noqa: RUF012 # as above

    def __init__(self, image: ImageTower, classes: Int[np.ndarray, " N"], seed: int) -> None:
        super().__init__(image)
        self.classes = torch.from_numpy(classes)
        self.head = Linear(image.width, int(classes.max()) + 1, bias=True)
        initialise(self.head, seed, "classifier")

    def losses(self, z: Embeddings, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        return {"classes": F.cross_entropy(self.head(z["image"]), self.classes[batch.ids])}

    @torch.no_grad()
    def classify(self, pictures: UInt8[Tensor, "n 3 H W"]) -> Int[np.ndarray, " n"]:
        """Choose the class of each picture."""
        scores = self.head(torch.from_numpy(features(self.image, pictures)).float())
        return scores.argmax(1).numpy()
