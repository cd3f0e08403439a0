"""Losses against a queue of keys: MoCo, MoCHi, the dual view, Sy-CON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from case_tools import Case, Inputs, average, cross_entropy, inverse, total, two, unit, warm
from torch import Tensor

K = 9


def product(a: Tensor, b: Tensor) -> Tensor:
    return total(list(a * b))


def negatives(i: int, queue: Tensor, ids: Tensor | None, queue_ids: Tensor | None) -> list[Tensor]:
    """The keys of the queue that are not of the item of anchor ``i``."""
    if ids is None or queue_ids is None:
        return list(queue)
    return [n for n, item in zip(queue, queue_ids, strict=True) if item != ids[i]]


def moco_loops(
    objective: Any,
    q: Tensor,
    k: Tensor,
    queue: Tensor,
    ids: Tensor | None = None,
    queue_ids: Tensor | None = None,
) -> Tensor:
    scale, losses = inverse(objective.temperature), []
    for i in range(len(q)):
        candidates = [k[i].detach(), *negatives(i, queue, ids, queue_ids)]
        losses.append(cross_entropy([scale * product(q[i], c) for c in candidates], 0))
    return average(losses)


def hardest(anchor: Tensor, keys: Sequence[Tensor]) -> list[Tensor]:
    return sorted(keys, key=lambda n: -float(product(anchor.detach(), n)))


def mixture(share: Tensor, u: Tensor, v: Tensor) -> Tensor:
    point = (share * u + (1 - share) * v).detach()
    return point / total(list(point**2)).sqrt()


def mochi_loops(
    objective: Any,
    q: Tensor,
    k: Tensor,
    queue: Tensor,
    ids: Tensor | None = None,
    queue_ids: Tensor | None = None,
    *,
    pairs: Tensor,
    shares: Tensor,
    partners: Tensor,
    query_shares: Tensor,
) -> Tensor:
    scale, losses = inverse(objective.temperature), []
    for i in range(len(q)):
        keys = negatives(i, queue, ids, queue_ids)
        hard = dict(enumerate(hardest(q[i], keys)[: objective.hardest]))
        synthetic = [
            mixture(share, hard[int(a)], hard[int(b)])
            for (a, b), share in zip(pairs[i], shares[i], strict=True)
            if int(a) in hard and int(b) in hard
        ]
        synthetic += [
            mixture(share, q[i], hard[int(a)])
            for a, share in zip(partners[i], query_shares[i], strict=True)
            if int(a) in hard
        ]
        candidates = [k[i].detach(), *keys, *synthetic]
        losses.append(cross_entropy([scale * product(q[i], c) for c in candidates], 0))
    return average(losses)


def dual_view_loops(
    objective: Any,
    q: Tensor,
    k: Tensor,
    queue: Tensor,
    ids: Tensor | None = None,
    queue_ids: Tensor | None = None,
) -> Tensor:
    scale, skip, m = inverse(objective.temperature), objective.skip_top, objective.num_hard
    if m is not None and m < 1:
        m = math.ceil(m * len(queue))
    losses = []
    for i in range(len(q)):
        keys = negatives(i, queue, ids, queue_ids)
        loss = torch.zeros((), dtype=q.dtype)
        key = k[i].detach()
        for anchor, other, weight in ((q[i], key, 1.0), (key, q[i], objective.key_weight)):
            hard = hardest(anchor, keys)[skip:]
            hard = hard if m is None else hard[: int(m)]
            loss = loss + weight * cross_entropy([scale * product(anchor, c) for c in [other, *hard]], 0)
        losses.append(loss)
    return average(losses)


def sy_con_loops(
    objective: Any,
    q: Sequence[Tensor],
    k: Sequence[Tensor],
    p: Sequence[Tensor],
    f: Sequence[Tensor],
    queue: Sequence[Tensor],
    previous: Sequence[Tensor],
    ids: Tensor | None = None,
    queue_ids: Sequence[Tensor] = (),
    previous_ids: Sequence[Tensor] = (),
) -> Tensor:
    new, old = inverse(objective.temperature), inverse(objective.stability_temperature)
    losses = []
    for a, b in ((0, 1), (1, 0)):
        for i in range(len(q[0])):
            bank = negatives(i, queue[b], ids, queue_ids[b] if ids is not None else None)
            bank += negatives(i, previous[b], ids, previous_ids[b] if ids is not None else None)
            plasticity = [new * product(q[a][i], c) for c in [k[b][i].detach(), *bank]]
            stability = [old * product(p[a][i], c) for c in [f[a][i].detach(), *bank]]
            losses.append(cross_entropy(plasticity, 0) + cross_entropy(stability, 0))
    return total(losses) / len(q[0]) / 2


def sy_con_batch_loops(
    objective: Any, z: Sequence[Tensor], p: Sequence[Tensor], f: Sequence[Tensor]
) -> Tensor:
    new, old = inverse(objective.temperature), inverse(objective.stability_temperature)
    n = len(z[0])
    present, predicted, previous = [*z[0], *z[1]], [*p[0], *p[1]], [t.detach() for t in (*f[0], *f[1])]
    losses = []
    for a in range(2 * n):
        rest = [b for b in range(2 * n) if b != a]
        partner = (a + n) % (2 * n)
        others = [present[b] for b in rest if b != partner] + [previous[b] for b in rest]
        plasticity = [new * product(present[a], c) for c in [present[partner], *others]]
        others = [previous[b] for b in rest] + [present[b] for b in rest]
        stability = [old * product(predicted[a], c) for c in [previous[a], *others]]
        losses.append(cross_entropy(plasticity, 0) + cross_entropy(stability, 0))
    return average(losses)


def soft_infonce_loops(
    objective: Any, q: Tensor, k: Tensor, teacher: Tensor, queue: Tensor, alpha: float
) -> Tensor:
    scale, keys, losses = inverse(objective.temperature), [*k.detach(), *queue], []
    for i in range(len(q)):
        p = torch.stack([scale * product(q[i], key) for key in keys]).softmax(0)
        soft = torch.stack([scale * product(teacher[i].detach(), key) for key in keys]).softmax(0).detach()
        y = [alpha * float(soft[j]) + (1 - alpha) * (j == i) for j in range(len(keys))]
        losses.append(-total([y[j] * (1 - p[j]) ** objective.gamma * p[j].log() for j in range(len(keys))]))
    return average(losses)


def taught(g: torch.Generator, n: int, d: int) -> Inputs:
    return *two(g, n, d), unit(g, n, d), unit(g, K, d), {"alpha": 0.4}


def with_queue(g: torch.Generator, n: int, d: int) -> Inputs:
    return *two(g, n, d), unit(g, K, d)


def with_items(g: torch.Generator, n: int, d: int) -> Inputs:
    ids, queue_ids = torch.randint(0, 3, (n,), generator=g), torch.randint(-1, 3, (K,), generator=g)
    return *two(g, n, d), unit(g, K, d), ids, queue_ids


def mixing(g: torch.Generator, n: int, among: int) -> dict[str, Tensor]:
    return {
        "pairs": torch.randint(0, among, (n, 3, 2), generator=g),
        "shares": torch.rand(n, 3, generator=g, dtype=torch.float64),
        "partners": torch.randint(0, among, (n, 2), generator=g),
        "query_shares": torch.rand(n, 2, generator=g, dtype=torch.float64) / 2,
    }


def mixed(g: torch.Generator, n: int, d: int) -> Inputs:
    return *with_queue(g, n, d), mixing(g, n, 4)


def mixed_with_items(g: torch.Generator, n: int, d: int) -> Inputs:
    """N = 8 of 9 keys, of which some are the anchor's own: fewer than N are left to mix."""
    return *with_items(g, n, d), mixing(g, n, 8)


