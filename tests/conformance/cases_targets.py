"""Losses with targets of their own: soft, mixed, counterfactual, several per query, bags of instances."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from case_tools import (
    Case,
    Inputs,
    average,
    cross_entropy,
    infonce,
    inverse,
    scores,
    total,
    transposed,
    two,
    unit,
    warm,
)
from torch import Tensor

from counterpoint import losses

LABELS = 9


def soft_cross_entropy(row: list[Tensor], target: list[Tensor]) -> Tensor:
    """Compute the cross-entropy of a row; ``target`` need not sum to 1."""
    log_z = total([s.exp() for s in row]).log()
    return -total([t * (s - log_z) for s, t in zip(row, target, strict=True)])


def softmax(row: list[Tensor]) -> list[Tensor]:
    z = total([s.exp() for s in row])
    return [s.exp() / z for s in row]


# CWCL


def cwcl_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    s = scores(x, y, inverse(objective.temperature))
    weights = [[(0.5 + 0.5 * c) ** objective.gamma for c in row] for row in scores(x.detach(), x.detach())]
    directions = {"frozen": (True, False), "trained": (False, True), "both": (True, True)}
    losses = []
    for weighted, logits in zip(directions[objective.weighted_anchor], (s, transposed(s)), strict=True):
        for i, row in enumerate(logits):
            target = [w / total(weights[i]) for w in weights[i]]
            losses.append(soft_cross_entropy(row, target) if weighted else cross_entropy(row, i))
    return total(losses) / len(x)


# M3CoL


def mixed(g: torch.Generator, n: int, d: int) -> Inputs:
    ids = 10 + 3 * torch.arange(n)
    mixing: dict[str, Tensor] = {}
    for side in "xy":
        mixing[f"mixed_{side}"] = unit(g, n, d)
        mixing[f"partners_{side}"] = ids[torch.randperm(n, generator=g)]
        mixing[f"shares_{side}"] = torch.rand(n, generator=g, dtype=torch.float64)
    return unit(g, n, d), unit(g, n, d), ids, mixing


def other_side(inputs: Inputs) -> Inputs:
    x, y, ids, mixing = inputs
    return y, x, ids, {name[:-1] + ("y" if name[-1] == "x" else "x"): t for name, t in mixing.items()}


def m3co_loops(objective: Any, x: Tensor, y: Tensor, ids: Tensor, **mixing: Tensor) -> Tensor:
    losses = []
    for side, fixed in (("x", y), ("y", x)):
        s = scores(mixing[f"mixed_{side}"], fixed, inverse(objective.temperature))
        shares, partners = mixing[f"shares_{side}"], mixing[f"partners_{side}"]
        p = [
            [b * bool(i == j) + (1 - b) * bool(q == j) for j in ids]
            for i, b, q in zip(ids, shares, partners, strict=True)
        ]
        rows = average([soft_cross_entropy(row, target) for row, target in zip(s, p, strict=True)])
        columns = zip(transposed(s), transposed(p), strict=True)
        losses.append((rows + average([soft_cross_entropy(*column) for column in columns])) / 2)
    return total(losses)


def multi_sclip_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    scale = inverse(objective.temperature)
    losses = []
    for a, c in ((x, y), (y, x)):
        kept = c.detach() if objective.detach_targets else c
        targets = [softmax(row) for row in scores(kept, kept, scale)]
        s = scores(a, c, scale)
        for logits in (s, transposed(s)):
            losses.append(
                average([soft_cross_entropy(*pair) for pair in zip(logits, targets, strict=True)]) / 2
            )
    return total(losses)


# Counting


def counterfactuals(g: torch.Generator, n: int, d: int, masked: bool = False) -> Inputs:
    three = tuple(unit(g, n, d) for _ in range(3))
    return (*three, {"counting": torch.arange(n) % 3 == 0}) if masked else three


def count_loops(
    objective: Any, image: Tensor, text: Tensor, wrong: Tensor, counting: Tensor | None = None
) -> Tensor:
    scale = inverse(objective.infonce.temperature)
    choices = [
        cross_entropy([scale * total(list(e * t)), scale * total(list(e * c))], 0)
        for k, (e, t, c) in enumerate(zip(image, text, wrong, strict=True))
        if counting is None or counting[k]
    ]
    return infonce(image, text, scale) + objective.weight * average(choices)


# Several true labels


def labelled(g: torch.Generator, n: int, d: int, masked: bool = False) -> Inputs:
    """The last query has no true label, the one before only true ones (or ignored ones)."""
    targets = torch.rand(n, LABELS, generator=g) < 0.4
    if n > 2:
        targets[-1], targets[-2] = False, True
    given = {"targets": targets}
    if masked:
        given["ignored"] = torch.rand(n, LABELS, generator=g) < 0.3
    return unit(g, n, d), unit(g, LABELS, d), given


def turned(inputs: Inputs) -> Inputs:
    queries, labels_z, given = inputs
    return labels_z, queries, {name: mask.T for name, mask in given.items()}


def parts(
    objective: Any, q: Tensor, z: Tensor, targets: Tensor, ignored: Tensor | None = None
) -> list[tuple[list[Tensor], list[Tensor]]]:
    """The logits of each query's true labels and of its false ones."""
    found = []
    for i, row in enumerate(scores(q, z, inverse(objective.temperature))):
        there = [j for j in range(len(z)) if ignored is None or not ignored[i, j]]
        found.append(([row[j] for j in there if targets[i, j]], [row[j] for j in there if not targets[i, j]]))
    return found


