"""Sections about what happens inside the image tower, and about the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ...frames import of_boxes
from ...methods.tower_method import TowerMethod
from ...types import Batch, StepInfo
from .. import plots
from ..capture import Captured, Step, captured
from ..dense import at_same_place, dense_alignment, dense_uniformity
from ..internals import attention as heads
from ..internals.ablations import ablations
from ..internals.cka import CKA
from ..internals.fourier import relative_log_amplitude, spatial_variance
from ..internals.hessian import penalised, summary, top_eigenvalues
from ..internals.landscape import landscape
from ..internals.neighbours import named_by_neighbours
from ..internals.residuals import residuals
from .subject import BATCH, DiagnosticSection, Subject, spaced

CROP = 0.75
"""The side of the two opposite crops whose patches are compared, as a share of the picture's."""
CLASSIFIED = 1000
"""Pictures that are named by their neighbours, at most."""
GRID_POINTS = 11
"""Points along each direction of the loss's landscape, in steps of a fifth."""
RADII = (0.2, 0.4, 0.6, 1.0)
"""Distances from the weights at which the rise of the loss is given."""
BATCHES, LARGEST, EXAMPLES, PRODUCTS = 3, 5, 8, 12
"""Batches whose Hessian is looked at, eigenvalues of each, examples in one, and products with vectors for each."""
_CLOCK = StepInfo(0, 1)
"""The time at which the loss is looked at."""


def dense_features(subject: Subject) -> DiagnosticSection:
    """Return the last states of the tower, of two crops of each picture that overlap."""
    tower = subject.model.image_tower
    pictures = subject.pictures(subject.inside)
    h, w = pictures.shape[-2:]
    high, wide = int(CROP * h), int(CROP * w)
    boxes = torch.tensor([[0, 0, wide, high], [w - wide, h - high, w, h]]) / torch.tensor([w, h, w, h])
    crops = (pictures[..., :high, :wide], pictures[..., h - high :, w - wide :])

    maps = []
    for crop in crops:
        parts = [
            captured(tower, tower.input(part).to(subject.device)).maps()[-1]
            for part in torch.split(crop, BATCH)
        ]
        maps.append(torch.cat(parts))
    grid = tuple(maps[0].shape[-2:])
    z, other = (m.flatten(2).mT for m in maps)
    first, second = of_boxes(boxes)[:, None].expand(2, len(z), 2, 3)
    match = at_same_place(first, second, (grid[0], grid[1])).to(z.device)
    spread = dense_uniformity(z)
    numbers = {
        "alignment of the same place": dense_alignment(z, other, match),
        "uniformity of all pairs": spread.all,
        "uniformity within a picture": spread.within,
        "uniformity between pictures": spread.between,
    }
    # A map of one place has no pair of patches within a picture.
    within = "" if math.isnan(spread.within) else f", those of one by {spread.within:.2f}"
    sentence = (
        f"Patches of the last layer that show the same place in two crops are "
        f"{numbers['alignment of the same place']:.2f} apart (squared, of 4); patches of different pictures are "
        f"spread by {spread.between:.2f}{within} (0: all alike)."
    )
    return DiagnosticSection(
        "dense", "Alignment and uniformity of patches", sentence, numbers, plots.bars(numbers, x="")
    )


def frequencies(subject: Subject) -> DiagnosticSection:
    """Return Δ log amplitude at the highest frequency and variance after each step, of the model and of its start."""
    ticks: tuple[Step, ...] = ()
    top: dict[str, np.ndarray] = {}
    variance: dict[str, np.ndarray] = {}
    for name, model in {"trained": subject.model, "at the start": subject.start}.items():
        steps, (high, spread) = _by_step(subject, model, lambda m: (_highest(m), spatial_variance(m)))
        top[name], variance[name], ticks = high, spread, steps
    if np.isnan(top["trained"]).all():
        raise ValueError("all maps are smaller than 4 × 4: too small to have frequencies")
    curves: dict[str, plots.Curve] = {name: (range(len(ticks)), values) for name, values in top.items()}
    change = np.diff(top["trained"])
    kinds = np.array([step.kind for step in ticks[1:]])
    numbers = {
        f"Δ log amplitude after {s}": v
        for s, v in zip(ticks, top["trained"], strict=True)
        if not math.isnan(v)
    }
    numbers |= {f"variance after {s}": v for s, v in zip(ticks, variance["trained"], strict=True)}
    if "attention" in kinds:
        numbers = {
            "mean change by attention": float(change[kinds == "attention"].mean()),
            "mean change by feed-forward": float(change[kinds == "mlp"].mean()),
        } | numbers
        sentence = (
            f"Attention changes the highest frequency by {numbers['mean change by attention']:+.2f} a step and the "
            f"feed-forward steps by {numbers['mean change by feed-forward']:+.2f}: below 0 smooths. Only "
            f"neighbours of one curve compare; an untrained network smooths as well."
        )
    else:
        sentence = (
            "Only neighbours of one curve compare, and maps of one size: where a block shrinks the map, the "
            "curve jumps."
        )
    figure = plots.lines(curves, x="after", y="Δ log amplitude at the top", ticks=[str(s) for s in ticks])
    return DiagnosticSection("fourier", "Frequencies by depth", sentence, numbers, figure)


