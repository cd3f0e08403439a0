"""Pair losses with their mixtures, and SupReMix; mixtures are formed here, and draws are hashes in whole numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from case_tools import Case, Inputs, average, inverse, total, unit, warm
from cases_classes import classes, turned
from torch import Tensor

Pair = tuple[Tensor, float | Tensor]
"""A similarity, and how much it counts as a positive."""

WORD = 2**32 - 1


def key(place: int, stream: int) -> int:
    x = (place + 0x9E3779B9 * (stream + 1)) & WORD
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> shift)) * factor) & WORD
    return x ^ (x >> 16)


def signed(x: int) -> int:
    x &= WORD
    return x - 2**32 if x >= 2**31 else x


def level(anchor: int, candidate: int) -> int:
    x = signed(key(anchor, 0) ^ key(candidate, 1))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = signed((x ^ (x >> shift)) * factor)
    return (x >> 20) & 4095


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return total(list(a * b))


def mixture(objective: Any, a: int, b: int, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    share = objective.shares[level(a, b)]
    return F.normalize(share * positive + (1 - share) * negative, dim=0), share


# Of one anchor: its pairs to its positive and its negative sum


def contrastive(objective: Any, anchors: list[list[Pair]]) -> Tensor:
    pairs = [pair for pairs in anchors for pair in pairs]
    pull = [y * (1 - s) for s, y in pairs if y > 0]
    push = [(1 - y) * (s - objective.margin) for s, y in pairs if y < 1 and s > objective.margin]
    zero = total([s * 0 for s, _ in pairs]) if pairs else torch.zeros(())
    return (average(pull) if pull else zero) + (average(push) if push else zero)


def log_one_plus(terms: list[Tensor]) -> Tensor:
    return (1 + total(terms)).log() if terms else torch.zeros((), dtype=torch.float64)


def multi_similarity(objective: Any, anchors: list[list[Pair]]) -> Tensor:
    a, b, m = objective.alpha, objective.beta, objective.base
    return average(
        [
            log_one_plus([y * (-a * (s - m)).exp() for s, y in pairs if y > 0]) / a
            + log_one_plus([(1 - y) * (b * (s - m)).exp() for s, y in pairs if y < 1]) / b
            for pairs in anchors
        ]
    )


def circle(objective: Any, anchors: list[list[Pair]]) -> Tensor:
    m, gamma, losses = objective.margin, objective.gamma, []
    for pairs in anchors:
        pull = [
            y * (-gamma * (1 + m - s.detach()).clamp_min(0) * (s - 1 + m)).exp() for s, y in pairs if y > 0
        ]
        push = [(1 - y) * (gamma * (s.detach() + m).clamp_min(0) * (s - m)).exp() for s, y in pairs if y < 1]
        if pull and push:
            losses.append((1 + total(pull) * total(push)).log())
    return average(losses) if losses else torch.zeros((), dtype=torch.float64)


def proxy_anchor(objective: Any, anchors: list[list[Pair]]) -> Tensor:
    alpha, delta = objective.alpha, objective.delta
    pulls = [[y * (-alpha * (s - delta)).exp() for s, y in pairs if y > 0] for pairs in anchors]
    pushes = [[(1 - y) * (alpha * (s + delta)).exp() for s, y in pairs if y < 1] for pairs in anchors]
    pull = [log_one_plus(terms) for terms in pulls if terms]
    zero = torch.zeros((), dtype=torch.float64)
    return (average(pull) if pull else zero) + average([log_one_plus(terms) for terms in pushes])


FORMS = {"contrastive": contrastive, "multi-similarity": multi_similarity, "circle": circle}


def pair_loops(name: str, objective: Any, *z: Tensor, labels: Tensor) -> Tensor:
    n, form = len(z[0]), FORMS[name]
    views = [(v, i) for v in range(len(z)) for i in range(n)]
    place = {view: k for k, view in enumerate(views)}

    def alike(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[1] == b[1] or (int(labels[a[1]]) >= 0 and bool(labels[a[1]] == labels[b[1]]))

    clean, mixed = [], []
    for a in views:
        others = [b for b in views if b != a]
        clean.append([(cosine(z[a[0]][a[1]], z[b[0]][b[1]]), float(alike(a, b))) for b in others])
        after = [*views[place[a] + 1 :], *views[: place[a]], a]
        p = next(b for b in after if alike(a, b))
        of_anchor = []
        for b in others:
            if not alike(a, b):
                v, share = mixture(objective, place[a], place[b], z[p[0]][p[1]], z[b[0]][b[1]])
                of_anchor.append((cosine(z[a[0]][a[1]], v), share))
        mixed.append(of_anchor)
    loss = form(objective, clean)
    return loss + objective.mix * form(objective, mixed) if objective.mix else loss


def proxy_loops(objective: Any, z: Tensor, bank: Tensor, *, labels: Tensor) -> Tensor:
    known = [i for i in range(len(z)) if labels[i] >= 0]
    clean, mixed = [], []
    for c, proxy in enumerate(F.normalize(bank, dim=-1)):
        clean.append([(cosine(proxy, z[i]), float(labels[i] == c)) for i in known])
        positive = next((z[i] for i in known if labels[i] == c), proxy)
        of_class = []
        for i in known:
            if labels[i] != c:
                v, share = mixture(objective, c, i, positive, z[i])
                of_class.append((cosine(proxy, v), share))
        mixed.append(of_class)
    loss = proxy_anchor(objective, clean)
    return loss + objective.mix * proxy_anchor(objective, mixed) if objective.mix else loss


def supremix_loops(objective: Any, *z: Tensor, labels: Tensor) -> Tensor:
    scale, c = inverse(objective.temperature), objective.weight
    y = labels.detach()
    if objective.resolution:
        y = (y / objective.resolution).round() * objective.resolution
    flat, numbers = torch.cat(z), y.repeat(len(z))
    known = [k for k in range(len(flat)) if not numbers[k].isnan()]
    reach = float("inf") if objective.window is None else objective.window
    losses = []
    for i in known:
        at = numbers[i]
        all_terms, targets = [], []
        for k in known:
            if k == i:
                continue
            s, distance = scale * cosine(flat[i], flat[k]), (at - numbers[k]).abs()
            all_terms.append((c * distance + 1) * s.exp())
            if distance == 0:
                targets.append(s)
            elif objective.share:
                share = objective.shares[level(i, k)]
                v = (share * flat[i] + (1 - share) * flat[k]).detach()
                of_mixture = share * at + (1 - share) * numbers[k]
                weight = c * (at - of_mixture).abs() + 1
                all_terms.append(weight * (scale * cosine(flat[i], v)).exp())
        below = sorted((float(numbers[k]), k) for k in known if at - reach < numbers[k] < at)
        above = sorted((float(numbers[k]), k) for k in known if at < numbers[k] < at + reach)
        for number in range(objective.mixes if below and above else 0):
            first, second = (
                key(i * 2 * objective.mixes + place, 2) for place in (number, objective.mixes + number)
            )
            draws = [((signed(x) + 2**31) / 2**32) for x in (first, second)]
            (low, j), (high, k) = (
                side[int(u * len(side))] for side, u in zip((below, above), draws, strict=True)
            )
            share = (high - at) / (high - low)
            v = (share * flat[j] + (1 - share) * flat[k]).detach()
            s = scale * cosine(flat[i], v)
            targets.append(s)
            all_terms.append(s.exp())
        if targets:
            losses.append(total(all_terms).log() - average(targets))
    return average(losses) if losses else flat.sum() * 0


def with_labels(g: torch.Generator, n: int, d: int, views: int = 2) -> Inputs:
    """Examples of three classes, the second of none."""
    z = [unit(g, n, d) for _ in range(views)]
    labels = torch.randint(0, 3, (n,), generator=g)
    if n > 2:
        labels[1] = -1
    return *z, {"labels": labels}


def with_numbers(g: torch.Generator, n: int, d: int, views: int = 2, whole: bool = True) -> Inputs:
    """Examples with numbers, the second without one."""
    z = [unit(g, n, d) for _ in range(views)]
    labels = torch.rand(n, generator=g, dtype=torch.float64) * 6
    labels = labels.floor() if whole else labels
    if n > 2:
        labels[1] = torch.nan
    return *z, {"labels": labels}


CASES = (
    *(
        case
        for name, gentle in (
            ("contrastive", {"margin": 0.1}),
            ("multi-similarity", {"beta": 5.0}),
            ("circle", {"gamma": 4.0}),
        )
        for case in (
            Case(
                name,
                partial(pair_loops, name),
                with_labels,
                gentle,
                matrices=(1, 2),
                stop_gradient=name == "circle",
            ),
            Case(
                name,
                partial(pair_loops, name),
                partial(with_labels, views=1 if name == "circle" else 2),
                {**gentle, "mix": 0.4},
                "mixed",
                matrices=(2, 1 if name == "circle" else 2),
                stop_gradient=name == "circle",
                **({"swap": lambda inputs: (inputs[0].roll(1, 0), *inputs[1:])} if name == "circle" else {}),
            ),
        )
    ),
    Case("proxy-anchor", proxy_loops, classes, {"alpha": 3.0}, fixed=(1,), swap=turned),
    Case(
        "proxy-anchor",
        proxy_loops,
        classes,
        {"alpha": 3.0, "mix": 0.4},
        "mixed",
        fixed=(1,),
        matrices=(2, 1),
        swap=turned,
    ),
    Case(
        "supremix",
        supremix_loops,
        with_numbers,
        {"temperature": warm, "mixes": 3, "window": 4.0},
        matrices=(2, 2),
        stop_gradient=True,
    ),
    Case(
        "supremix",
        supremix_loops,
        partial(with_numbers, views=1, whole=False),
        {"temperature": warm, "share": 0.5, "mixes": 2, "weight": 0.3, "resolution": 0.5},
        "binned",
        matrices=(2, 1),
        stop_gradient=True,
        swap=lambda inputs: (inputs[0].roll(1, 0), *inputs[1:]),
    ),
    Case(
        "supremix",
        supremix_loops,
        with_numbers,
        {"temperature": warm, "share": 0.0, "mixes": 0},
        "real",
        matrices=(1, 2),
        stop_gradient=True,
    ),
)
