"""Segmentation by a linear probe: how well frozen patches say what is where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ...data.base import Data, Rows
from ...data.embeddings import EmbeddingCache
from ...data.items import Regions
from ...forms import Count
from ...raw.maps import near_border
from ...types import Constant, Embedder, LabelMaps, Metric, Scores
from ..item_scores import batches, items_of
from ..maps import centre_square, enlarge, patch_features
from ..several import mean_iou
from ..task import EmbedderTask, check_rows, check_training, scores, subsample_by_hash

BACKGROUND = "background"
BAND = 3
"""Distance from a border, in pixels, up to which `miou_band` counts."""
BATCH = 32
"""Pictures whose logits are held at once."""
SHOWN = 6
"""Pictures whose maps stand in the report of a study."""
PENALTY = 1e-4
ITERATIONS = 100
PARTS = {"miou": "", "miou_band": "band "}
"""The metrics, each with the beginning of its columns' names."""


class _Segmenter(NamedTuple):
    """A linear layer on standardised patches.

    Attributes:
        names: of its classes.
        mean, scale: of the features of training patches.
        weight, bias: of the layer.
    """

    names: list[str]
    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    weight: Float[Tensor, "C d"]
    bias: Float[Tensor, " C"]

    def __call__(
        self, patches: Float[Tensor, "k h w d"], size: tuple[int, int]
    ) -> Iterator[Int[Tensor, "H W"]]:
        """Yield the class of every pixel of each picture, from interpolated logits."""
        logits = F.linear((patches - self.mean) / self.scale, self.weight, self.bias).permute(0, 3, 1, 2)
        for picture in logits:
            yield enlarge(picture[None], size)[0].argmax(0)


@final
class SegmentationProbe(EmbedderTask):
    """A linear layer on frozen patches gives each pixel a class: a phrase of the data's regions, or the background.

    The features are those of the image tower, without a head, or of ``embed_patches`` for a model without a tower of
    its own; they are standardised. The layer learns from the regions of at most ``limit`` training rows (a fixed choice
    by the hash of their ids), by softmax regression with an L2 penalty: the loss of a pixel is that of its patch. In
    the test logits are interpolated to the pixels. Where regions overlap, a pixel belongs to the smallest. Pixels
    outside the central square, which the tower is not shown, do not count.

    ``miou``: the mean over classes of all intersections over all unions, both summed over the test set.
    ``miou_band``: the same, of pixels that have a pixel of another class within three pixels. The classes are those of
    training and test rows together; the best constant answer is one class everywhere. An example is a picture, so that
    intervals are over pictures.

    Args:
        limit: training rows at most.

    Raises:
        NotApplicableError: if training or test rows have no regions, or the model no features of patches.
        ValueError: if there are no rows.
    """

    family = "localization"
    name = "segmentation_probe"
    primary = "miou"
    modalities = ("image",)
    reads = ("image",)
    form = Regions
    learns = True

    def __init__(self, limit: Count = 500) -> None:
        self.limit = limit

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_training(self, data)
        features = EmbeddingCache.of(model, data)
        items = items_of(features, Regions, rows, self.name)
        probe = features.once((self.name, self.limit), lambda: self._fit(features))
        names = list(dict.fromkeys([*probe.names, *sorted(items.phrases)]))
        number = {name: k for k, name in enumerate(names)}
        position = {int(row): k for k, row in enumerate(rows)}
        counts = {part: np.full((3, len(rows), len(names)), np.nan) for part in PARTS.values()}
        shown, maps = {*rows[subsample_by_hash(data, rows, SHOWN, self.name)].tolist()}, {}
        for of_pictures, pictures, labels in _label_maps(items, number):
            patches = patch_features(features, pictures, self.name)
            predicted = probe(patches, (labels.shape[1], labels.shape[2]))
            for row, picture, true, taken in zip(
                of_pictures.tolist(), pictures, labels, predicted, strict=True
            ):
                if row in shown:
                    maps[row] = (centre_square(picture).numpy(), true.numpy(), taken.cpu().numpy())
                near = near_border(true, BAND)
                for part, where in ("", torch.ones_like(near)), ("band ", near):
                    counts[part][:, position[row]] = _counts(true[where], taken[where], len(names))
        outcomes: dict[str, np.ndarray] = {}
        metrics: dict[str, Metric] = {}
        for metric, part in PARTS.items():
            union, intersection, truth = counts[part]
            columns = {f"{part}union: {name}": union[:, k] for name, k in number.items()}
            columns |= {f"{part}intersection: {name}": intersection[:, k] for name, k in number.items()}
            outcomes |= columns
            metrics[metric] = Metric(
                tuple(columns), mean_iou, chance=_guess(np.nansum(truth, 0)), constant=_one_class(truth)
            )
        made = scores(self.name, data, rows, outcomes, metrics)
        if not maps:
            return made
        return replace(made, maps=LabelMaps(tuple(names), *map(np.stack, zip(*maps.values(), strict=True))))

    def _fit(self, features: EmbeddingCache) -> _Segmenter:
        data = features.data
        train = data.splits.train
        chosen = train[subsample_by_hash(data, train, self.limit, self.name)]
        items = items_of(features, Regions, chosen, self.name)
        names = [BACKGROUND, *sorted({*items.phrases} - {BACKGROUND})]
        number = {name: k for k, name in enumerate(names)}
        maps, targets = [], []
        for _, pictures, labels in _label_maps(items, number):
            patches = patch_features(features, pictures, self.name)
            maps.append(patches.flatten(0, 2))
            targets.append(_class_counts(labels, (patches.shape[1], patches.shape[2]), len(names)))
        x, y = torch.cat(maps), torch.cat(targets)
        mean, scale = x.mean(0), x.std(0, correction=0).clamp(min=1e-6)
        return _Segmenter(names, mean, scale, *_softmax_regression((x - mean) / scale, y))