def _highest(maps: Tensor) -> float:
    """Return Δ log amplitude at the highest frequency; NaN for maps that are too small to have any."""
    return float(relative_log_amplitude(maps)[-1]) if min(maps.shape[-2:]) >= 4 else math.nan


def _by_step(
    subject: Subject, model: TowerMethod, measure: Callable[[Tensor], Sequence[float]]
) -> tuple[tuple[Step, ...], np.ndarray]:
    """Return numbers of the maps after each step, averaged over batches, ``(numbers, steps)``."""
    measured, sizes = [], []
    steps: tuple[Step, ...] = ()
    for look in subject.captures(model):
        measured.append([measure(m) for m in look.maps()])
        sizes.append(len(look.output))
        steps = look.steps
    return steps, np.average(np.array(measured), axis=0, weights=sizes).T


def _heads(subject: Subject, measure: Callable[[Captured, Tensor], Tensor]) -> list[Tensor]:
    """Return a measure of the patches' attention in each block, averaged over batches."""
    measured: list[list[Tensor]] = []
    for look in subject.captures(subject.model):
        measured.append([measure(look, heads.spatial(a, look.prefix)) for a in look.attended()])
    return [torch.stack(block).nanmean(0).cpu() for block in zip(*measured, strict=True)]


def attention_distance(subject: Subject) -> DiagnosticSection:
    far = _heads(subject, lambda capture, a: heads.distance(a, capture.patches))
    numbers = {f"block {b}, head {h}": float(d) for b, block in enumerate(far) for h, d in enumerate(block)}
    means = [float(block.mean()) for block in far]
    h, w = next(subject.captures(subject.model)).patches
    everywhere = float(heads.distance(torch.full((1, 1, h * w, h * w), 1 / (h * w)), (h, w)))
    dots = {
        f"head {h}": np.array([[b, float(block[h])] for b, block in enumerate(far)])
        for h in range(len(far[0]))
    }
    sentence = (
        f"Heads of the first block look {means[0]:.2f} of the picture's side away on average, those of the last "
        f"{means[-1]:.2f}; one that looks everywhere alike looks {everywhere:.2f} away."
    )
    figure = plots.lines(
        {name: (points[:, 0], points[:, 1]) for name, points in dots.items()}
        if len(dots) <= 8
        else {"mean of the heads": (range(len(means)), means)},
        x="block",
        y="distance, sides of the picture",
        ticks=[str(b) for b in range(len(far))],
    )
    return DiagnosticSection("attention", "How far heads look", sentence, numbers, figure)


def offset_heads(subject: Subject) -> DiagnosticSection:
    maps = _heads(subject, lambda capture, a: heads.aligned(a, capture.patches))
    offsets = [heads.offsets(m) for m in maps]
    local = [int(o.local().sum()) for o in offsets]
    numbers = {
        f"block {b}, head {h}, patches aside": float(s)
        for b, o in enumerate(offsets)
        for h, s in enumerate(o.steps)
    }
    numbers = {"offset local heads": float(sum(local))} | numbers
    sentence = (
        f"{sum(local)} of {sum(len(o.steps) for o in offsets)} heads look at a neighbour in a fixed direction: "
        f"more than half a patch aside, with half of their attention in 3 × 3 patches."
    )
    figure = plots.scatter(
        {f"block {b}": o.centre.numpy() * [1, -1] for b, o in enumerate(offsets)},
        x="right",
        y="up",
        equal=True,
    )
    return DiagnosticSection("offsets", "Heads that look aside", sentence, numbers, figure)


