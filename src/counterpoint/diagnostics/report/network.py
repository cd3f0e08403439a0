"""Sections about what happens inside the image tower, and about the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...methods.base import TwoTower
from ...types import Batch, Clock
from .. import plots
from ..capture import Captured, Step, captured
from ..dense import at_same_place, dense_alignment, dense_uniformity
from ..inside import attention as heads
from ..inside.cka import CKA
from ..inside.fourier import relative_log_amplitude, spatial_variance
from ..inside.hessian import penalised, summary, top_eigenvalues
from ..inside.lesions import lesions
from .subject import BATCH, Section, Subject

CROP = 0.75
"""The side of the two opposite crops whose patches are compared, as a share of the picture's."""
BATCHES, LARGEST, EXAMPLES, PRODUCTS = 3, 5, 8, 12
"""Batches whose Hessian is looked at, eigenvalues of each, examples in one, and products with vectors for each."""


def dense_features(subject: Subject) -> Section:
    """Last states of the tower, of two crops of each picture that overlap."""
    tower = subject.model.image_tower
    pictures = subject.data.images(subject.inside)
    h, w = pictures.shape[-2:]
    high, wide = int(CROP * h), int(CROP * w)
    boxes = torch.tensor([[0, 0, wide, high], [w - wide, h - high, w, h]], dtype=torch.float32)
    crops = (pictures[..., :high, :wide], pictures[..., h - high :, w - wide :])

    maps = []
    for crop in crops:
        parts = [
            captured(tower, tower.prepare(part).to(subject.device)).maps()[-1]
            for part in torch.split(crop, BATCH)
        ]
        maps.append(torch.cat(parts))
    grid = tuple(maps[0].shape[-2:])
    z, other = (m.flatten(2).mT for m in maps)
    first, second = boxes[:, None].expand(2, len(z), 4)
    match = at_same_place(first, second, (grid[0], grid[1])).to(z.device)
    spread = dense_uniformity(z)
    numbers = {
        "alignment of the same place": dense_alignment(z, other, match),
        "uniformity of all pairs": spread.all,
        "uniformity within a picture": spread.within,
        "uniformity between pictures": spread.between,
    }
    sentence = (
        f"Patches of the last layer that show the same place in two crops are "
        f"{numbers['alignment of the same place']:.2f} apart (squared, of 4); patches of different pictures are "
        f"spread by {spread.between:.2f}, those of one by {spread.within:.2f} (0: all alike)."
    )
    return Section(
        "dense", "Alignment and uniformity of patches", sentence, numbers, plots.bars(numbers, x="")
    )


def frequencies(subject: Subject) -> Section:
    """Δ log amplitude at the highest frequency and variance after each step, of the model and of its start."""
    ticks: tuple[Step, ...] = ()
    top: dict[str, np.ndarray] = {}
    variance: dict[str, np.ndarray] = {}
    for name, model in {"trained": subject.model, "at the start": subject.start}.items():
        steps, (high, spread) = _by_step(
            subject, model, lambda m: (float(relative_log_amplitude(m)[-1]), spatial_variance(m))
        )
        top[name], variance[name], ticks = high, spread, steps
    curves: dict[str, plots.Curve] = {name: (range(len(ticks)), values) for name, values in top.items()}
    change = np.diff(top["trained"])
    kinds = np.array([step.kind for step in ticks[1:]])
    numbers = {f"Δ log amplitude after {s}": v for s, v in zip(ticks, top["trained"], strict=True)}
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
    return Section("fourier", "Frequencies by depth", sentence, numbers, figure)


def _by_step(
    subject: Subject, model: TwoTower, measure: Callable[[Tensor], Sequence[float]]
) -> tuple[tuple[Step, ...], np.ndarray]:
    """Numbers of the maps after each step, averaged over batches, ``(numbers, steps)``."""
    found, sizes = [], []
    steps: tuple[Step, ...] = ()
    for look in subject.looks(model):
        found.append([measure(m) for m in look.maps()])
        sizes.append(len(look.output))
        steps = look.steps
    return steps, np.average(np.array(found), axis=0, weights=sizes).T


def _heads(subject: Subject, measure: Callable[[Captured, Tensor], Tensor]) -> list[Tensor]:
    """A measure of the patches' attention in each block, averaged over batches."""
    found: list[list[Tensor]] = []
    for look in subject.looks(subject.model):
        found.append([measure(look, heads.spatial(a, look.prefix)) for a in look.attended()])
    return [torch.stack(block).nanmean(0).cpu() for block in zip(*found, strict=True)]


