"""Losses that weigh what InfoNCE counts alike: positives, negatives, anchors, or only the hardest negatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from case_tools import (
    Case,
    Inputs,
    average,
    cross_entropy,
    inverse,
    scores,
    total,
    transposed,
    two,
    unit,
    warm,
)
from torch import Tensor


def of_views(x: Tensor, y: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
    """For every view of every example: the cosine of its other view, and those of all views of other examples."""
    found = []
    for one, other in ((x, y), (y, x)):
        for i in range(len(x)):
            rest = [k for k in range(len(x)) if k != i]
            negatives = [total(list(one[i] * side[k])) for side in (one, other) for k in rest]
            found.append((total(list(one[i] * other[i])), negatives))
    return found


def log_sum(values: list[Tensor]) -> Tensor:
    return total([v.exp() for v in values]).log()


def dcl_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    scale, n = inverse(objective.temperature), len(x)
    weights = [torch.tensor(1.0)] * n
    if objective.weighted:
        close = [(total(list(a * b)).detach() / objective.sigma).exp() for a, b in zip(x, y, strict=True)]
        weights = [(2 - c / average(close)).clamp_min(0) for c in close]
    anchors = of_views(x, y)
    one_way = []
    for side in (anchors[:n], anchors[n:]):
        losses = [
            log_sum([scale * s for s in negatives]) - w * scale * positive
            for w, (positive, negatives) in zip(weights, side, strict=True)
        ]
        one_way.append(average(losses))
    return total(one_way)


def appearance_loops(
    objective: Any, *views: Tensor, labels: Tensor, appearances: Tensor | None = None
) -> Tensor:
    x, n, losses = [row for view in views for row in view], len(labels), []
    s = [[total(list(a * b)) / objective.temperature for b in x] for a in x]
    for i in range(len(x)):
        known = labels[i % n] >= 0
        same = [j for j in range(len(x)) if j % n == i % n or (known and labels[j % n] == labels[i % n])]
        negatives = [torch.zeros((), dtype=x[0].dtype)]
        for j in (j for j in range(len(x)) if j not in same):
            like = (
                0.0
                if appearances is None
                else float((appearances[i % n] * appearances[j % n]).sum().detach())
            )
            negatives.append(min(max(1 - like, 0.0), 1.0) * s[i][j].exp())
        terms = [(s[i][p].exp() + total(negatives)).log() - s[i][p] for p in same if p != i]
        losses += [average(terms)] if terms else []
    return average(losses) if losses else 0 * total(list(x[0]))


def subjects(count: int, alike: bool = False) -> Callable[[torch.Generator, int, int], Inputs]:
    def inputs(g: torch.Generator, n: int, d: int) -> Inputs:
        given = {"labels": torch.randint(-1, 3, (n,), generator=g)}
        given |= {"appearances": unit(g, n, 3)} if alike else {}
        return *(unit(g, n, d) for _ in range(count)), given

    return inputs


def macl_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    alignment = average([total(list(a * b)) for a, b in zip(x, y, strict=True)]).detach()
    tau = objective.temperature * (1 + objective.alpha * (alignment - objective.threshold))
    tau = tau.clamp_min(0.05 * objective.temperature)
    losses = []
    for positive, negatives in of_views(x, y):
        among = [(s / tau).exp() for s in (positive, *negatives)]
        p = among[0] / total(among)
        v = 1 / (1 - p.detach()) if objective.reweight else 1.0
        losses.append(-v * p.log())
    return average(losses)


def llave_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    scale, cosines = inverse(objective.temperature), scores(x, y)

    def one_way(matrix: list[list[Tensor]]) -> Tensor:
        losses = []
        for i, row in enumerate(matrix):
            weights = [1.0 if j == i else (objective.alpha * s.detach()).exp() for j, s in enumerate(row)]
            among = [w * (scale * s).exp() for w, s in zip(weights, row, strict=True)]
            losses.append(-(among[i] / total(among)).log())
        return average(losses)

    return (one_way(cosines) + one_way(transposed(cosines))) / 2


def diht_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    logits, n = scores(x, y, inverse(objective.temperature)), len(x)

    def one_way(matrix: list[list[Tensor]]) -> Tensor:
        losses = []
        for i, row in enumerate(matrix):
            rest = [j for j in range(n) if j != i]
            hardness = {j: (objective.beta * row[j]).exp() for j in rest}
            if objective.detach_weights:
                hardness = {j: h.detach() for j, h in hardness.items()}
            everyone = total(list(hardness.values()))
            negatives = [(n - 1) * hardness[j] / everyone * row[j].exp() for j in rest]
            losses.append((objective.alpha * row[i].exp() + total(negatives)).log() - row[i])
        return average(losses)

    return one_way(logits) + one_way(transposed(logits))


def hard_contrastive_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    n, scale = len(x), inverse(objective.temperature)
    k = math.ceil(objective.fraction * (n - 1))
    cosines = scores(x, y)
    losses = []
    for matrix in (cosines, transposed(cosines)):
        for i, row in enumerate(matrix):
            hardest = sorted(
                (s for j, s in enumerate(row) if j != i), key=lambda s: float(s.detach()), reverse=True
            )[:k]
            if objective.simple:
                weight = 1 / k if objective.repulsion is None else objective.repulsion
                losses.append(weight * total(hardest) - row[i])
            else:
                losses.append(cross_entropy([scale * s for s in (row[i], *hardest)], 0))
    return average(losses)


def margin_ntxent_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    scale, m = inverse(objective.temperature), objective.margin
    if objective.two_sided:
        anchors = of_views(x, y)
    else:
        matrix = scores(x, y)
        anchors = [(row[i], [s for j, s in enumerate(row) if j != i]) for i, row in enumerate(matrix)]
    losses = []
    for cosine, negatives in anchors:
        if objective.kind == "additive":
            positive = cosine - m
        elif float(cosine.detach()) > math.cos(math.pi - m):
            positive = (cosine.acos() + m).cos()
        else:
            positive = cosine - m * math.sin(math.pi - m)
        losses.append(cross_entropy([scale * s for s in (positive, *negatives)], 0))
    return average(losses)


CASES = (
    Case(
        "appearance-contrast",
        appearance_loops,
        subjects(2, alike=True),
        {"temperature": 0.3},
        "alike",
        stop_gradient=True,
        matrices=(3, 2),
    ),
    Case("appearance-contrast", appearance_loops, subjects(2), {"temperature": 0.3}, matrices=(2, 2)),
    Case("dcl", dcl_loops, two, {"temperature": warm}, matrices=(1, 2), alone="DCL of one example"),
    Case(
        "dcl",
        dcl_loops,
        two,
        {"temperature": warm, "weighted": True, "sigma": 0.3},
        label="weighted",
        stop_gradient=True,
        matrices=(1, 2),
        alone="DCL of one example",
    ),
    Case("macl", macl_loops, two, {"temperature": 0.3}, stop_gradient=True, matrices=(1, 2)),
    Case(
        "macl",
        macl_loops,
        two,
        {"temperature": 0.3, "alpha": 1.0, "threshold": 0.4, "reweight": False},
        label="temperature_only",
        stop_gradient=True,
        matrices=(1, 2),
    ),
    Case("llave", llave_loops, two, {"temperature": warm, "alpha": 3.0}, stop_gradient=True),
    Case("diht", diht_loops, two, {"temperature": warm, "beta": 0.5}),
    Case(
        "diht",
        diht_loops,
        two,
        {"temperature": warm, "alpha": 0.7, "detach_weights": True},
        label="detached",
        stop_gradient=True,
    ),
    Case("hard-contrastive", hard_contrastive_loops, two, {"temperature": warm, "fraction": 0.02}),
    Case(
        "hard-contrastive",
        hard_contrastive_loops,
        two,
        {"simple": True, "fraction": 0.02, "repulsion": 0.4},
        label="hard_simple",
    ),
    Case(
        "hard-contrastive",
        hard_contrastive_loops,
        two,
        {"simple": True, "fraction": 1.0},
        label="simple",
    ),
    Case("margin-ntxent", margin_ntxent_loops, two, {"temperature": warm}, matrices=(1, 2)),
    Case(
        "margin-ntxent",
        margin_ntxent_loops,
        two,
        {"temperature": warm, "kind": "angular", "margin": 0.4, "two_sided": False},
        label="angular_one_sided",
    ),
)