def layers(subject: Subject) -> DiagnosticSection:
    """Return CKA of each step with each other, and with the same step at the start."""
    within, against = CKA(), CKA()
    steps: tuple[Step, ...] = ()
    for look, start in zip(
        _of_one_size(subject, subject.model), _of_one_size(subject, subject.start), strict=True
    ):
        steps = look.steps
        pooled = [m.mean((2, 3)) for m in look.maps()]
        within.update(pooled, pooled)
        against.update(pooled, [m.mean((2, 3)) for m in start.maps()])
    matrix, changed = within.value().cpu().numpy(), against.value().diagonal().cpu().numpy()
    names = [str(step) for step in steps]
    numbers = {f"{name}, with its start": float(v) for name, v in zip(names, changed, strict=True)}
    numbers |= {
        f"{a} with {b}": float(v) for a, b, v in zip(names, names[1:], matrix.diagonal(1), strict=False)
    }
    sentence = (
        f"The first and the last layer agree to {matrix[0, -1]:.2f} (1: the same up to rotation and scale); "
        f"training has left the last layer {changed[-1]:.2f} like its start."
    )
    return DiagnosticSection("cka", "Layers that agree", sentence, numbers, plots.heat(matrix, names, names))


def _of_one_size(subject: Subject, model: TowerMethod) -> Iterator[Captured]:
    """Yield all batches, but for a last, smaller one after others."""
    for number, look in enumerate(subject.captures(model)):
        if number and len(look.output) < BATCH:
            return
        yield look


def skips(subject: Subject) -> DiagnosticSection:
    """Return CKA and norms of what each step is given and what it adds."""
    branches = residuals(_of_one_size(subject, subject.model))
    names = [str(step) for step in branches.steps]
    matrix, ratio = branches.alignment.cpu().numpy(), branches.ratio.cpu().numpy()
    numbers = {
        f"{name}, CKA of what it is given and what it adds": float(v)
        for name, v in zip(names, matrix.diagonal(), strict=True)
    }
    numbers |= {f"{name}, ratio of their norms": float(v) for name, v in zip(names, ratio, strict=True)}
    most = int(np.argmin(ratio))
    sentence = (
        f"What goes on past a step is {np.median(ratio):.1f} times as long as what the step adds (median), and least "
        f"so at {names[most]}, {ratio[most]:.1f} times. Rows: what a step is given; columns: what a step adds; 1: alike"
        f" up to rotation and scale, so that nothing new is added."
    )
    figure = plots.heat(matrix, [f"given to {name}" for name in names], names)
    return DiagnosticSection("skips", "What steps add", sentence, numbers, figure)


def neighbours(subject: Subject) -> DiagnosticSection:
    """Report how often the nearest neighbours name the class, by block, of the model and of its start."""
    rows = spaced(subject.rows, CLASSIFIED)
    classes = subject.labels(rows)
    rows, classes = rows[(classes >= 0).numpy()], classes[classes >= 0]
    pictures = subject.pictures(rows)
    curves: dict[str, plots.Curve] = {}
    for name, model in (("trained", subject.model), ("at the start", subject.start)):
        batches = [
            [m.mean((2, 3)) for m in look.block_maps().values()] for look in subject.captures(model, pictures)
        ]
        layers = [torch.cat(layer) for layer in zip(*batches, strict=True)]
        shares = [float(named_by_neighbours(z, classes).double().mean()) for z in layers]
        curves[name] = range(len(shares)), shares
    numbers = {f"block {b}, {name}": v for name, (_, up) in curves.items() for b, v in enumerate(up)}
    trained = curves["trained"][1]
    numbers["the largest class"] = float(classes.bincount().max()) / len(classes)
    best = int(np.argmax(trained))
    sentence = (
        f"By their nearest neighbours, features of block {best} tell the {subject.label} best: of {len(rows)} pictures "
        f"{trained[best]:.0%} are named by the 20 others nearest to them, {trained[-1]:.0%} in the last block, and "
        f"{max(curves['at the start'][1]):.0%} at best before training; the largest class has "
        f"{numbers['the largest class']:.0%}."
    )
    figure = plots.lines(
        curves, x="block", y="named by neighbours", ticks=[str(b) for b in range(len(trained))]
    )
    return DiagnosticSection("neighbours", "Nearest neighbours by block", sentence, numbers, figure)