def present_and_previous(g: torch.Generator, n: int, d: int) -> Inputs:
    banks = [unit(g, K, d), unit(g, K, d)], [unit(g, K - 2, d), unit(g, K - 2, d)]
    return *(list(two(g, n, d)) for _ in range(4)), *banks


def present_and_previous_with_items(g: torch.Generator, n: int, d: int) -> Inputs:
    ids = torch.randint(0, 3, (n,), generator=g)
    of = [[torch.randint(-1, 3, (size,), generator=g) for _ in range(2)] for size in (K, K - 2)]
    return *present_and_previous(g, n, d), ids, *of


def three_by_two(g: torch.Generator, n: int, d: int) -> Inputs:
    return tuple(list(two(g, n, d)) for _ in range(3))


TAU = {"temperature": warm}
TAUS = {"temperature": warm, "stability_temperature": 0.5}
CASES = (
    Case("moco", moco_loops, with_queue, TAU, fixed=(2,), stop_gradient=True),
    Case("moco", moco_loops, with_items, TAU, "ids", fixed=(2, 4), stop_gradient=True),
    Case("mochi", mochi_loops, mixed, {**TAU, "hardest": 4}, fixed=(2,), stop_gradient=True),
    Case(
        "mochi", mochi_loops, mixed_with_items, {**TAU, "hardest": 8}, "ids", fixed=(2, 4), stop_gradient=True
    ),
    Case(
        "moco-dual-view",
        dual_view_loops,
        with_queue,
        {**TAU, "num_hard": 3, "skip_top": 2},
        fixed=(2,),
        stop_gradient=True,
    ),
    Case(
        "moco-dual-view",
        dual_view_loops,
        with_items,
        {**TAU, "num_hard": 0.6, "key_weight": 0.3},
        "key",
        fixed=(2, 4),
        stop_gradient=True,
        matrices=(2, 1),
    ),
    Case(
        "moco-dual-view",
        dual_view_loops,
        with_items,
        {**TAU, "num_hard": None, "key_weight": 0.3},
        "all",
        fixed=(2, 4),
        stop_gradient=True,
        matrices=(2, 1),
    ),
    Case(
        "sy-con", sy_con_loops, present_and_previous, TAUS, fixed=(4, 5), stop_gradient=True, matrices=(4, 1)
    ),
    Case(
        "sy-con",
        sy_con_loops,
        present_and_previous_with_items,
        TAUS,
        "ids",
        fixed=(4, 5, 7, 8),
        stop_gradient=True,
        matrices=(4, 1),
    ),
    Case("soft-infonce", soft_infonce_loops, taught, TAU, fixed=(3, 4), stop_gradient=True, matrices=(2, 1)),
    Case(
        "soft-infonce",
        soft_infonce_loops,
        taught,
        {**TAU, "gamma": 2.0},
        "focal",
        fixed=(3, 4),
        stop_gradient=True,
        matrices=(2, 1),
    ),
    Case("sy-con-batch", sy_con_batch_loops, three_by_two, TAUS, stop_gradient=True, matrices=(2, 4)),
)