def job_label_vectors(rank: int, size: int, name: str) -> tuple[Tensor, Tensor]:
    """The loss, and the rank-averaged gradient of the encoder of the label vectors."""
    q, labels, given = labelled(torch.Generator().manual_seed(0), 7, 5)
    own = slice(*{1: (0, 7), 2: ((0, 3), (3, 7))[rank]}[size])
    encoder = torch.eye(5, dtype=torch.float64).requires_grad_()
    z = torch.nn.functional.normalize(labels @ encoder, dim=-1)
    objective = losses.create(name, temperature=0.3, **({"k": 2} if name == "soft_top_k" else {}))
    loss = objective(q[own], z, targets=given["targets"][own])
    (gradient,) = torch.autograd.grad(loss, encoder)
    if size > 1:
        dist.all_reduce(gradient)
    return loss.detach(), gradient / size


def decoupled_loops(objective: Any, q: Tensor, z: Tensor, **masks: Tensor) -> Tensor:
    nothing = q.sum() * 0
    losses = []
    for true, false in parts(objective, q, z, **masks):
        terms = [cross_entropy([s, *false], 0) for s in true]
        losses.append(average(terms) if terms else nothing)
    return average(losses)


def multi_label_loops(objective: Any, q: Tensor, z: Tensor, **masks: Tensor) -> Tensor:
    nothing = q.sum() * 0
    losses = []
    for true, false in parts(objective, q, z, **masks):
        terms = [cross_entropy([*true, *false], k) for k in range(len(true))]
        reduce = total if objective.reduction == "sum" else average
        losses.append(reduce(terms) if terms else nothing)
    return average(losses)


def one_vs_all_loops(objective: Any, q: Tensor, z: Tensor, **masks: Tensor) -> Tensor:
    losses = []
    for true, false in parts(objective, q, z, **masks):
        yes = [-(1 / (1 + (-s).exp())).log() for s in true]
        no = [-(1 / (1 + s.exp())).log() for s in false]
        losses.append(average([*yes, *no]))
    return average(losses)


def soft_top_k_loops(objective: Any, q: Tensor, z: Tensor, **masks: Tensor) -> Tensor:
    nothing, alpha = q.sum() * 0, objective.alpha
    losses = []
    for true, false in parts(objective, q, z, **masks):
        k = len(true) if objective.k is None else objective.k
        everything = [*true, *false]
        if not true or k >= len(everything):
            losses.append(nothing)
            continue

        def found(t: Tensor, logits: list[Tensor] = everything) -> Tensor:
            return total([1 / (1 + (-alpha * (s + t)).exp()) for s in logits])

        low, high = nothing.detach() - 100, nothing.detach() + 100
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if found(middle) > k else (middle, high)
        with torch.enable_grad():
            t = low.clone().requires_grad_()
            (slope,) = torch.autograd.grad(found(t), t)
        # The root moves against what the sum would gain, by the slope of the sum: dt = −d(sum) / slope.
        t = low - (found(low) - k) / slope.detach()
        losses.append(average([-(1 / (1 + (-alpha * (s + t)).exp())).log() for s in true]))
    return average(losses)


# Bags


