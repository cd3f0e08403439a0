"""The first losses: CLIP's, SigLIP's, SimCLR's, those of CLIP-rocket, alignment and uniformity."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from case_tools import (
    Case,
    Inputs,
    average,
    cosines,
    cross_entropy,
    global_and_local,
    infonce,
    inverse,
    raw,
    scores,
    total,
    transposed,
    two,
    two_by_two,
    two_with_ids,
    views,
    warm,
)
from torch import Tensor

from counterpoint.pairwise import Temperature


def infonce_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    return infonce(x, y, inverse(objective.temperature), *objective.weights, objective.label_smoothing)


def siglip_loops(objective: Any, x: Tensor, y: Tensor, ids: Tensor | None = None) -> Tensor:
    terms = []
    for i, row in enumerate(scores(x, y, inverse(objective.temperature))):
        for j, s in enumerate(row):
            positive = i == j if ids is None else bool(ids[i] == ids[j])
            z = 1.0 if positive else -1.0
            terms.append(-(1 / (1 + (-z * (s + objective.bias)).exp())).log())
    return total(terms) / len(x)


def focal_loops(objective: Any, x: Tensor, y: Tensor, ids: Tensor | None = None) -> Tensor:
    terms = []
    for i, row in enumerate(scores(x, y, inverse(objective.temperature))):
        for j, s in enumerate(row):
            positive = i == j if ids is None else bool(ids[i] == ids[j])
            p = 1 / (1 + (-s).exp())
            right, weight = (p, objective.alpha) if positive else (1 - p, 1 - objective.alpha)
            terms.append(-2 * weight * (1 - right) ** objective.gamma * right.log())
    return total(terms) / len(x)


def ntxent_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    z, n = torch.cat([x, y]), len(x)
    s = scores(z, z, inverse(objective.temperature))
    losses = []
    for a in range(2 * n):
        others = [b for b in range(2 * n) if b != a]
        partner = (a + n) % (2 * n)
        losses.append(cross_entropy([s[a][b] for b in others], others.index(partner)))
    return average(losses)


def rocket_loops(
    objective: Any, image: Tensor, text: Tensor, images: Sequence[Tensor], texts: Sequence[Tensor]
) -> Tensor:
    s_g, s_h = inverse(objective.global_.temperature), inverse(objective.local.temperature)
    eps, views = objective.local.label_smoothing, len(images)
    local = [infonce(h, t, s_h, smoothing=eps) for h in images for t in texts]
    mean = (infonce(image, text, s_g) + views * average(local)) / (1 + views)
    return mean * sum(objective.local.weights)


def sinkhorn(u: Sequence[Sequence[Tensor]], eps: float, iterations: int) -> list[list[Tensor]]:
    """Rows of ``u`` are samples, its columns centres; the card's steps on M = exp(U/eps)ᵀ."""
    m = [[(v.detach() / eps).exp() for v in centre] for centre in transposed(u)]
    k, b = len(m), len(m[0])
    everything = total([v for row in m for v in row])
    m = [[v / everything for v in row] for row in m]
    for _ in range(iterations):
        m = [[v / total(row) / k for v in row] for row in m]
        sums = [total(column) for column in transposed(m)]
        m = [[v / sums[j] / b for j, v in enumerate(row)] for row in m]
    return transposed([[b * v for v in row] for row in m])


def cross_entropy_to(q: Sequence[Sequence[Tensor]], logits: Sequence[Sequence[Tensor]]) -> Tensor:
    losses = []
    for target, row in zip(q, logits, strict=True):
        log_z = total([s.exp() for s in row]).log()
        losses.append(-total([t * (s - log_z) for t, s in zip(target, row, strict=True)]))
    return average(losses)


def swalip_loops(objective: Any, images: Sequence[Tensor], texts: Sequence[Tensor]) -> Tensor:
    scale = inverse(objective.temperature)
    losses = []
    for a in range(2):
        for b in range(2):
            target = scores(images[1 - a], texts[1 - b])
            logits = scores(images[a], texts[b], scale)
            for u, s in ((target, logits), (transposed(target), transposed(logits))):
                losses.append(cross_entropy_to(sinkhorn(u, objective.epsilon, objective.iterations), s) / 2)
    return total(losses) / 4


def prototypes_loops(objective: Any, image: Tensor, text: Tensor) -> Tensor:
    def rows(matrix: Tensor, scale: Tensor | float = 1.0) -> list[list[Tensor]]:
        return [[scale * v for v in row] for row in matrix]

    scale = inverse(objective.temperature)
    codes = [sinkhorn(rows(m), objective.epsilon, objective.iterations) for m in (image, text)]
    both = (cross_entropy_to(codes[1], rows(image, scale)), cross_entropy_to(codes[0], rows(text, scale)))
    return average(both)


def squared(a: Tensor, b: Tensor) -> Tensor:
    return total([(p - q) ** 2 for p, q in zip(a, b, strict=True)])