def attention_distance(subject: Subject) -> Section:
    far = _heads(subject, lambda look, a: heads.distance(a, _grid(look)))
    numbers = {f"block {b}, head {h}": float(d) for b, block in enumerate(far) for h, d in enumerate(block)}
    means = [float(block.mean()) for block in far]
    h, w = _grid(next(subject.looks(subject.model)))
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
    return Section("attention", "How far heads look", sentence, numbers, figure)


def offset_heads(subject: Subject) -> Section:
    maps = _heads(subject, lambda look, a: heads.aligned(a, _grid(look)))
    found = [heads.offsets(m) for m in maps]
    local = [int(o.local().sum()) for o in found]
    numbers = {
        f"block {b}, head {h}, patches aside": float(s)
        for b, o in enumerate(found)
        for h, s in enumerate(o.steps)
    }
    numbers = {"offset local heads": float(sum(local))} | numbers
    sentence = (
        f"{sum(local)} of {sum(len(o.steps) for o in found)} heads look at a neighbour in a fixed direction: "
        f"more than half a patch aside, with half of their attention in 3 × 3 patches."
    )
    figure = plots.scatter(
        {f"block {b}": o.centre.numpy() * [1, -1] for b, o in enumerate(found)},
        x="right",
        y="up",
        equal=True,
    )
    return Section("offsets", "Heads that look aside", sentence, numbers, figure)


def _grid(look: Captured) -> tuple[int, int]:
    assert look.grid is not None  # attention is among patches
    return look.grid


def layers(subject: Subject) -> Section:
    """CKA of each step with each other, and with the same step at the start."""
    within, against = CKA(), CKA()
    steps: tuple[Step, ...] = ()
    for look, start in zip(subject.looks(subject.model), subject.looks(subject.start), strict=True):
        if len(look.output) < BATCH and steps:
            break  # the last, smaller batch
        steps = look.steps
        own = [m.mean((2, 3)) for m in look.maps()]
        within.update(own, own)
        against.update(own, [m.mean((2, 3)) for m in start.maps()])
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
    return Section("cka", "Layers that agree", sentence, numbers, plots.heat(matrix, names, names))


def lesion_study(subject: Subject) -> Section:
    """How far the embedding turns without each step, and what retrieval loses."""
    model, tower = subject.model, subject.model.image_tower
    pictures = subject.data.images(subject.inside)
    whole = model.embed("image", pictures)
    turned = {
        step: -drop
        for step, drop in lesions(
            tower, lambda: -float((1 - (model.embed("image", pictures) * whole).sum(1)).mean())
        ).items()
    }
    numbers = {f"turn without {step}": -value for step, value in turned.items()}
    shown = {f"without {step}": -value for step, value in turned.items()}
    worst = max(shown, key=lambda name: shown[name])
    sentence = f"The embedding turns most {worst}: by {shown[worst]:.2f} (1 − cosine)."
    if subject.both:
        texts = model.embed("text", subject.captions(subject.inside))

        def found_first() -> float:
            scores = model.similarity(model.embed("image", pictures), texts)
            return float((scores.argmax(1).cpu() == torch.arange(len(scores))).double().mean())

        whole_score = found_first()
        numbers["pictures whose text is first, whole"] = whole_score
        numbers |= {f"lost without {step}": drop for step, drop in lesions(tower, found_first).items()}
        sentence += f" Whole, {whole_score:.0%} of {len(pictures)} pictures find their text."
    return Section(
        "lesions",
        "What each step is worth",
        sentence,
        numbers,
        plots.bars(shown, x="1 − cosine to the whole"),
    )


def curvature(subject: Subject) -> Section:
    """Leading eigenvalues of the Hessian of the training loss, weight decay and augmentation included."""
    model = subject.model
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    found = []
    for step in range(BATCHES):
        batch = next(iter(subject.loader.batch(step).split(EXAMPLES))).to(subject.device)
        found.append(
            top_eigenvalues(
                lambda batch=batch: penalised(_loss(model, batch), weights, subject.weight_decay),  # type: ignore[misc] # bound at once
                weights,
                k=LARGEST,
                steps=PRODUCTS,
            )
        )
    values = torch.stack(found).cpu()
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
    return Section("hessian", "Curvature of the loss", sentence, numbers, figure)


def _loss(model: TwoTower, batch: Batch) -> Tensor:
    z = {**model.targets(batch), **model.encode(batch)}
    return torch.stack(list(model.losses(z, batch, Clock(0, 1)).values())).sum()
