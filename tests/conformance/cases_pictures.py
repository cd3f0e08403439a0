"""Losses of methods of pictures alone: codes of prototypes, and pairs that label themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from case_tools import Case, Inputs, average, cosines, inverse, scores, total, two, unit, warm
from cases_first import cross_entropy_to, sinkhorn
from torch import Tensor


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


_SWAV: dict[str, Any] = {"temperature": warm, "epsilon": 0.5}
_LOW = {"positive": 0.3, "negative": 0.1}

CASES = (
    Case("swav", swav_loops, crops, _SWAV, unit=False, stop_gradient=True),
    Case("swav", swav_loops, crops_and_queues, _SWAV, "queue", unit=False, fixed=(2,), stop_gradient=True),
    Case("pixpro", pixpro_loops, patches, swap=other_view, stop_gradient=True),
    Case(
        "pixpro", pixpro_loops, patches, {"temperature": 0.3}, "contrast", swap=other_view, stop_gradient=True
    ),
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