def spread(x: Tensor, y: Tensor, t: float) -> Tensor:
    pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if i != j]
    return average([(-t * squared(x[i], y[j])).exp() for i, j in pairs]).log()


def align_uniform_loops(objective: Any, *z: Tensor) -> Tensor:
    positives = [pair for x, y in combinations(z, 2) for pair in zip(x, y, strict=True)]
    align = average([squared(a, b) ** (objective.alpha / 2) for a, b in positives])
    uniform = average([spread(x, x, objective.t) for x in z])
    return objective.alignment * align + objective.uniformity * uniform


def contrastive_gap_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    clip = infonce(x, y, inverse(objective.infonce.temperature))
    align = average([squared(a, b) for a, b in zip(x, y, strict=True)])
    uniform = (spread(x, x, 2.0) + spread(y, y, 2.0)) / 2
    w = objective.spread
    cross = objective.cross_uniformity * spread(x, y, 2.0)
    return clip + w.alignment * align + w.uniformity * uniform + cross


def negative_cosine_loops(objective: Any, p: Tensor, v: Tensor) -> Tensor:
    return 2 - 2 * average([total(list(a * b.detach())) for a, b in zip(p, v, strict=True)])


def barlow_loops(objective: Any, u: Tensor, v: Tensor) -> Tensor:
    loss = []
    for k in range(u.shape[1]):
        for m in range(v.shape[1]):
            c = average([u[i, k] * v[i, m] for i in range(len(u))])
            loss.append((c - 1) ** 2 if k == m else objective.redundancy * c**2)
    return objective.scale * total(loss)


def both_pairs(inputs: Inputs) -> Inputs:
    return inputs[1], inputs[0], inputs[3], inputs[2]


CASES = (
    Case("infonce", infonce_loops, two, label="clip"),
    Case(
        "infonce",
        infonce_loops,
        two,
        {"temperature": lambda: Temperature(1.0), "weights": (1.0, 1.0), "label_smoothing": 0.1},
        label="align",
    ),
    Case("infonce", infonce_loops, two, {"temperature": 0.1, "weights": (0.75, 0.25)}, label="convirt"),
    Case(
        "infonce",
        infonce_loops,
        two,
        {"temperature": warm, "weights": (1.0, 0.0), "label_smoothing": 0.2},
        label="one_way",
    ),
    Case("siglip", siglip_loops, two, {"temperature": warm, "bias": -1.0}),
    Case("siglip", siglip_loops, two_with_ids, {"temperature": warm, "bias": -1.0}, label="ids"),
    Case("focal", focal_loops, two, {"temperature": warm, "gamma": 1.5, "alpha": 0.3}),
    Case("focal", focal_loops, two_with_ids, {"temperature": warm}, label="ids"),
    Case("ntxent", ntxent_loops, two, {"temperature": warm}, matrices=(1, 2)),
    Case(
        "rocket",
        rocket_loops,
        global_and_local,
        {"temperature": warm, "local_temperature": warm},
        matrices=(5, 1),
        swap=both_pairs,
    ),
    Case(
        "rocket",
        rocket_loops,
        global_and_local,
        {"reduction": "sum", "label_smoothing": 0.3},
        "sum",
        matrices=(5, 1),
        swap=both_pairs,
    ),
    Case(
        "swalip",
        swalip_loops,
        two_by_two,
        {"temperature": warm, "epsilon": 0.5},
        stop_gradient=True,
        matrices=(4, 1),
    ),
    Case(
        "swalip-prototypes",
        prototypes_loops,
        cosines,
        {"temperature": warm, "epsilon": 0.5},
        unit=False,
        stop_gradient=True,
    ),
    Case("align-uniform", align_uniform_loops, two, alone="uniformity of fewer than 2", matrices=(2, 1)),
    Case(
        "align-uniform",
        align_uniform_loops,
        views(3),
        {"uniformity": 0.5},
        "views",
        alone="uniformity of fewer than 2",
        matrices=(3, 1),
    ),
    Case(
        "align-uniform",
        align_uniform_loops,
        two,
        {"alpha": 1.5, "t": 3.0, "alignment": 3.0},
        "alpha",
        alone="uniformity of fewer than 2",
        matrices=(2, 1),
    ),
    Case(
        "contrastive-gap",
        contrastive_gap_loops,
        two,
        {"temperature": warm},
        "cua",
        alone="uniformity of fewer than 2",
        matrices=(4, 1),
    ),
    Case(
        "contrastive-gap",
        contrastive_gap_loops,
        two,
        {"temperature": warm, "cross_uniformity": 1.0},
        "cuaxu",
        alone="uniformity of fewer than 2",
        matrices=(4, 1),
    ),
    Case("negative-cosine", negative_cosine_loops, two, stop_gradient=True),
    Case("barlow-twins", barlow_loops, raw, unit=False),
)