def bags(g: torch.Generator, n: int, d: int, masked: bool = False) -> Inputs:
    x, y = unit(g, 3 * n, d).view(n, 3, d), unit(g, 2 * n, d).view(n, 2, d)
    if not masked:
        return x, y
    x_mask, y_mask = torch.rand(n, 3, generator=g) < 0.6, torch.rand(n, 2, generator=g) < 0.6
    x_mask[:, 0] = y_mask[:, 1] = True
    return x, y, {"x_mask": x_mask, "y_mask": y_mask}


def other_bag(inputs: Inputs) -> Inputs:
    x, y, *masks = inputs
    return y, x, *({"x_mask": m["y_mask"], "y_mask": m["x_mask"]} for m in masks)


def pooled(objective: Any, h: list[Tensor]) -> Tensor:
    gamma = objective.gamma
    if objective.pooling == "mean":
        return average(h)
    if objective.pooling == "max":
        return max(h)
    if objective.pooling == "lse":
        return average([(gamma * s).exp() for s in h]).log() / gamma
    if objective.pooling == "attention":
        return total([a * s for a, s in zip(softmax([gamma * s for s in h]), h, strict=True)])
    none = h[0] * 0 + 1
    for s in h:
        none = none * (1 - s if s > 0 else 1)
    return 1 - none


def mil_loops(
    objective: Any, x: Tensor, y: Tensor, x_mask: Tensor | None = None, y_mask: Tensor | None = None
) -> Tensor:
    scale = inverse(objective.temperature)

    def score(i: int, j: int) -> Tensor:
        regions = [v for n, v in enumerate(x[i]) if x_mask is None or x_mask[i, n]]
        sentences = [v for m, v in enumerate(y[j]) if y_mask is None or y_mask[j, m]]
        return average([pooled(objective, [total(list(r * t)) for r in regions]) for t in sentences])

    s = [[scale * score(i, j) for j in range(len(y))] for i in range(len(x))]
    both = [cross_entropy(row, i) for logits in (s, transposed(s)) for i, row in enumerate(logits)]
    return average(both)


def filip_loops(
    objective: Any, x: Tensor, y: Tensor, x_mask: Tensor | None = None, y_mask: Tensor | None = None
) -> Tensor:
    scale = inverse(objective.temperature)

    def tokens(z: Tensor, mask: Tensor | None, i: int) -> list[Tensor]:
        return [v for n, v in enumerate(z[i]) if mask is None or mask[i, n]]

    def score(own: list[Tensor], other: list[Tensor]) -> Tensor:
        return scale * average([max(total(list(a * b)) for b in other) for a in own])

    xs, ys = ([tokens(z, m, i) for i in range(len(z))] for z, m in ((x, x_mask), (y, y_mask)))
    rows = [[score(own, other) for other in ys] for own in xs]
    columns = [[score(own, other) for other in xs] for own in ys]
    return average([cross_entropy(row, i) for logits in (rows, columns) for i, row in enumerate(logits)])


def secla_loops(
    objective: Any, x: Tensor, y: Tensor, x_mask: Tensor | None = None, y_mask: Tensor | None = None
) -> Tensor:
    scale = inverse(objective.temperature)

    def members(z: Tensor, mask: Tensor | None, i: int) -> list[Tensor]:
        return [v for n, v in enumerate(z[i]) if mask is None or mask[i, n]]

    def score(own: list[Tensor], other: list[Tensor]) -> Tensor:
        best = average if objective.pooling == "mean" else max
        return scale * average([best([total(list(a * b)) for b in other]) for a in own])

    xs, ys = ([members(z, m, i) for i in range(len(z))] for z, m in ((x, x_mask), (y, y_mask)))
    columns = [[score(own, other) for other in xs] for own in ys]
    loss = average([cross_entropy(row, i) for i, row in enumerate(columns)])
    if objective.directions == "names":
        return loss
    rows = [[score(own, other) for other in ys] for own in xs]
    loss = loss + average([cross_entropy(row, i) for i, row in enumerate(rows)])
    apart = average([(rows[i][i] - columns[i][i]) ** 2 for i in range(len(xs))])
    return loss + objective.agreement * apart


def grouping_loops(objective: Any, patches: Tensor, texts: Tensor) -> Tensor:
    scale, groups = inverse(objective.infonce.temperature), []
    for of_picture, of_texts in zip(patches, texts, strict=True):
        for t in of_texts:
            a = [total(list(t * v)) for v in of_picture]
            a = [(value - min(a)) / (max(a) - min(a)) for value in a]
            g = torch.stack([w * v for w, v in zip(a, of_picture, strict=True)]).sum(0)
            groups.append(g / g.norm())
    flat = list(texts.flatten(0, 1))
    s = [[scale * total(list(g * t)) for t in flat] for g in groups]
    return average([cross_entropy(row, i) for way in (s, transposed(s)) for i, row in enumerate(way)])


