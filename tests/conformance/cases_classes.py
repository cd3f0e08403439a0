"""Losses of class scores: against class vectors, with one class or several tags, and against keys of classes."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from case_tools import Case, Inputs, average, cross_entropy, inverse, scores, total, unit, warm
from torch import Tensor

from counterpoint import losses

CLASSES, KEYS = 6, 9


def classes(
    g: torch.Generator, n: int, d: int, bias: bool = False, prior: bool = False, weighted: bool = False
) -> Inputs:
    """Examples of which the second has no class; class vectors, and numbers of each class."""
    labels = torch.randint(0, CLASSES, (n,), generator=g)
    if n > 1:
        labels[1] = -1
    of_classes = [torch.rand(CLASSES, generator=g, dtype=torch.float64) + 0.1 for _ in range(bias + prior)]
    given = {"labels": labels}
    if weighted:
        given["weights"] = torch.rand(n, generator=g, dtype=torch.float64)
    return unit(g, n, d), unit(g, CLASSES, d), *of_classes, given


def turned(inputs: Inputs) -> Inputs:
    z, bank, *of_classes, _ = inputs
    return bank, z, *(t.new_ones(len(z)) for t in of_classes), {"labels": torch.arange(len(bank)) % len(z)}


def weighted_mean(terms: list[Tensor], labels: Tensor, weights: Tensor | None) -> Tensor:
    w = [float(y >= 0) * (1 if weights is None else weights[i]) for i, y in enumerate(labels)]
    return total([a * t for a, t in zip(w, terms, strict=True)]) / sum(w)


def cross_entropy_loops(
    objective: Any,
    z: Tensor,
    bank: Tensor,
    bias: Tensor | None = None,
    *,
    labels: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    s = scores(z, bank)
    if bias is not None:
        s = [[a + b for a, b in zip(row, bias, strict=True)] for row in s]
    terms = [
        cross_entropy(row, max(int(y), 0), objective.smoothing) for row, y in zip(s, labels, strict=True)
    ]
    return weighted_mean(terms, labels, weights)


def adjusted_loops(
    objective: Any, z: Tensor, bank: Tensor, prior: Tensor, bias: Tensor | None = None, **given: Tensor
) -> Tensor:
    adjusted = objective.tau * prior.log() + (0 if bias is None else bias)
    return cross_entropy_loops(objective.cross_entropy, z, bank, adjusted, **given)


def harmonic_loops(
    objective: Any, z: Tensor, bank: Tensor, *, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    n = z.shape[1] ** 0.5 if objective.exponent is None else objective.exponent
    terms = []
    for x, y in zip(z, labels, strict=True):
        powers = [(total(list((x - w) ** 2)) + objective.epsilon) ** (-n / 2) for w in bank]
        terms.append(-(powers[max(int(y), 0)] / total(powers)).log())
    return weighted_mean(terms, labels, weights)


# Tags


def tags(
    g: torch.Generator, n: int, d: int, bias: bool = False, masked: bool = False, rarity: bool = False
) -> Inputs:
    """The last example has no tag; with a mask, nothing is known of the first of several."""
    targets = torch.rand(n, CLASSES, generator=g) < 0.4
    targets[-1] = False
    given = {"targets": targets}
    if masked:
        given["known"] = torch.rand(n, CLASSES, generator=g) < 0.7
        given["known"][0] = n == 1
    of_tags = [torch.randn(CLASSES, generator=g, dtype=torch.float64)] if bias else []
    if rarity:
        of_tags.append(1 + torch.rand(CLASSES, generator=g, dtype=torch.float64))
    return 3 * unit(g, n, d), unit(g, CLASSES, d), *of_tags, given


def turned_tags(inputs: Inputs) -> Inputs:
    z, bank, *of_tags, given = inputs
    return (
        bank,
        z,
        *(t.new_zeros(len(z)) for t in of_tags),
        {"targets": given["targets"].T.roll(1, 0).contiguous()},
    )


def tag_loops(
    objective: Any,
    z: Tensor,
    bank: Tensor,
    bias: Tensor | None = None,
    *,
    targets: Tensor,
    known: Tensor | None = None,
) -> Tensor:
    losses = []
    for i, row in enumerate(scores(z, bank)):
        terms = []
        for c, score in enumerate(row):
            if known is not None and not known[i, c]:
                continue
            p = 1 / (1 + (-(score + (0 if bias is None else bias[c]))).exp())
            if targets[i, c]:
                terms.append(-((1 - p) ** objective.gamma_positive) * p.log())
            elif p > objective.margin:
                q = p - objective.margin
                terms.append(-(q**objective.gamma_negative) * (1 - q).log())
            else:
                terms.append(p * 0)
        if terms:
            losses.append(total(terms))
    return average(losses)


def in_company(g: torch.Generator, n: int, d: int) -> Inputs:
    """Tags of which some were put right, and what comes along with them."""
    *vectors, given = tags(g, n, d, masked=True, rarity=True)
    given["observed"] = given["targets"] & (torch.rand(n, CLASSES, generator=g) < 0.7)
    along = torch.rand(n, CLASSES, generator=g, dtype=torch.float64)
    given["company"] = along * (along > 0.5) / 3
    return *vectors, given


def comic_loops(
    objective: Any,
    z: Tensor,
    bank: Tensor,
    weight: Tensor,
    *,
    targets: Tensor,
    known: Tensor | None = None,
    observed: Tensor | None = None,
    company: Tensor | None = None,
) -> Tensor:
    losses = []
    for i, row in enumerate(scores(z, bank)):
        terms = []
        for c, score in enumerate(row):
            if known is not None and not known[i, c]:
                continue
            if observed is not None and observed[i, c]:
                score = score - objective.margin
            p, a = 1 / (1 + (-score).exp()), 0 if company is None else company[i, c]
            if targets[i, c]:
                q, gamma = p * (1 - a), objective.gamma_positive
            else:
                q = (1 - p + objective.clip) * (objective.relief if a > 0 else 1)
                q, gamma = torch.minimum(q, torch.ones_like(q)), objective.gamma_negative + weight[c]
            terms.append(-weight[c] * (1 - q.detach()) ** gamma * q.log())
        if terms:
            losses.append(total(terms))
    return average(losses)


def rare_tags(g: torch.Generator, n: int, d: int, masked: bool = False, counted: bool = False) -> Inputs:
    """Tags with the share, or the number, of the examples that have each."""
    z, bank, rarity, given = tags(g, n, d, masked=masked, rarity=True)
    return z, bank, (rarity - 1) * (20 if counted else 0.9) + 0.05, given


def balanced_loops(
    objective: Any,
    z: Tensor,
    bank: Tensor,
    frequency: Tensor,
    bias: Tensor | None = None,
    *,
    targets: Tensor,
    known: Tensor | None = None,
) -> Tensor:
    losses, o = [], objective
    for i, row in enumerate(scores(z, bank)):
        certain = [c for c in range(len(bank)) if known is None or known[i, c]]
        own = sum(1 / float(frequency[c]) for c in certain if targets[i, c])
        terms = []
        for c in certain:
            r = 1 / float(frequency[c]) / own if own else math.inf
            w = o.alpha + 1 / (1 + math.exp(-o.beta * (r - o.mu)))
            s = row[c] - o.kappa * (1 / frequency[c] - 1).log() / o.negative_scale
            p = 1 / (1 + (-s).exp()) if targets[i, c] else 1 / (1 + (o.negative_scale * s).exp())
            w = w if targets[i, c] else w / o.negative_scale
            terms.append(-o.balance * w * (1 - p) ** o.gamma * p.log())
        losses += [total(terms)] if terms else []
    return average(losses)


def class_embedding_loops(
    objective: Any,
    z: Tensor,
    bank: Tensor,
    counts: Tensor,
    *,
    targets: Tensor,
    known: Tensor | None = None,
) -> Tensor:
    n = [max(float(count), 1.0) for count in counts]
    weights = [each**-objective.weight_power for each in n]
    losses = []
    for i, row in enumerate(scores(z, bank)):
        terms = []
        for c, cosine in enumerate(row):
            if known is None or known[i, c]:
                over = objective.margin / n[c] ** objective.margin_power - (1 - cosine)
                cost = 1 - cosine if targets[i, c] else over.clamp_min(0)
                terms.append(weights[c] / sum(weights) * cost)
        losses += [total(terms)] if terms else []
    return average(losses)


# Pairs of classes


def gated(g: torch.Generator, n: int, d: int) -> Inputs:
    """Examples of which the second has no class and the last no target."""
    labels, targets = (torch.randint(0, 3, (n,), generator=g) for _ in range(2))
    if n > 2:
        labels[1], targets[-1] = -1, -1
    gates = torch.rand(n, d, generator=g, dtype=torch.float64)
    return unit(g, n, d), unit(g, n, d), {"labels": labels, "targets": targets, "gates": gates}


def alone(g: torch.Generator, n: int, d: int) -> Inputs:
    return unit(g, n, d), unit(g, n, d), {"labels": torch.randint(-1, 3, (n,), generator=g)}


def hydra_loops(
    objective: Any,
    x: Tensor,
    y: Tensor,
    labels: Tensor,
    targets: Tensor | None = None,
    gates: Tensor | None = None,
) -> Tensor:
    scale, losses, zero = inverse(objective.temperature), [], x.sum() * 0 + y.sum() * 0
    own, aims = labels.tolist(), (labels if targets is None else targets).tolist()
    for i, (a, b) in enumerate(zip(own, aims, strict=True)):
        g = torch.ones_like(x[i]) if gates is None else gates[i]

        def score(j: int, i: int = i, g: Tensor = g) -> Tensor:
            one, other = list(x[i] * g), list(y[j] * g)
            length = 1
            if objective.renormalised:
                length = (total([p**2 for p in one]) * total([q**2 for q in other])).sqrt()
            return scale * total([p * q for p, q in zip(one, other, strict=True)]) / length

        negatives = [score(j).exp() for j, c in enumerate(own) if c >= 0 and c not in (a, b)]
        for j, c in enumerate(own):
            if min(a, b) >= 0 and c == b:
                losses.append(total([score(j).exp(), *negatives]).log() - score(j))
    return average(losses) if losses else zero


# Episodes


def distance(a: Tensor, b: Tensor, epsilon: float = 0.0) -> Tensor:
    return (total(list((a - b) ** 2)) + epsilon).sqrt()


def protonet_loops(objective: Any, z: Tensor, bank: Tensor, *, labels: Tensor) -> Tensor:
    s = [[-(distance(q, p) ** 2) / objective.temperature for p in bank] for q in z]
    terms = [cross_entropy(row, max(int(y), 0)) for row, y in zip(s, labels, strict=True)]
    return weighted_mean(terms, labels, None)


def proto_triplet_loops(objective: Any, z: Tensor, bank: Tensor, *, labels: Tensor) -> Tensor:
    terms = []
    for q, y in zip(z, labels.clamp_min(0).tolist(), strict=True):
        d = [distance(q, p, 1e-6) for p in bank]
        others = d[:y] + d[y + 1 :]
        counted = [min(others, key=Tensor.item)] if objective.others == "nearest" else others
        over = [(d[y] - other + objective.margin).relu() for other in counted]
        terms.append(total(over) / len(over))
    return weighted_mean(terms, labels, None)


def points(g: torch.Generator, n: int, d: int) -> Inputs:
    """Points of two classes, and some of none."""
    z = torch.randn(n, d, generator=g, dtype=torch.float64)
    return z, {"labels": torch.randint(-1, 2, (n,), generator=g)}


def one_side(inputs: Inputs) -> Inputs:
    return inputs


def banked(g: torch.Generator, n: int, d: int) -> Inputs:
    """Points, and a bank that has their classes and one more."""
    labels = torch.randint(-1, 3, (n,), generator=g)
    return unit(g, n, d), unit(g, KEYS, d), torch.arange(KEYS) % 4, {"labels": labels}


def turned_bank(inputs: Inputs) -> Inputs:
    z, bank, bank_labels, given = inputs
    return bank, z, given["labels"], {"labels": bank_labels}


def icnn_loops(
    objective: Any,
    z: Tensor,
    bank: Tensor | None = None,
    bank_labels: Tensor | None = None,
    *,
    labels: Tensor,
) -> Tensor:
    own = bank is None or bank_labels is None
    against = [*z] if bank is None else [*bank]
    classes = labels.tolist() if bank_labels is None else bank_labels.tolist()
    others = len(against) - own
    k = min(objective.neighbours, others - 1)
    if k < 1:
        return z.sum() * 0
    pool = min(max(objective.pool or 0, k + 1), others)

    def normaliser(value: Tensor) -> Tensor:
        return value.detach() if objective.detached else value

    near, far, right = [], [], []
    for i, (x, y) in enumerate(zip(z, labels.tolist(), strict=True)):
        d = [
            (distance(x, b, 1e-6), y >= 0 and classes[j] == y)
            for j, b in enumerate(against)
            if not (own and i == j)
        ]
        d = sorted(d, key=lambda pair: pair[0].item())[:pool]
        radius = next((a for a, same in d if not same), None)
        ratios = [a / normaliser(radius + 1e-7) if radius is not None else a * 0 for a, _ in d[:k]]
        largest = normaliser(max([*ratios, torch.ones_like(ratios[0])], key=Tensor.item))
        same = [r / largest for r, (_, alike) in zip(ratios, d[:k], strict=True) if alike]
        near += [average(same)] if same else []
        far += [[a for a, alike in d[:k] if not alike]]
        right.append(len(same) / k)
    wrong = [a for of_point in far for a in of_point]
    apart = torch.ones_like(z[0, 0])
    if wrong:
        farthest = normaliser(max(wrong, key=Tensor.item)) + 1e-7
        apart = average([average(of_point) / farthest for of_point in far if of_point])
    together = 1 - (average(near) if near else torch.zeros_like(z[0, 0]))
    share = 1.0 if k == others - 1 else sum(right) / len(right)
    return -(((together + apart) / 2 + share) / 2).log()


# Keys of classes


def keyed(g: torch.Generator, n: int, d: int, prior: bool = False, ids: bool = False) -> Inputs:
    """Keys of four classes, one of them of nobody; the last query's class has none."""
    key_labels = torch.tensor([0, 2, 1, 0, 0, -1, 1, 2, 3]).repeat(KEYS // 9 + 1)[:KEYS]
    labels = torch.randint(0, 4, (n,), generator=g)
    given = {"labels": labels}
    if n > 2:
        labels[1], labels[-1] = -1, 4
    of_keys: list[Any] = [key_labels]
    if prior or ids:
        of_keys.append(torch.rand(5, generator=g, dtype=torch.float64) + 0.1)
    if ids:
        of_keys.append(torch.arange(KEYS) % 7)
        given["ids"] = torch.arange(n) % 11
    return unit(g, n, d), unit(g, KEYS, d), *of_keys, given


def turned_keys(inputs: Inputs) -> Inputs:
    z, keys, key_labels, *of_keys, given = inputs
    ids = [given["ids"]] if len(of_keys) > 1 else []
    other = {"labels": key_labels, **({"ids": of_keys[1]} if ids else {})}
    return keys, z, given["labels"], *of_keys[:1], *ids, other


def gml_loops(
    objective: Any,
    z: Tensor,
    keys: Tensor,
    key_labels: Tensor,
    prior: Tensor | None = None,
    key_ids: Tensor | None = None,
    *,
    labels: Tensor,
    ids: Tensor | None = None,
) -> Tensor:
    def branch(z: Tensor, keys: Tensor, scale: Tensor, excluded: bool) -> Tensor:
        s, terms = scores(z, keys, scale), []
        for i, y in enumerate(labels):
            of_class = {}
            for c in range(5):
                # An item's keys are of its class.
                gone = excluded and ids is not None and c == y
                own = [
                    s[i][j].exp()
                    for j in range(len(keys))
                    if key_labels[j] == c and not (gone and ids[i] == key_ids[j])  # type: ignore[index]
                ]
                if own:
                    score = average(own) if objective.average else total(own)
                    of_class[c] = score * (1 if prior is None else prior[c])
            if int(y) in of_class:
                terms.append(-(of_class[int(y)] / total(list(of_class.values()))).log())
        return average(terms) if terms else z.sum() * 0

    scale = inverse(objective.temperature)
    loss = branch(z, keys, scale.detach(), False)
    if objective.temperature.parameter is None:
        return loss
    return loss + branch(z.detach(), keys.detach(), scale, True)


# Several classes, the nearest clusters


def clusters(g: torch.Generator, n: int, d: int) -> Inputs:
    """Examples of up to three classes; the last of several has none."""
    positives = torch.randint(0, CLASSES, (n, 3), generator=g)
    positives[::2, 0] = -1
    positives[-1] = -1 if n > 1 else 0
    return unit(g, n, d), unit(g, CLASSES, d), {"positives": positives}


def turned_clusters(inputs: Inputs) -> Inputs:
    z, bank, _ = inputs
    return bank, z, {"positives": torch.arange(len(bank))[:, None] % len(z)}


def mlcd_loops(objective: Any, z: Tensor, bank: Tensor, *, positives: Tensor) -> Tensor:
    losses = []
    for row, own in zip(scores(z, bank), positives.tolist(), strict=True):
        s = [objective.scale * (v - objective.shift) for v in row]
        pull = [(-s[c]).exp() for c in set(own) if c >= 0]
        push = [s[c].exp() for c in range(len(bank)) if c not in own]
        both = total(pull) if pull else s[0] * 0, total(push) if push else s[0] * 0
        losses.append(
            (1 + both[0] * both[1]).log() if objective.joint else ((1 + both[0]) * (1 + both[1])).log()
        )
    return average(losses)


def job_class_vectors(rank: int, size: int, name: str) -> tuple[Tensor, Tensor]:
    """The loss, and the rank-averaged gradient of the encoder of the class vectors."""
    g = torch.Generator().manual_seed(0)
    own = slice(*{1: (0, 7), 2: ((0, 3), (3, 7))[rank]}[size])
    if name in ("bce", "asymmetric", "comic"):
        z, bank, *more, given = tags(g, 7, 5, rarity=name == "comic")
    elif name in ("distribution-balanced", "class-embedding"):
        z, bank, *more, given = rare_tags(g, 7, 5)
    elif name == "gml":
        z, bank, *more, given = keyed(g, 7, 5)
    elif name == "mlcd":
        z, bank, given = clusters(g, 7, 5)
        more = []
    else:
        z, bank, *more, given = classes(g, 7, 5, prior=name == "logit-adjusted")
    encoder = torch.eye(5, dtype=torch.float64).requires_grad_()
    options = {"temperature": 0.3} if name == "gml" else {}
    loss = losses.create(name, **options)(
        z[own], bank @ encoder, *more, **{k: t[own] for k, t in given.items()}
    )
    (gradient,) = torch.autograd.grad(loss, encoder)
    if size > 1:
        dist.all_reduce(gradient)
    return loss.detach(), gradient / size


CASES = (
    Case("cross-entropy", cross_entropy_loops, classes, fixed=(1,), swap=turned),
    Case(
        "cross-entropy",
        cross_entropy_loops,
        partial(classes, bias=True, weighted=True),
        {"smoothing": 0.2},
        "smooth",
        fixed=(1, 2),
        swap=turned,
    ),
    Case(
        "logit-adjusted",
        adjusted_loops,
        partial(classes, prior=True),
        {"tau": 0.7},
        fixed=(1, 2),
        swap=turned,
    ),
    Case(
        "logit-adjusted",
        adjusted_loops,
        partial(classes, prior=True, bias=True),
        {"smoothing": 0.1},
        "bias",
        fixed=(1, 2, 3),
        swap=turned,
    ),
    Case("harmonic", harmonic_loops, classes, {"epsilon": 0.01}, fixed=(1,), swap=turned),
    Case(
        "harmonic",
        harmonic_loops,
        partial(classes, weighted=True),
        {"exponent": 7.0},
        "steep",
        unit=False,
        fixed=(1,),
        swap=turned,
    ),
    Case("bce", tag_loops, tags, fixed=(1,), swap=turned_tags),
    Case(
        "bce", tag_loops, partial(tags, bias=True, masked=True), label="known", fixed=(1, 2), swap=turned_tags
    ),
    Case("asymmetric", tag_loops, tags, fixed=(1,), swap=turned_tags),
    Case(
        "asymmetric",
        tag_loops,
        partial(tags, bias=True, masked=True),
        {"gamma_positive": 0.5, "gamma_negative": 0.5, "margin": 0.3},
        "known",
        fixed=(1, 2),
        swap=turned_tags,
    ),
    Case("distribution-balanced", balanced_loops, rare_tags, fixed=(1, 2), swap=turned_tags),
    Case(
        "distribution-balanced",
        balanced_loops,
        partial(rare_tags, masked=True),
        {"mu": 0.5, "negative_scale": 5.0, "gamma": 0.5},
        "known",
        fixed=(1, 2),
        swap=turned_tags,
    ),
    Case(
        "class-embedding",
        class_embedding_loops,
        partial(rare_tags, counted=True),
        {"margin": 3.0},
        fixed=(1, 2),
        swap=turned_tags,
    ),
    Case(
        "class-embedding",
        class_embedding_loops,
        partial(rare_tags, counted=True, masked=True),
        {"margin": 3.0, "weight_power": 0.5},
        "known",
        fixed=(1, 2),
        swap=turned_tags,
    ),
    Case("hydra", hydra_loops, gated, {"temperature": warm}, matrices=(2, 1)),
    Case("hydra", hydra_loops, alone, {"temperature": 0.3}, "identical", matrices=(2, 1)),
    Case(
        "hydra",
        hydra_loops,
        gated,
        {"temperature": 0.3, "renormalised": True},
        "renormalised",
        matrices=(2, 1),
    ),
    Case(
        "comic", comic_loops, partial(tags, rarity=True), fixed=(1, 2), stop_gradient=True, swap=turned_tags
    ),
    Case(
        "comic",
        comic_loops,
        in_company,
        {"gamma_positive": 1.0, "margin": 0.5},
        "company",
        fixed=(1, 2),
        stop_gradient=True,
        swap=turned_tags,
    ),
    Case("protonet", protonet_loops, classes, {"temperature": 0.7}, unit=False, fixed=(1,), swap=turned),
    Case("proto-triplet", proto_triplet_loops, classes, unit=False, fixed=(1,), swap=turned),
    Case(
        "proto-triplet",
        proto_triplet_loops,
        classes,
        {"others": "all", "margin": 1.5},
        "all",
        unit=False,
        fixed=(1,),
        swap=turned,
    ),
    Case("icnn", icnn_loops, points, {"neighbours": 2, "pool": 5}, unit=False, swap=one_side),
    Case(
        "icnn",
        icnn_loops,
        points,
        {"detached": True},
        "detached",
        unit=False,
        stop_gradient=True,
        swap=one_side,
    ),
    Case("icnn", icnn_loops, banked, {"neighbours": 3}, "bank", unit=False, fixed=(1, 2), swap=turned_bank),
    Case("gml", gml_loops, keyed, {"temperature": 0.3}, "fixed", fixed=(1, 2), swap=turned_keys),
    Case(
        "gml",
        gml_loops,
        partial(keyed, ids=True),
        {"temperature": warm},
        fixed=(1, 2, 3, 4),
        stop_gradient=True,
        matrices=(2, 1),
        swap=turned_keys,
    ),
    Case(
        "gml",
        gml_loops,
        partial(keyed, prior=True),
        {"temperature": 0.3, "average": False},
        "sum",
        fixed=(1, 2, 3),
        swap=turned_keys,
    ),
    Case("mlcd", mlcd_loops, clusters, {"scale": 3.0}, fixed=(1,), swap=turned_clusters),
    Case(
        "mlcd", mlcd_loops, clusters, {"scale": 3.0, "joint": True}, "joint", fixed=(1,), swap=turned_clusters
    ),
)
