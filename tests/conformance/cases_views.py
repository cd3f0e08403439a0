"""Several views of an example, and several heads of a view: CACR, PolyView, SupCon, SimCSE, WhitenedCSE, AMCL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from case_tools import Case, Inputs, average, cross_entropy, inverse, scores, total, two, unit, views, warm
from torch import Tensor


def views_with_labels(count: int, lowest: int = 0) -> Callable[[torch.Generator, int, int], Inputs]:
    def inputs(g: torch.Generator, n: int, d: int) -> Inputs:
        return *views(count)(g, n, d), {"labels": torch.randint(lowest, 3, (n,), generator=g)}

    return inputs


def with_domains(count: int) -> Callable[[torch.Generator, int, int], Inputs]:
    def inputs(g: torch.Generator, n: int, d: int) -> Inputs:
        *z, named = views_with_labels(count, lowest=-1)(g, n, d)
        return *z, {**named, "domains": torch.randint(0, 2, (n,), generator=g)}

    return inputs


def two_heads(g: torch.Generator, n: int, d: int) -> Inputs:
    """Heads of width 4, whatever d: the width is an option of the objective."""
    return list(two(g, n, 4)), list(two(g, n, 4))


def squared(a: Tensor, b: Tensor) -> Tensor:
    return total([(p - q) ** 2 for p, q in zip(a, b, strict=True)])


def softmax(logits: Sequence[Tensor]) -> list[Tensor]:
    z = total([s.exp() for s in logits])
    return [s.exp() / z for s in logits]


def weighted(weights: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    return total([w * v for w, v in zip(weights, values, strict=True)])


def cacr_loops(objective: Any, *z: Tensor) -> Tensor:
    count, n = len(z), len(z[0])

    def weighing(costs: Sequence[Tensor]) -> list[Tensor]:
        return [c.detach() for c in costs] if objective.detach_weights else list(costs)

    attraction = []
    for v in range(count):
        for i in range(n):
            costs = [squared(z[v][i], z[u][i]) for u in range(count) if u != v]
            pi = softmax([objective.t_positive * c for c in weighing(costs)])
            attraction.append(weighted(pi, costs))
    repulsion = []
    for v in range(count):
        for u in range(v + 1, count):
            for i in range(n):
                costs = [squared(z[v][i], z[u][j]) for j in range(n) if j != i]
                pi = softmax([-objective.t_negative * c for c in weighing(costs)])
                negative = weighted(pi, costs) - objective.prior * squared(z[v][i], z[u][i])
                repulsion.append(negative / (1 - objective.prior))
    return objective.alpha * average(attraction) - objective.beta * average(repulsion)


def poly_view_loops(objective: Any, *z: Tensor) -> Tensor:
    count, n, scale = len(z), len(z[0]), inverse(objective.temperature)

    def score(a: Tensor, b: Tensor) -> Tensor:
        return scale * total(list(a * b))

    losses = []
    for i in range(n):
        for a in range(count):
            others = [b for b in range(count) if b != a]
            if objective.mode == "sufficient":
                rest = torch.stack([average([z[b][i][k] for b in others]) for k in range(z[0].shape[1])])
                if objective.unit_rest:
                    rest = rest / total(list(rest**2)).sqrt()
                positive = score(z[a][i], rest).exp()
                negatives = [score(z[g][j], rest).exp() for j in range(n) if j != i for g in range(count)]
                losses.append(-(positive / total([positive, *negatives])).log())
                continue
            negatives = [score(z[a][i], z[g][j]).exp() for j in range(n) if j != i for g in range(count)]
            positives = [score(z[a][i], z[b][i]).exp() for b in others]
            likelihoods = [p / total([p, *negatives]) for p in positives]
            if objective.mode == "geometric":
                losses.append(-average([p.log() for p in likelihoods]))
            else:
                losses.append(-average(likelihoods).log())
    return average(losses)


def supcon_loops(objective: Any, *z: Tensor, labels: Tensor | None = None) -> Tensor:
    n, scale = len(z[0]), inverse(objective.temperature)
    everything = [(v, i) for v in range(len(z)) for i in range(n)]

    def alike(i: int, j: int) -> bool:
        return i == j or (labels is not None and bool(labels[i] == labels[j]) and int(labels[i]) >= 0)

    losses = []
    for v, i in everything:
        if objective.anchors == "first" and v > 0:
            continue
        others = [(u, j) for u, j in everything if (u, j) != (v, i)]
        s = {(u, j): scale * total(list(z[v][i] * z[u][j])) for u, j in others}
        positives = [(u, j) for u, j in others if alike(i, j)]
        if not positives:
            continue
        denominator = total([s[other].exp() for other in others])
        if objective.inside:
            losses.append(-(average([s[p].exp() for p in positives]) / denominator).log())
        else:
            losses.append(-average([(s[p].exp() / denominator).log() for p in positives]))
    return average(losses)


def cci_loops(objective: Any, *z: Tensor, labels: Tensor, domains: Tensor | None = None) -> Tensor:
    n, scale = len(z[0]), inverse(objective.temperature)
    everything = [(v, i) for v in range(len(z)) for i in range(n)]

    def alike(i: int, j: int) -> bool:
        return i == j or (bool(labels[i] == labels[j]) and int(labels[i]) >= 0)

    losses = []
    for v, i in everything:
        s = {(u, j): scale * total(list(z[v][i] * z[u][j])) for u, j in everything if (u, j) != (v, i)}
        same = [(u, j) for u, j in s if alike(i, j)]
        far = [(u, j) for u, j in same if domains is not None and bool(domains[i] != domains[j])]
        positives = [(u, j) for u, j in same if j == i or (u, j) in far or not far]
        negatives = [s[b].exp() for b in s if not alike(i, b[1])]
        if positives:
            losses.append(average([-(s[p].exp() / total([s[p].exp(), *negatives])).log() for p in positives]))
    return average(losses)


def banks(own: bool) -> Callable[[torch.Generator, int, int], Inputs]:
    """Anchors, a bank and positives of their own; the first example is always an anchor and a positive."""

    def make(g: torch.Generator, n: int, d: int) -> Inputs:
        masks = [torch.rand(n, generator=g) < 0.6 for _ in range(2)]
        for mask in masks:
            mask[0] = True
        labels = torch.randint(-1, 3, (n,), generator=g)
        given = {"labels": labels, "anchor_mask": masks[0], "positive_mask": masks[1]}
        return *(unit(g, n, d) for _ in range(2 + own)), given

    return make


def banks_loops(
    objective: Any,
    anchors: Tensor,
    bank: Tensor,
    own: Tensor | None = None,
    *,
    labels: Tensor,
    anchor_mask: Tensor,
    positive_mask: Tensor,
) -> Tensor:
    n, scale = len(anchors), 1 / objective.temperature
    losses = []
    for k in range(n):
        alike = [j for j in range(n) if j == k or (labels[j] == labels[k] and labels[k] >= 0)]
        positives = [j for j in alike if positive_mask[j]]
        if not anchor_mask[k] or not positives:
            continue
        terms = []
        for j in positives:
            s = scale * total(list(anchors[k] * (bank if own is None else own)[j]))
            others = [
                (scale * total(list(anchors[k] * bank[i]))).exp() for i in range(n) if own is None or i != k
            ]
            denominator = total(others if own is None else [s.exp(), *others])
            terms.append(-(s.exp() / denominator).log())
        losses.append(average(terms))
    return average(losses)


def sbcl_loops(
    objective: Any,
    *z: Tensor,
    labels: Tensor,
    subclasses: Tensor | None = None,
    temperatures: Tensor | None = None,
) -> Tensor:
    n, views_of = len(z[0]), range(len(z))
    everything = [(v, i) for v in views_of for i in range(n)]
    numbers = labels if subclasses is None else subclasses

    def alike(i: int, j: int, of: Tensor) -> bool:
        return i == j or (
            min(int(labels[i]), int(of[i])) >= 0 and bool(of[i] == of[j]) and bool(labels[i] == labels[j])
        )

    def term(
        a: tuple[int, int], among: list[tuple[int, int]], positive: list[tuple[int, int]], tau: Any
    ) -> Tensor:
        s = {(u, j): total(list(z[a[0]][a[1]] * z[u][j])) / tau for u, j in among}
        return total([s[b].exp() for b in among]).log() - average([s[p] for p in positive])

    fine, coarse = [], []
    for v, i in everything:
        others = [b for b in everything if b != (v, i)]
        same = [(u, j) for u, j in others if alike(i, j, numbers)]
        fine.append(term((v, i), others, same, objective.temperature))
        kept = [(u, j) for u, j in others if j == i or (u, j) not in same]
        tau = objective.temperature if temperatures is None else temperatures[i]
        coarse.append(term((v, i), kept, [(u, j) for u, j in kept if alike(i, j, labels)], tau))
    return average(fine) + (0.0 if subclasses is None else objective.beta) * average(coarse)


def with_subclasses(g: torch.Generator, n: int, d: int) -> Inputs:
    *z, given = views_with_labels(2, lowest=-1)(g, n, d)
    own = 2 * given["labels"] + torch.randint(0, 2, (n,), generator=g)
    warm_of = 0.1 + torch.rand(3, generator=g, dtype=torch.float64)
    given |= {"subclasses": own, "temperatures": warm_of[given["labels"].clamp_min(0)]}
    return *z, given


def simcse_loops(objective: Any, x: Tensor, y: Tensor, negatives: Tensor | None = None) -> Tensor:
    scale, losses = inverse(objective.temperature), []
    rows = scores(x, y, scale)
    hard = [[] for _ in rows] if negatives is None else scores(x, negatives, scale)
    for i, (row, more) in enumerate(zip(rows, hard, strict=True)):
        own = [s + objective.hard_negative_weight if i == j else s for j, s in enumerate(more)]
        losses.append(cross_entropy([*row, *own], i))
    return average(losses)


def hard_negatives_loops(
    objective: Any, x: Tensor, y: Tensor, negatives: Tensor | None = None, counts: Tensor | None = None
) -> Tensor:
    scale, losses = inverse(objective.temperature), []
    every = [] if negatives is None else [n for of_row in negatives for n in of_row]
    taken = [True] * len(every) if counts is None else counts.flatten().tolist()
    for i, row in enumerate(scores(x, y, scale)):
        hard = [scale * total(list(x[i] * n)) for n, there in zip(every, taken, strict=True) if there]
        losses.append(cross_entropy([*row, *hard], i))
    return average(losses)


def cosent_loops(objective: Any, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    scale = inverse(objective.temperature)
    s = [scale * total(list(a * b)) for a, b in zip(x, y, strict=True)]
    known = [i for i in range(len(s)) if labels[i] >= 0]
    wrong = [(s[j] - s[i]).exp() for i in known for j in known if labels[i] > labels[j]]
    return (1 + total(wrong)).log() if wrong else 0 * total(s)


def with_hard_negatives(g: torch.Generator, n: int, d: int) -> Inputs:
    negatives = torch.stack([unit(g, n, d) for _ in range(2)], dim=1)
    return unit(g, n, d), unit(g, n, d), negatives, torch.rand(n, 2, generator=g) < 0.7


def two_with_grades(g: torch.Generator, n: int, d: int) -> Inputs:
    return unit(g, n, d), unit(g, n, d), {"labels": torch.randint(-1, 4, (n,), generator=g)}


def whitened_cse_loops(objective: Any, first: Tensor, *others: Tensor) -> Tensor:
    return total([simcse_loops(objective.pair, first, other) for other in others])


def amcl_loops(objective: Any, x_heads: Sequence[Tensor], y_heads: Sequence[Tensor]) -> Tensor:
    inner, _, outer = objective.phi
    d, beta = objective.width, objective.beta

    def layer(linear: Any, values: Sequence[Tensor]) -> list[Tensor]:
        return [weighted(row, values) + b for row, b in zip(linear.weight, linear.bias, strict=True)]

    def phi(z: Tensor) -> list[Tensor]:
        return layer(outer, [h.clamp_min(0) for h in layer(inner, list(z))])

    def temperature(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        share = 1 / (1 + weighted(a, b).exp())
        return objective.tau_min + (objective.tau_max - objective.tau_min) * share

    def omega(tau: Tensor) -> Tensor:
        return d / 2 * tau.log() + 1 / tau

    per_head = []
    for x, y in zip(x_heads, y_heads, strict=True):
        n, z = len(x), [*x, *y]
        keys = [phi(one) for one in z]
        losses = []
        for a in range(2 * n):
            partner = (a + n) % (2 * n)
            s = [total(list(z[a] * b)) for b in z]
            tau = [temperature(keys[a], key) for key in keys]
            loss = -s[partner] / tau[partner] + beta * omega(tau[partner])
            negatives = [b for b in range(2 * n) if b % n != a % n]
            if objective.top_k is None:
                loss = loss + total([(s[b] / tau[b] - beta * omega(tau[b])).exp() for b in negatives]).log()
            else:
                negatives = sorted(negatives, key=lambda b: -s[b].item())[: objective.top_k]
                loss = loss + average([s[b] / tau[b] for b in negatives])
                loss = loss - beta * total([tau[b].log() + 1 / tau[b] for b in negatives])
            losses.append(loss)
        per_head.append(average(losses))
    return total(per_head)


SMALL = {"width": 4, "hidden": 5, "beta": 0.02, "tau_min": 0.2}

CASES = (
    Case("cacr", cacr_loops, views(3), matrices=(3, 1)),
    Case("cacr", cacr_loops, two, {"alpha": 0.5, "beta": 2.0, "prior": 0.1}, "debiased"),
    Case(
        "cacr",
        cacr_loops,
        views(3),
        {"detach_weights": True, "t_negative": 0.9},
        "detached",
        stop_gradient=True,
        matrices=(3, 1),
    ),
    Case("poly-view", poly_view_loops, views(3), {"temperature": warm}, matrices=(1, 3)),
    Case(
        "poly-view",
        poly_view_loops,
        views(4),
        {"mode": "arithmetic", "temperature": 0.5},
        "arithmetic",
        matrices=(1, 4),
    ),
    Case(
        "poly-view",
        poly_view_loops,
        views(3),
        {"mode": "sufficient", "temperature": warm},
        "sufficient",
        matrices=(1, 3),
    ),
    Case(
        "poly-view",
        poly_view_loops,
        views(3),
        {"mode": "sufficient", "temperature": warm, "unit_rest": True},
        "unit_rest",
        matrices=(1, 3),
    ),
    Case("supcon", supcon_loops, views_with_labels(2), {"temperature": warm}, matrices=(1, 2)),
    Case(
        "supcon",
        supcon_loops,
        views_with_labels(3, lowest=-1),
        {"temperature": warm, "inside": True},
        "inside",
        matrices=(1, 3),
    ),
    Case(
        "supcon",
        supcon_loops,
        views_with_labels(2, lowest=-1),
        {"temperature": warm, "anchors": "first"},
        "first",
        matrices=(1, 2),
    ),
    Case("supcon", supcon_loops, views(3), {"temperature": warm}, "unlabelled", matrices=(1, 3)),
    Case("cci", cci_loops, with_domains(2), {"temperature": warm}, "domains", matrices=(2, 2)),
    Case("cci", cci_loops, views_with_labels(2), {"temperature": 0.3}, matrices=(2, 2)),
    Case("sbcl", sbcl_loops, with_subclasses, {"temperature": 0.3}, "subclasses", matrices=(1, 2)),
    Case("sbcl", sbcl_loops, views_with_labels(2, lowest=-1), {"temperature": 0.3}, matrices=(1, 2)),
    Case("supcon-banks", banks_loops, banks(False), {"temperature": 0.3}),
    Case("supcon-banks", banks_loops, banks(True), {"temperature": 0.3}, "positives", matrices=(2, 2)),
    Case("simcse", simcse_loops, two, {"temperature": warm}),
    Case(
        "simcse",
        simcse_loops,
        views(3),
        {"temperature": warm, "hard_negative_weight": 0.7},
        "hard",
        matrices=(1, 2),
    ),
    Case("hard-negatives", hard_negatives_loops, two, {"temperature": warm}),
    Case(
        "hard-negatives",
        hard_negatives_loops,
        with_hard_negatives,
        {"temperature": warm},
        "mined",
        matrices=(1, 3),
    ),
    Case("cosent", cosent_loops, two_with_grades, {"temperature": warm}),
    Case("whitened-cse", whitened_cse_loops, views(3), {"temperature": warm}, matrices=(2, 1)),
    Case("amcl", amcl_loops, two_heads, SMALL, matrices=(4, 2)),
    Case("amcl", amcl_loops, two_heads, {**SMALL, "top_k": 3}, "top_k", matrices=(4, 2)),
)