def _label_maps(
    items: Regions, number: Mapping[str, int]
) -> Iterator[tuple[Int[np.ndarray, " k"], UInt8[Tensor, "k 3 H W"], Int[Tensor, "k S S"]]]:
    """Yield rows, their pictures, and the class of every pixel of the pictures' central squares."""
    rows, first, picture_of = np.unique(items.rows, return_index=True, return_inverse=True)
    for pictures in batches(len(rows), BATCH):
        positions = np.flatnonzero(np.isin(picture_of, pictures))
        masks = centre_square(items.masks(positions))
        labels = torch.zeros(len(pictures), *masks.shape[1:], dtype=torch.long)
        # From large to small, so that the smallest region at a pixel comes last.
        for k in masks.flatten(1).sum(1).argsort(descending=True, stable=True).tolist():
            item = positions[k]
            labels[picture_of[item] - pictures[0]][masks[k]] = number[items.phrases[item]]
        yield rows[pictures], items.pictures(first[pictures]), labels


def _class_counts(labels: Int[Tensor, "k S S"], grid: tuple[int, int], classes: int) -> Float[Tensor, "n C"]:
    """Count the pixels of each class in each patch of pictures that a grid divides; n = k·h·w."""
    side = labels.shape[1]
    down, right = (torch.arange(side) * n // side for n in grid)
    patch = down[:, None] * grid[1] + right
    patches = len(labels) * grid[0] * grid[1]
    of_picture = torch.arange(len(labels))[:, None, None] * (grid[0] * grid[1])
    cell = (of_picture + patch) * classes + labels
    return torch.bincount(cell.flatten(), minlength=patches * classes).view(patches, classes).float()


def _softmax_regression(
    x: Float[Tensor, "n d"], counts: Float[Tensor, "n C"]
) -> tuple[Float[Tensor, "C d"], Float[Tensor, " C"]]:
    """Return weight and bias of least ``−Σ counts · log softmax(x Wᵀ + b) / Σ counts + PENALTY ‖W‖² / 2``."""
    with torch.inference_mode(False), torch.enable_grad():  # an evaluation may be in inference mode
        x, share = x.clone(), counts / counts.sum()
        weight = torch.zeros(counts.shape[1], x.shape[1], requires_grad=True)
        bias = (share.sum(0) + 1e-6).log().requires_grad_()
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            mean = -(share * F.linear(x, weight, bias).log_softmax(1)).sum()
            value = mean + PENALTY * weight.square().sum() / 2
            torch.autograd.backward(value)
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call] # torch's
    return weight.detach(), bias.detach()


def _counts(true: Int[Tensor, " p"], predicted: Int[Tensor, " p"], classes: int) -> Int[np.ndarray, "3 C"]:
    """Count the pixels of each class that are in the union, in the intersection, and in the truth."""
    table = torch.bincount(true * classes + predicted, minlength=classes**2).view(classes, classes).numpy()
    both = table.diagonal()
    return np.stack([table.sum(0) + table.sum(1) - both, both, table.sum(1)])


def _guess(truth: Float[np.ndarray, " C"]) -> float:
    """Return the mean intersection over union of pixels that choose a class at random."""
    share, p = truth / max(truth.sum(), 1), 1 / len(truth)
    return float((p * share / (p + share - p * share)).mean())


def _one_class(truth: Float[np.ndarray, "n C"]) -> Constant:
    """Return a function that gives the mean intersection over union of the class of most pixels everywhere."""

    def constant(rows: Int[np.ndarray, " k"]) -> float:
        pixels = truth[rows].sum(0)
        return float(pixels.max() / max(pixels.sum(), 1) / max((pixels > 0).sum(), 1))

    return constant
