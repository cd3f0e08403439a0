"""Other kernels, other sets of pairs, moving averages: KernelInfoNCE, Spectral, GuidedNTXent, DecoupledUniformity,
GroupedInfoNCE, ISogCLR, JointEntropy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from case_tools import Case, Inputs, average, cross_entropy, infonce, inverse, scores, total, two, unit, warm
from torch import Tensor


def two_with_teacher(g: torch.Generator, n: int, d: int) -> Inputs:
    return *two(g, n, d), {"teacher_x": unit(g, n, d + 1), "teacher_y": unit(g, n, d + 1)}


def teachers_too(inputs: Inputs) -> Inputs:
    x, y, teachers = inputs
    return y, x, {"teacher_x": teachers["teacher_y"], "teacher_y": teachers["teacher_x"]}


def three_with_prior(g: torch.Generator, n: int, d: int) -> Inputs:
    return *(unit(g, n, d) for _ in range(3)), {"prior": unit(g, n, d + 1)}


def three(g: torch.Generator, n: int, d: int) -> Inputs:
    return three_with_prior(g, n, d)[:3]


def two_with_distinct_ids(g: torch.Generator, n: int, d: int) -> Inputs:
    return *two(g, n, d), (torch.randperm(2 * n, generator=g)[:n] - n) * 10**16


def squared(a: Tensor, b: Tensor) -> Tensor:
    return total([(p - q) ** 2 for p, q in zip(a, b, strict=True)])


def kernel_infonce(x: Tensor, y: Tensor, kernel: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    z, n = torch.cat([x, y]), len(x)
    losses = []
    for a in range(2 * n):
        denominator = total([kernel(z[a], z[b]) for b in range(2 * n) if b != a])
        losses.append(-(kernel(z[a], z[(a + n) % (2 * n)]) / denominator).log())
    return average(losses)


def kernel_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    scale, lam = inverse(objective.temperature), objective.lam

    def power(gamma: float, a: Tensor, b: Tensor) -> Tensor:
        distance = (squared(a, b) + 1e-6).sqrt()
        return (-scale * distance**gamma).exp()

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        return lam * own(a, b) + (1 - lam) * (-scale * squared(a, b)).exp()

    own = partial(power, objective.gamma)
    if objective.mix == "none":
        return kernel_infonce(x, y, own)
    if objective.mix == "kernel":
        return kernel_infonce(x, y, mixed)
    half = x.shape[1] // 2 if objective.mix == "concatenation" else None
    first, second = slice(half), slice(half, None)
    one = kernel_infonce(x[:, first], y[:, first], own)
    other = kernel_infonce(x[:, second], y[:, second], partial(power, 2.0))
    return lam * one + (1 - lam) * other


def spectral_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    s, n = scores(x, y, objective.mu), len(x)
    loss = -2 * average([s[i][i] for i in range(n)])
    others = [s[i][j] ** 2 for i in range(n) for j in range(n) if i != j]
    return loss + average(others) if others else loss


def guided_loops(objective: Any, x: Tensor, y: Tensor, teacher_x: Tensor, teacher_y: Tensor) -> Tensor:
    z, n = torch.cat([x, y]), 2 * len(x)
    s = scores(z, z, inverse(objective.temperature))
    teacher = torch.cat([teacher_x, teacher_y]).detach()
    c = scores(teacher, teacher)
    k = int(objective.ratio * n)
    agreement = sorted(float(c[a][(a + n // 2) % n]) for a in range(n))
    losses = []
    for a in range(n):
        partner = (a + n // 2) % n
        row = [float(v) for v in c[a]]
        kept = [b for b in range(n) if b != a]
        if k and objective.rule == "drop_false_negative":
            limit = sorted(row, reverse=True)[k - 1]
            kept = [b for b in kept if b == partner or row[b] < limit]
        if k and objective.rule == "drop_easy_negative":
            limit = sorted(row)[k - 1]
            kept = [b for b in kept if b == partner or row[b] > limit]
        if k and objective.rule == "drop_false_positive" and row[partner] <= agreement[k - 1]:
            continue
        positives = [partner]
        if objective.rule == "add_positive" and n > 2:
            positives.append(max((b for b in kept if b != partner), key=row.__getitem__))
        losses.append(average([cross_entropy([s[a][b] for b in kept], kept.index(p)) for p in positives]))
    return average(losses)


def decoupled_loops(objective: Any, *z: Tensor, prior: Tensor | None = None) -> Tensor:
    n = len(z[0])
    mu = torch.stack(
        [torch.stack([total([v[i, k] for v in z]) / len(z) for k in range(z[0].shape[1])]) for i in range(n)]
    )
    if prior is not None:
        g = prior.detach()
        pairs = sorted(float(squared(g[i], g[j]).sqrt()) for i in range(n) for j in range(i))
        k = torch.empty(n, n, dtype=torch.float64)
        for i in range(n):
            for j in range(n):
                if objective.kernel == "cosine":
                    k[i, j] = total(list(g[i] * g[j])) / (g[i].norm() * g[j].norm())
                else:
                    sigma = objective.sigma or pairs[(len(pairs) - 1) // 2]
                    k[i, j] = (-squared(g[i], g[j]) / (2 * sigma**2)).exp()
        a = (k + objective.ridge * torch.eye(n, dtype=torch.float64)).inverse() @ k
        mu = torch.stack(
            [torch.stack([total(list(a[i] * mu[:, k])) for k in range(mu.shape[1])]) for i in range(n)]
        )
    others = [(-objective.t * squared(mu[i], mu[j])).exp() for i in range(n) for j in range(i)]
    return average(others).log()


def grouped_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    n, groups = len(x), objective.groups
    edges = [n * k // groups for k in range(groups + 1)]
    scale = inverse(objective.temperature)
    return total([(b - a) * infonce(x[a:b], y[a:b], scale) for a, b in pairwise(edges) if a < b]) / n


def isogclr_loops(objective: Any, x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
    """Compute the loss of items not seen before: s is g, and every temperature the first."""
    n, tau = len(x), objective.x_items.start["tau"]
    losses = []
    for s in (scores(x, y), scores(y, x)):
        for i in range(n):
            h = [s[i][j] - s[i][i] for j in range(n) if j != i]
            e = [(v / tau).exp().detach() for v in h]
            losses.append(total([p / average(e) * v for p, v in zip(e, h, strict=True)]) / (n - 1))
    return total(losses) / n


def two_codes(g: torch.Generator, n: int, d: int) -> Inputs:
    return unit(g, n, d), torch.randn(n, 2, generator=g, dtype=torch.float64)


def joint_entropy_loops(objective: Any, x: Tensor, y: Tensor) -> Tensor:
    n, tau = len(x), objective.temperature

    def kernel(i: int, j: int) -> Tensor:
        return (-(squared(x[i], x[j]) + squared(y[i], y[j])) / (2 * tau)).exp()

    return average([average([kernel(i, j) for j in range(n)]).log() for i in range(n)])


CASES = (
    Case("joint-entropy", joint_entropy_loops, two_codes, {"temperature": 0.8}, unit=False),
    Case("kernel-infonce", kernel_loops, two, {"temperature": warm, "gamma": 0.5}, matrices=(1, 2)),
    *(
        Case(
            "kernel-infonce",
            kernel_loops,
            two,
            {"temperature": warm, "mix": mix, "lam": 0.3},
            mix,
            matrices=(2, 2),
        )
        for mix in ("loss", "kernel", "concatenation")
    ),
    Case("spectral", spectral_loops, two, {"mu": 3.0}),
    Case(
        "guided-ntxent",
        guided_loops,
        two_with_teacher,
        {"temperature": warm},
        "add_positive",
        matrices=(1, 2),
        swap=teachers_too,
    ),
    *(
        Case(
            "guided-ntxent",
            guided_loops,
            two_with_teacher,
            {"temperature": warm, "rule": rule, "ratio": 0.3},
            rule,
            matrices=(1, 2),
            swap=teachers_too,
        )
        for rule in ("drop_false_positive", "drop_false_negative", "drop_easy_negative")
    ),
    Case("decoupled-uniformity", decoupled_loops, three),
    Case(
        "decoupled-uniformity",
        decoupled_loops,
        three_with_prior,
        {"t": 1.0},
        "rbf",
        stop_gradient=True,
        tileable=False,
    ),
    Case(
        "decoupled-uniformity",
        decoupled_loops,
        three_with_prior,
        {"kernel": "cosine", "ridge": 0.3},
        "cosine",
        stop_gradient=True,
        tileable=False,
    ),
    Case("grouped-infonce", grouped_loops, two, {"groups": 3, "temperature": warm}, matrices=(3, 1 / 3)),
    Case("isogclr", isogclr_loops, two_with_distinct_ids, stop_gradient=True),
)
