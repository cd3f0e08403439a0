"""Dense alignment and uniformity: which pixels are called positive, and whether the two numbers tell the quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.diagnostics import (
    at_same_place,
    dense_alignment,
    dense_uniformity,
    most_similar,
    multiple_correlation,
)
from counterpoint.frames import Frames, of_boxes
from counterpoint.networks.heads import mlp
from counterpoint.networks.init import initialise
from counterpoint.networks.towers.convnet import ConvNet

from .lab import Arrays, Lab, Result, above, below, decides, effects, exact, per_seed, secondary
from .lab.data_emoji import SIDE
from .lab.data_emoji_views import emoji
from .lab.descent import minimise

CLAIM = (
    "Over models trained with different losses, temperatures and rules of positives, dense alignment and "
    "uniformity together explain the quality of a linear segmentation; positives at the same place, or by "
    "similarity, give better features than positives at random."
)
REFUTED = "the correlation is no larger than by chance, or random positives are as good"
OWN = (
    "Networks with a fine map are trained here by a dense InfoNCE loss, because no registered method contrasts single "
    "pixels. Alignment and uniformity are the package's diagnostics."
)
SHARE = effects.convention("share")


CANVAS, CROP, CELL = 32, 24, 4
"""Pixels of a scene's and a view's side, and of what a pixel of the map sees at least."""
GRID = (CROP // CELL,) * 2
SCENES, TESTED, STEPS, BATCH = 512, 192, 350, 24
RULES = ("place", "similarity", "index", "random")
TAUS, SEEDS = (0.1, 0.2, 0.5), 2
BACKGROUND = 0


class EmojiMosaics(NamedTuple):
    """Pictures of up to four emoji in the corners, with the group of each pixel of a fine map.

    Attributes:
        pictures: in [0, 1].
        classes: of every pixel, 0 for the background.
    """

    pictures: Float[Tensor, "n 3 C C"]
    classes: Int[Tensor, "n C C"]


@lru_cache(maxsize=2)
def scenes(count: int, test: bool) -> EmojiMosaics:
    """Draw scenes of emoji that training has, or of those it has nothing of."""
    data = emoji("group", 20)
    x, classes = data.of(data.test if test else data.train)
    rng = np.random.default_rng(int(test))
    pictures, labels = torch.ones(count, 3, CANVAS, CANVAS), torch.zeros(count, CANVAS, CANVAS).long()
    for k in range(count):
        for corner in range(4):
            if rng.random() < 0.25:
                continue
            which = int(rng.integers(len(x)))
            one = ((x[which] + 1) / 2).reshape(3, SIDE, SIDE)
            top, left = SIDE * (corner // 2), SIDE * (corner % 2)
            window = (slice(top, top + SIDE), slice(left, left + SIDE))
            pictures[k][:, *window] = one
            labels[k][window] = torch.where(one.amin(0) < 0.95, int(classes[which]) + 1, BACKGROUND)
    return EmojiMosaics(pictures, labels)


class Dense(nn.Module):
    """A small residual network whose map stays fine, and a projector of each pixel."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.backbone = ConvNet(CROP, widths=(32,))
        self.projector = mlp(32, 32, 32, layers=2, norm=False)
        initialise(self, seed)

    def forward(self, x: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B P w"], Float[Tensor, "B P d"]]:
        """Return features of the pixels of the map, and their projections of unit norm."""
        backbone = self.backbone
        maps = backbone.norm(backbone.stages(backbone.stem(backbone.normalise(x)))).flatten(2).mT
        return maps, F.normalize(self.projector(maps), dim=-1)


def crops(
    pictures: Float[Tensor, "B 3 C C"], rng: np.random.Generator
) -> tuple[Float[Tensor, "B 3 S S"], Frames]:
    """Draw random windows, half of them mirrored, with changes of colour; and where they are."""
    n = len(pictures)
    left, top = torch.from_numpy(rng.integers(0, CANVAS - CROP + 1, (2, n)))
    seen = torch.stack(
        [
            p[:, t : t + CROP, x : x + CROP]
            for p, t, x in zip(pictures, top.tolist(), left.tolist(), strict=True)
        ]
    )
    boxes = torch.stack([left, top, left + CROP, top + CROP], 1).float() / CANVAS
    mirrored = torch.from_numpy(rng.random(n) < 0.5)
    seen = torch.where(mirrored[:, None, None, None], seen.flip(3), seen)
    shift = torch.from_numpy(rng.uniform(-0.2, 0.2, (n, 3, 1, 1))).float()
    return (seen + shift).clamp(0, 1), of_boxes(boxes, mirrored)


def positives(
    rule: str, frames: Sequence[Frames], features: Sequence[Tensor], rng: np.random.Generator
) -> Int[Tensor, "B P"]:
    """Find the pixel of the second view that is each pixel's positive; −1 for none."""
    n, p = features[0].shape[:2]
    if rule == "place":
        return at_same_place(frames[0], frames[1], GRID)
    if rule == "similarity":  # of the backbone: of the projections pairs would confirm themselves
        return most_similar(features[0].detach(), features[1].detach())
    if rule == "index":
        return torch.arange(p).expand(n, p)
    return torch.from_numpy(rng.integers(0, p, (n, p)))


def dense_infonce(
    z: Float[Tensor, "B P d"], other: Float[Tensor, "B P d"], match: Int[Tensor, "B P"], tau: float
) -> Float[Tensor, ""]:
    """Return −log softmax of each pixel's positive among it and the pixels of other pictures."""
    n, p, _ = z.shape
    partner = other.gather(1, match.clamp_min(0)[..., None].expand_as(z))
    positive = (z * partner).sum(-1).flatten() / tau
    logits = z.flatten(0, 1) @ other.flatten(0, 1).T / tau
    picture = torch.arange(n).repeat_interleave(p)
    logits = logits.masked_fill(picture[:, None] == picture, -torch.inf)
    losses = torch.logaddexp(positive, logits.logsumexp(1)) - positive
    kept = match.flatten() >= 0
    return losses[kept].sum() / kept.sum().clamp_min(1)


def model(rule: str, tau: float, seed: int, steps: int, explicit: Sequence[float] | None = None) -> Arrays:
    """Train one model, and measure it on scenes of unseen emoji.

    Args:
        rule: of positives.
        tau: of dense InfoNCE.
        seed, steps: of the training.
        explicit: weights of explicit dense alignment and uniformity in place of InfoNCE.

    Returns:
        ``alignment`` at the same place, ``all``, ``within`` and ``between`` of uniformity, and ``iou``: the mean
        intersection over union of a linear segmentation of the frozen features.
    """
    network, shown = Dense(seed), scenes(SCENES, False)

    def loss(rng: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(rng.choice(SCENES, BATCH, replace=False))
        views = [crops(shown.pictures[rows], rng) for _ in range(2)]
        (features, z), (others, other) = (network(x) for x, _ in views)
        match = positives(rule, [frames for _, frames in views], [features, others], rng)
        if explicit is None:
            return dense_infonce(z, other, match, tau)
        partner = other.gather(1, match.clamp_min(0)[..., None].expand_as(z))
        apart = ((z - partner).square().sum(-1) * (match >= 0)).sum() / (match >= 0).sum().clamp_min(1)
        flat = z.flatten(0, 1)
        off = ~torch.eye(len(flat), dtype=torch.bool)
        even = (4 * (flat @ flat.T)[off] - 4).logsumexp(0) - np.log(int(off.sum()))
        return explicit[0] * apart + explicit[1] * even

    minimise(loss, network.parameters(), steps=steps, lr=2e-3, seed=seed)
    return {**_geometry(network), "iou": np.array(_segmentation(network))}


@torch.no_grad()
def _geometry(network: Dense) -> Arrays:
    rng = np.random.default_rng(9)
    views = [crops(scenes(TESTED, True).pictures, rng) for _ in range(2)]
    z, other = (network(x)[1] for x, _ in views)
    match = at_same_place(views[0][1], views[1][1], GRID)
    spread = dense_uniformity(z)
    return {
        "alignment": np.array(dense_alignment(z, other, match)),
        "all": np.array(spread.all),
        "within": np.array(spread.within),
        "between": np.array(spread.between),
    }


@torch.no_grad()
def _segmentation(network: Dense) -> float:
    """Return the mean intersection over union of a linear classifier of pixels, fitted by ridge on training scenes."""
    from sklearn.linear_model import RidgeClassifier

    sides = []
    for shown in (scenes(SCENES, False), scenes(TESTED, True)):
        middle = slice((CANVAS - CROP) // 2, (CANVAS + CROP) // 2)
        features = network(shown.pictures[:TESTED, :, middle, middle])[0].flatten(0, 1)
        cells = shown.classes[:TESTED, middle, middle].unfold(1, CELL, CELL).unfold(2, CELL, CELL).flatten(3)
        sides.append((features.numpy(), cells.mode(3).values.flatten().numpy()))
    (train, classes), (test, truth) = sides
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    classifier = RidgeClassifier(class_weight="balanced").fit((train - mean) / deviation, classes)
    predicted = classifier.predict((test - mean) / deviation)
    shares = [
        ((predicted == c) & (truth == c)).sum() / ((predicted == c) | (truth == c)).sum()
        for c in np.unique(truth)
    ]
    return float(np.mean(shares))


EXPLICIT: Mapping[str, tuple[str, tuple[float, float]]] = {
    "even alone": ("place", (0.0, 1.0)),
    "weakly aligned": ("place", (0.3, 1.0)),
    "aligned": ("place", (1.0, 1.0)),
    "strongly aligned": ("place", (5.0, 1.0)),
    "aligned by index": ("index", (1.0, 1.0)),
    "aligned at random": ("random", (1.0, 1.0)),
}
"""Models of explicit losses: the rule, and the weights of alignment and of uniformity."""


def run(lab: Lab) -> Iterator[Result]:
    runs = lab.grid(model, {"rule": RULES, "tau": TAUS}, seeds=SEEDS, steps=STEPS)
    weighted = {name: {"rule": rule, "explicit": weights} for name, (rule, weights) in EXPLICIT.items()}
    explicit = lab.grid(model, {"arm": weighted}, seeds=1, tau=0.0, steps=STEPS)
    models = [run for grid in (runs, explicit) for point in grid for run in grid[point].values()]
    alignment, uniformity, quality = (
        np.array([float(run[key]) for run in models]) for key in ("alignment", "between", "iou")
    )
    fit = multiple_correlation({"alignment": alignment, "uniformity": uniformity}, quality)

    def iou(rule: str) -> np.ndarray:
        return np.array([float(run["iou"]) for tau in TAUS for run in runs[rule, tau].values()])

    def over_random(rule: str) -> Result:
        gain = per_seed(rule, "mean intersection over union, linear segmentation", iou(rule) - iou("random"))
        return above(gain, name=f"2: positives by {rule} − at random", **SHARE)

    yield from decides(
        below(
            exact(fit.p, "p"),
            0.05,
            name="1: multiple correlation of IoU with alignment and uniformity over models, p by permutation",
        ),
        over_random("place"),
        over_random("similarity"),
    )
    yield from secondary(
        above(exact(fit.r, "R, in [0, 1]"), 0.5, name="1: the multiple correlation itself"),
        over_random("index"),
    )
    lab.note(
        f"Small residual networks with a map of {GRID[0]} × {GRID[1]} on views of {CROP} pixels of scenes with up to",
        f"four emoji, {STEPS} steps at batch {BATCH}: dense InfoNCE at three temperatures, two seeds, four rules of",
        f"positives, and {len(EXPLICIT)} models of explicit alignment and uniformity, {len(models)} in all.",
        "Measured on scenes of emoji that training has nothing of; alignment at the same place and uniformity between",
        "pictures for all; performance: mean intersection over union of a linear classifier of pixels into groups and",
        "background.",
        "The claim's 'seeds' in 2 are temperatures × seeds.",
        "Coefficients: "
        + ", ".join(f"{k} {v:+.2f}" for k, v in fit.coefficients.items())
        + "; partial correlations: ",
        ", ".join(f"{k} {v:+.2f}" for k, v in fit.partial.items()) + ".",
        "IoU by rule: " + ", ".join(f"{rule} {iou(rule).mean():.3f}" for rule in RULES) + ".",
    )