def alternatives(g: torch.Generator, n: int, d: int, masked: bool = False) -> Inputs:
    """Patches, and the tokens of three texts a picture; with a mask the first of several has no negative."""
    patches, tokens = torch.randn(2, n, 3 * 4 * d, generator=g, dtype=torch.float64)
    given = {"mask": torch.rand(n, 3, 4, generator=g) < 0.7} if masked else {}
    if masked:
        given["mask"][:, 0, 0] = True
        given["mask"][0, 1:] = n == 1
    return patches.view(n, 12, d)[:, :5], tokens.view(n, 3, 4, d), given


def turned_alternatives(inputs: Inputs) -> Inputs:
    """The caption changes places with its first negative."""
    patches, tokens, given = inputs
    return patches, tokens[:, [1, 0, 2]], {name: mask[:, [1, 0, 2]] for name, mask in given.items()}


def local_negatives_loops(
    objective: Any, patches: Tensor, tokens: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    scale, losses = inverse(objective.temperature), []
    for i, (of_picture, texts) in enumerate(zip(patches, tokens, strict=True)):
        s = []
        for k, text in enumerate(texts):
            cosines = []
            for place, t in enumerate(text):
                if mask is not None and not mask[i, k, place]:
                    continue
                a = [float((t * v).sum().detach()) for v in of_picture]
                a = [(value - min(a)) / (max(a) - min(a)) for value in a]
                u = torch.stack([w * v for w, v in zip(a, of_picture, strict=True)]).sum(0)
                cosines.append((scale * total(list(u * t)) / u.norm() / t.norm()).exp())
            if cosines:
                s.append(total(cosines).log())
        if len(s) > 1:
            p = [score.exp() / total([other.exp() for other in s]) for score in s]
            terms = []
            for k, of_text in enumerate(p):
                y = (k == 0) * (1 - objective.smoothing) + objective.smoothing / len(s)
                others = total([*p[:k], *p[k + 1 :]])
                terms.append(y * others**objective.gamma * -of_text.log())
            losses.append(total(terms))
    return average(losses)


# Hinges


def hinge_of(own: list[list[Tensor]], margin: float, other: list[list[Tensor]] | None = None) -> Tensor:
    """Add up the largest violation of each row and of each column, where other scores are what is asked already."""
    n, terms = len(own), []
    for s, a in ((own, other), (transposed(own), other and transposed(other))):
        for i in range(n):
            violations = [
                margin + s[i][j] - s[i][i] - (0 if a is None else a[i][j] - a[i][i])
                for j in range(n)
                if j != i
            ]
            terms.append(max([own[0][0] * 0, *violations]))
    return total(terms)


def hinge_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    return hinge_of(scores(x, y), objective.margin)


def anchored(g: torch.Generator, n: int, d: int) -> Inputs:
    return *two(g, n, d), *two(g, n, d + 1)


def boost_loops(objective: Any, x: Tensor, y: Tensor, anchor_x: Tensor, anchor_y: Tensor) -> Tensor:
    s, a, n = scores(x, y), scores(anchor_x.detach(), anchor_y.detach()), len(x)
    if objective.kind == "relative":
        return hinge_of(s, objective.margin, a)
    none, high = s[0][0] * 0, objective.gamma * objective.margin
    low = objective.margin - high
    terms = [2 * max(none, high + a[i][i] - s[i][i]) for i in range(n)]
    for i in range(n):
        terms.append(max([none, *(low + s[i][j] - a[i][j] for j in range(n) if j != i)]))
        terms.append(max([none, *(low + s[j][i] - a[j][i] for j in range(n) if j != i)]))
    return total(terms)


def anchors_too(inputs: Inputs) -> Inputs:
    x, y, anchor_x, anchor_y = inputs
    return y, x, anchor_y, anchor_x


CASES = (
    Case("hinge", hinge_loops, two),
    *(
        Case(
            "boost",
            boost_loops,
            anchored,
            {"kind": kind, "margin": 0.4, "gamma": 0.3},
            kind,
            stop_gradient=True,
            matrices=(2, 1),
            swap=anchors_too,
        )
        for kind in ("relative", "absolute")
    ),
    Case("cwcl", cwcl_loops, two, {"temperature": warm}, stop_gradient=True, matrices=(2, 1)),
    Case(
        "cwcl",
        cwcl_loops,
        two,
        {"temperature": warm, "gamma": 4.0, "weighted_anchor": "trained"},
        "trained",
        stop_gradient=True,
        matrices=(2, 1),
    ),
    Case(
        "cwcl",
        cwcl_loops,
        two,
        {"temperature": 0.5, "gamma": 0.5, "weighted_anchor": "both"},
        "both",
        stop_gradient=True,
        matrices=(2, 1),
    ),
    Case("m3co", m3co_loops, mixed, {"temperature": warm}, matrices=(2, 1), swap=other_side),
    Case("multi-sclip", multi_sclip_loops, two, {"temperature": warm}, matrices=(3, 1)),
    Case(
        "multi-sclip",
        multi_sclip_loops,
        two,
        {"temperature": 0.3, "detach_targets": True},
        "detached",
        stop_gradient=True,
        matrices=(3, 1),
    ),
    Case("count-to-ten", count_loops, counterfactuals, {"temperature": warm}),
    Case(
        "count-to-ten",
        count_loops,
        partial(counterfactuals, masked=True),
        {"temperature": warm, "weight": 0.3},
        "masked",
    ),
    Case("decoupled-softmax", decoupled_loops, labelled, {"temperature": warm}, fixed=(1,), swap=turned),
    Case(
        "decoupled-softmax",
        decoupled_loops,
        partial(labelled, masked=True),
        {"temperature": 0.3},
        "ignored",
        fixed=(1,),
        swap=turned,
    ),
    Case("multi-label-softmax", multi_label_loops, labelled, {"temperature": warm}, fixed=(1,), swap=turned),
    Case(
        "multi-label-softmax",
        multi_label_loops,
        labelled,
        {"temperature": 0.3, "reduction": "mean"},
        "mean",
        fixed=(1,),
        swap=turned,
    ),
    Case(
        "multi-label-softmax",
        multi_label_loops,
        partial(labelled, masked=True),
        {"temperature": 0.3},
        "ignored",
        fixed=(1,),
        swap=turned,
    ),
    Case("one-vs-all", one_vs_all_loops, labelled, {"temperature": warm}, fixed=(1,), swap=turned),
    Case("soft-top-k", soft_top_k_loops, labelled, {"temperature": warm, "k": 2}, fixed=(1,), swap=turned),
    Case(
        "soft-top-k",
        soft_top_k_loops,
        partial(labelled, masked=True),
        {"temperature": 0.5, "k": None, "alpha": 1.5},
        "own_count",
        fixed=(1,),
        swap=turned,
    ),
    *(
        Case(
            "mil",
            mil_loops,
            partial(bags, masked=masked),
            {"temperature": warm, "pooling": pooling},
            f"{pooling}_masked" if masked else pooling,
            matrices=(1, 3),
            cells=6,
            swap=other_bag,
        )
        for pooling in ("lse", "mean", "max", "attention", "noisy_or")
        for masked in (False, True)
    ),
    Case("grouping", grouping_loops, bags, {"temperature": warm}),
    Case(
        "local-negatives",
        local_negatives_loops,
        alternatives,
        {"temperature": warm},
        stop_gradient=True,
        unit=False,
        swap=turned_alternatives,
    ),
    Case(
        "local-negatives",
        local_negatives_loops,
        partial(alternatives, masked=True),
        {"temperature": 3.0, "smoothing": 0.2, "gamma": 0.5},
        "masked",
        stop_gradient=True,
        unit=False,
        swap=turned_alternatives,
    ),
    *(
        Case(
            "filip",
            filip_loops,
            partial(bags, masked=masked),
            {"temperature": warm},
            "masked" if masked else "",
            cells=6,
            matrices=(1, 4),  # three rows a picture, and what its own pair says
            swap=other_bag,
        )
        for masked in (False, True)
    ),
    *(
        Case(
            "secla",
            secla_loops,
            partial(bags, masked=masked),
            {"temperature": warm, **options},
            label,
            cells=6,
            matrices=matrices,
            swap=other_bag,
        )
        for label, masked, options, matrices in (
            ("", False, {}, (1, 4)),
            ("masked", True, {"agreement": 1.0}, (1, 4)),
            ("names", True, {"directions": "names"}, (1, 4)),
            ("mean", True, {"pooling": "mean"}, (1, 4)),
        )
    ),
)
