"""Losses of methods of pictures alone: codes of prototypes, and pairs that label themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from case_tools import Case, Inputs, average, cosines, inverse, scores, total, two, unit, warm
from cases_first import cross_entropy_to, sinkhorn
from torch import Tensor

from counterpoint.losses.ms_ssim import WEIGHTS


def swav_loops(
    objective: Any, large: Sequence[Tensor], small: Sequence[Tensor], queues: Sequence[Tensor] = ()
) -> Tensor:
    def rows(matrix: Tensor, scale: Tensor | float = 1.0) -> list[list[Tensor]]:
        return [[scale * v for v in row] for row in matrix]

    views, losses = [*large, *small], []
    for a, assigned in enumerate(large):
        balanced = [*rows(assigned), *(rows(queues[a]) if queues else ())]
        codes = sinkhorn(balanced, objective.epsilon, objective.iterations)[: len(assigned)]
        scale = inverse(objective.temperature)
        losses += [cross_entropy_to(codes, rows(s, scale)) for v, s in enumerate(views) if v != a]
    return average(losses)


def crops(g: torch.Generator, n: int, d: int) -> Inputs:
    return list(cosines(g, n, d)), list(cosines(g, n, d))


def crops_and_queues(g: torch.Generator, n: int, d: int) -> Inputs:
    return *crops(g, n, d), {"queues": list(cosines(g, 11, d))}


def cross_similarity_loops(objective: Any, p: Tensor, v: Tensor) -> Tensor:
    attraction, repulsion = [], []
    for i, row in enumerate(scores(p, v.detach())):
        for j, s in enumerate(row):
            cosine = objective.kind == "cosine"
            u = s if cosine else 1 / (1 + (-s / objective.temperature).exp())
            if i == j or u >= objective.positive:
                attraction.append(2 - 2 * s if cosine else -u.log())
            elif u <= objective.negative:
                repulsion.append(s.clamp_min(0) ** 2 if cosine else -(1 - u).log())
    if objective.kind == "sigmoid":
        return average(attraction + repulsion)
    apart = total(repulsion) / max(len(repulsion), 1) if repulsion else torch.zeros(()).to(p)
    return average(attraction) + objective.repulsion * apart


def patches(g: torch.Generator, n: int, d: int) -> Inputs:
    """Unit vectors of 4 and 3 patches; the second picture has no positive pair, and no other's first patch has one."""
    y, x = (unit(g, count * n, d).view(n, count, d) for count in (4, 3))
    positive = torch.rand(n, 4, 3, generator=g) < 0.5
    positive[:, 0], positive[:, 1, 1] = False, True
    positive[1:2] = False
    return y, x, positive


def other_view(inputs: Inputs) -> Inputs:
    y, x, positive = inputs
    return x, y, positive.mT


def pixpro_loops(objective: Any, y: Tensor, x: Tensor, positive: Tensor) -> Tensor:
    tau, pictures = objective.temperature, []
    for b in range(len(y)):
        cosine = scores(y[b], x[b].detach())
        pairs = [(i, j) for i, j in product(range(len(y[b])), range(len(x[b]))) if positive[b, i, j]]
        if not pairs:
            continue
        if tau is None:
            pictures.append(2 - 2 * average([cosine[i][j] for i, j in pairs]))
            continue
        anchors = []
        for i in sorted({i for i, _ in pairs}):
            near = total([(cosine[i][j] / tau).exp() for k, j in pairs if k == i])
            anchors.append(-(near / total([(s / tau).exp() for s in cosine[i]])).log())
        pictures.append(average(anchors))
    return average(pictures)


def segments(g: torch.Generator, n: int, d: int) -> Inputs:
    """Logits of 3 classes at 2 × 3 patches, a teacher's, and labels with borders, of which some are unknown."""
    logits = [torch.randn(n, 3, 2, 3, generator=g, dtype=torch.float64) for _ in range(2)]
    labels = torch.randint(0, 3, (n, 4, 3), generator=g).repeat_interleave(2, 1).repeat_interleave(3, 2)
    labels[torch.rand(labels.shape, generator=g) < 0.05] = 255
    return *logits, labels


def pictures(g: torch.Generator, n: int, d: int) -> Inputs:
    """Pictures of 6 × 6, and like ones, so that contrasts agree."""
    x, noise = torch.rand(2, n, 1, 6, 6, generator=g, dtype=torch.float64)
    return x, 0.7 * x + 0.3 * noise