def ablation_study(subject: Subject) -> DiagnosticSection:
    """Report how far the embedding turns without each step, and what retrieval loses."""
    model, tower = subject.model, subject.model.image_tower
    pictures = subject.pictures(subject.inside)
    whole = model.embed(subject.picture, pictures)
    turns = ablations(
        tower, lambda: -float((1 - (model.embed(subject.picture, pictures) * whole).sum(1)).mean())
    )
    numbers = {f"turn without {step}": turn for step, turn in turns.items()}
    shown = {f"without {step}": turn for step, turn in turns.items()}
    worst = max(shown, key=lambda name: shown[name])
    sentence = f"The embedding turns most {worst}: by {shown[worst]:.2f} (1 − cosine)."
    if subject.of_captions:
        captions = subject.columns[1]
        texts = model.embed(captions, subject.data.read(captions, subject.inside))

        def found_first() -> float:
            scores = model.similarity(model.embed(subject.picture, pictures), texts)
            return float((scores.argmax(1).cpu() == torch.arange(len(scores))).double().mean())

        whole_score = found_first()
        numbers["pictures whose text is first, whole"] = whole_score
        numbers |= {f"lost without {step}": drop for step, drop in ablations(tower, found_first).items()}
        sentence += f" Whole, {whole_score:.0%} of {len(pictures)} pictures find their text."
    return DiagnosticSection(
        "ablations",
        "What each step is worth",
        sentence,
        numbers,
        plots.bars(shown, x="1 − cosine to the whole"),
    )


def curvature(subject: Subject) -> DiagnosticSection:
    """Compute leading eigenvalues of the Hessian of the training loss, weight decay and augmentation included."""
    model = subject.model
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    eigenvalues = []
    for step in range(BATCHES):
        batch = _batch(subject, step, EXAMPLES)
        eigenvalues.append(
            top_eigenvalues(
                lambda batch=batch: penalised(_loss(model, batch), weights, subject.weight_decay),  # type: ignore[misc] # bound at once
                weights,
                k=LARGEST,
                steps=PRODUCTS,
            )
        )
    values = torch.stack(eigenvalues).cpu()
    numbers_of = summary(values)
    numbers = {
        "largest eigenvalue": numbers_of.largest,
        "mean of the positive": numbers_of.sharpness,
        "share of the negative": numbers_of.negative,
    }
    sentence = (
        f"Of the {LARGEST} largest eigenvalues of each of {BATCHES} batches {numbers_of.negative:.0%} are negative "
        f"(0 %: convex around here), and the positive ones are {numbers_of.sharpness:.3g} on average (small: flat)."
    )
    figure = plots.histograms({"eigenvalues": values.flatten().numpy()}, x="eigenvalue of the Hessian")
    return DiagnosticSection("hessian", "Curvature of the loss", sentence, numbers, figure)


def terrain(subject: Subject) -> DiagnosticSection:
    """Compute the training loss with its augmentation along two random directions, without and with decay."""
    model = subject.model
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decayed = [p for p in weights.values() if p.ndim > 1]
    batch = _batch(subject, 0, BATCH)
    # Both along the same directions; apart, as the square of all weights can be far larger than the loss.
    bare = landscape(lambda: _loss(model, batch), weights, points=GRID_POINTS)
    decay = landscape(
        lambda: penalised(torch.zeros((), device=subject.device), decayed, subject.weight_decay),
        weights,
        points=GRID_POINTS,
    )
    numbers = {"loss at the weights": bare.here}
    for r in RADII:
        numbers[f"rise at {r:g} of their length"] = bare.rise(r)
        numbers[f"rise at {r:g} of their length, with weight decay"] = bare.rise(r) + decay.rise(r)
    numbers["share of the square that is lower"] = bare.lower()
    sentence = (
        f"A step of a fifth of the weights' own length in a random direction raises the loss from {bare.here:.3g} by "
        f"{bare.rise(0.2):.3g} on average (with weight decay by {bare.rise(0.2) + decay.rise(0.2):.3g}), a step of "
        f"their whole length by {bare.rise(1.0):.3g} (small: flat). {bare.lower():.0%} of the square lies below the "
        "weights."
    )
    figure = plots.contours(bare.at, bare.loss, x="first direction, in lengths of the weights", y="second")
    return DiagnosticSection("landscape", "The loss around the weights", sentence, numbers, figure)


def _batch(subject: Subject, step: int, size: int) -> Batch:
    """Return the first examples of a step of training, as the method prepares them."""
    batch = next(iter(subject.loader.batch(step).split(size))).to(subject.device)
    with torch.no_grad(), _drawing(step):
        return subject.model.prepare(batch, _CLOCK)


def _loss(model: TowerMethod, batch: Batch) -> Tensor:
    with _drawing(0):
        z = {**model.targets(batch), **model.encode(batch)}
        return torch.stack(list(model.losses(z, batch, _CLOCK).values())).sum()


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Draw alike at every call, as a loss that is drawn anew is another function; other draws are not touched."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