def ms_ssim_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    window, sigma, r = objective.window, objective.sigma, objective.data_range
    line = [math.exp(-((k - window // 2) ** 2) / (2 * sigma**2)) for k in range(window)]
    mask = torch.tensor([[a * b / sum(line) ** 2 for a in line] for b in line], dtype=x.dtype)
    weights = WEIGHTS[: objective.scales]
    losses = []
    for a, b in zip(x, y, strict=True):
        value = torch.ones((), dtype=x.dtype)
        for scale, weight in enumerate(weights):
            if scale:
                a, b = (p.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean((2, 4)) for p in (a, b))
            terms = []
            for i, j in product(range(a.shape[1] - window + 1), range(a.shape[2] - window + 1)):
                u, v = (p[:, i : i + window, j : j + window] for p in (a, b))
                mu, nu = (u * mask).sum((1, 2)), (v * mask).sum((1, 2))
                of_x, of_y, both = (
                    (p * q * mask).sum((1, 2)) - m * n
                    for p, q, m, n in ((u, u, mu, mu), (v, v, nu, nu), (u, v, mu, nu))
                )
                cs = (2 * both + (0.03 * r) ** 2) / (of_x + of_y + (0.03 * r) ** 2)
                luminance = (2 * mu * nu + (0.01 * r) ** 2) / (mu**2 + nu**2 + (0.01 * r) ** 2)
                terms.append(luminance * cs if scale == len(weights) - 1 else cs)
            value = value * torch.stack(terms).mean() ** (weight / sum(weights))
        losses.append(1 - value)
    return average(losses)


def bpkd_loops(objective: Any, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    (classes, rows, columns), t, r = student.shape[1:], objective.temperature, objective.radius
    (height, width), pictures = labels.shape[1:], []
    tall, wide, teacher = height // rows, width // columns, teacher.detach()

    def divergence(target: list[Tensor], own: list[Tensor]) -> Tensor:
        p, q = (torch.stack(it).div(t).softmax(0) for it in (target, own))
        return total([t * t * a * (a.log() - b.log()) for a, b in zip(p, q, strict=True)])

    for b in range(len(student)):
        truth, share = labels[b].tolist(), torch.zeros(classes, rows, columns, dtype=torch.float64)
        for c, y, x in product(range(classes), range(height), range(width)):
            near = [
                truth[j][i] == c
                for j in range(max(y - r, 0), min(y + r + 1, height))
                for i in range(max(x - r, 0), min(x + r + 1, width))
            ]
            if truth[y][x] != 255 and any(near) and not all(near):
                share[c, y // tall, x // wide] += 1 / (tall * wide)
        places = list(product(range(rows), range(columns)))
        edge = []
        for y, x in places:
            of = [[z[b, c, y, x] * share[c, y, x] for c in range(classes)] for z in (teacher, student)]
            edge.append(divergence(*of))
        at_edge, inside = [], []
        for c in range(classes):
            n = max(1.0, float(share[c].sum()))
            at_edge += [
                objective.alpha / n * e * share[c, y, x] for e, (y, x) in zip(edge, places, strict=True)
            ]
            of = [[z[b, c, y, x] * (1 - share[c, y, x]) for y, x in places] for z in (teacher, student)]
            inside.append(divergence(*of))
        pictures.append(objective.edge * total(at_edge) + objective.body * average(inside))
    return average(pictures)


_SWAV: dict[str, Any] = {"temperature": warm, "epsilon": 0.5}
_LOW = {"positive": 0.3, "negative": 0.1}

CASES = (
    Case("swav", swav_loops, crops, _SWAV, unit=False, stop_gradient=True),
    Case("swav", swav_loops, crops_and_queues, _SWAV, "queue", unit=False, fixed=(2,), stop_gradient=True),
    Case("pixpro", pixpro_loops, patches, swap=other_view, stop_gradient=True),
    Case(
        "pixpro", pixpro_loops, patches, {"temperature": 0.3}, "contrast", swap=other_view, stop_gradient=True
    ),
    Case("ms-ssim", ms_ssim_loops, pictures, {"scales": 2, "window": 3}, unit=False),
    Case(
        "ms-ssim",
        ms_ssim_loops,
        pictures,
        {"scales": 1, "window": 5, "sigma": 1.0, "data_range": 2.0},
        "ssim",
        unit=False,
    ),
    Case("bpkd", bpkd_loops, segments, {"radius": 1}, unit=False, stop_gradient=True),
    Case("bpkd", bpkd_loops, segments, {"temperature": 1.0}, "wide", unit=False, stop_gradient=True),
    Case("cross-similarity", cross_similarity_loops, two, {**_LOW, "repulsion": 0.5}, stop_gradient=True),
    Case(
        "cross-similarity",
        cross_similarity_loops,
        two,
        {**_LOW, "kind": "sigmoid"},
        "sigmoid",
        stop_gradient=True,
    ),
)
