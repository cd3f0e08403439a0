"""Cases of losses between sequences."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from case_tools import Case, Inputs, average, cross_entropy, inverse, total, transposed, unit, warm
from cases_targets import other_bag
from torch import Tensor

from counterpoint.losses import BestAlignmentLoss


def sequences(g: torch.Generator, n: int, d: int, masked: bool = False, some: bool = False) -> Inputs:
    x, y = (torch.randn(n, length, d, generator=g, dtype=torch.float64) for length in (5, 3))
    extras: dict[str, Any] = {}
    if masked:
        row = torch.arange(n)[:, None]
        extras = {"x_mask": torch.arange(5) < 3 + row % 3, "y_mask": torch.arange(3) < 1 + row % 3}
    if some:
        extras["rows"] = torch.arange(n) % 3 != 1
    return (x, y, extras) if extras else (x, y)


def longer(inputs: Inputs) -> Inputs:
    """The sides change places, cut and repeated so that there are no fewer frames than tokens."""
    x, y, *rest = inputs
    return (torch.cat([y, y[:, -1:], y[:, -1:]], 1), x[:, :3], *rest)


def paths(frames: int, tokens: int) -> list[list[int]]:
    """Return every way in which frames say tokens one after the other: where each token but the first begins."""
    return [
        [sum(begin <= frame for begin in begins) for frame in range(frames)]
        for begins in combinations(range(1, frames), tokens - 1)
    ]


def best_alignment_loops(
    loss: BestAlignmentLoss,
    x: Tensor,
    y: Tensor,
    x_mask: Tensor | None = None,
    y_mask: Tensor | None = None,
    rows: Tensor | None = None,
) -> Tensor:
    values = []
    for i in range(len(x)):
        if rows is not None and not rows[i]:
            continue
        frames = len(x[i]) if x_mask is None else int(x_mask[i].sum())
        tokens = len(y[i]) if y_mask is None else int(y_mask[i].sum())

        def cost(t: int, n: int, i: int = i) -> Tensor:
            if loss.cost == "cosine":
                return 1 - F.cosine_similarity(x[i, t], y[i, n], dim=0)
            return total([(a - b) ** 2 for a, b in zip(x[i, t], y[i, n], strict=True)]) / x.shape[2]

        if loss.path == "uniform":
            ways = [[-(-t * tokens // frames) - 1 for t in range(1, frames + 1)]]
        else:
            ways = paths(frames, tokens)
        costs = torch.stack([total([cost(t, n) for t, n in enumerate(way)]) for way in ways])
        least = -loss.gamma * (-costs / loss.gamma).logsumexp(0) if loss.gamma else costs.min()
        values.append(least / frames)
    return average(values)


def runs(g: torch.Generator, n: int, d: int, masked: bool = False) -> Inputs:
    """Return sequences of unit vectors, of different lengths where they are masked."""
    x, y = unit(g, 3 * n, d).view(n, 3, d), unit(g, 2 * n, d).view(n, 2, d)
    if not masked:
        return x, y
    ends = (torch.randint(1, z.shape[1] + 1, (n, 1), generator=g) for z in (x, y))
    x_mask, y_mask = (torch.arange(z.shape[1]) < end for z, end in zip((x, y), ends, strict=True))
    return x, y, {"x_mask": x_mask, "y_mask": y_mask}


def scav_loops(
    objective: Any, x: Tensor, y: Tensor, x_mask: Tensor | None = None, y_mask: Tensor | None = None
) -> Tensor:
    scale = inverse(objective.temperature)
    xs, ys = (
        [[v for n, v in enumerate(z[i]) if m is None or m[i, n]] for i in range(len(z))]
        for z, m in ((x, x_mask), (y, y_mask))
    )
    steps = max(map(len, [*xs, *ys]))

    def at(own: list[Tensor], step: int) -> Tensor:
        place = step * (len(own) - 1) / max(steps - 1, 1)
        before = int(place)
        share = place - before
        return (1 - share) * own[before] + share * own[min(before + 1, len(own) - 1)]

    def cost(a: Tensor, b: Tensor) -> Tensor:
        return (total(list((a - b) ** 2)) + 1e-8) ** 0.5

    def far(own: list[Tensor], other: list[Tensor]) -> Tensor:
        if objective.distance == "euclidean":
            return average([cost(at(own, t), at(other, t)) for t in range(steps)])
        if objective.distance == "squared":
            return average([total(list((at(own, t) - at(other, t)) ** 2)) for t in range(steps)])
        # All warpings, one by one: each goes from both first times to both last ones.
        ways = [total([cost(own[i], other[j]) for i, j in way]) for way in warpings(len(own), len(other))]
        gamma = objective.smoothing
        return -gamma * total([(-way / gamma).exp() for way in ways]).log() / (len(own) + len(other))

    s = [[-scale * far(own, other) for other in ys] for own in xs]
    return average([cross_entropy(row, i) for logits in (s, transposed(s)) for i, row in enumerate(logits)])


def warpings(n: int, m: int) -> list[list[tuple[int, int]]]:
    if n == m == 1:
        return [[(0, 0)]]
    befores = [(a, b) for a, b in ((n - 1, m - 1), (n - 1, m), (n, m - 1)) if a and b]
    return [[*way, (n - 1, m - 1)] for a, b in befores for way in warpings(a, b)]


_ALIGNED = tuple(
    Case(
        "best-alignment",
        best_alignment_loops,
        partial(sequences, masked=masked, some=some),
        options,
        label,
        swap=longer,
    )
    for label, options, masked, some in (
        ("", {}, False, False),
        ("masked", {}, True, False),
        ("cosine", {"cost": "cosine"}, True, True),
        ("soft", {"gamma": 0.5}, True, False),
        ("uniform", {"path": "uniform"}, True, False),
    )
)
_COMPARED = tuple(
    Case(
        "scav",
        scav_loops,
        partial(runs, masked=masked),
        {"temperature": warm, "distance": distance},
        f"{distance}_masked" if masked else distance,
        cells=20 if distance == "dtw" else 3,  # the recursion backwards has a border around its 3 × 2 cells
        matrices=(1, 4),
        swap=other_bag,
    )
    for distance in ("euclidean", "squared", "dtw")
    for masked in (False, True)
)


def likelihoods(g: torch.Generator, n: int, d: int, weighted: bool = False) -> Inputs:
    """Log-likelihoods of a good reply and of a worse one, under a model and under a reference."""
    policy, reference = (-10 * torch.rand(n, 2, generator=g, dtype=torch.float64) for _ in range(2))
    return (
        (policy, reference, torch.rand(n, generator=g, dtype=torch.float64))
        if weighted
        else (policy, reference)
    )


def dpo_loops(objective: Any, policy: Tensor, reference: Tensor, weights: Tensor | None = None) -> Tensor:
    reference = reference.detach()
    w = torch.ones(len(policy)) if weights is None else weights
    terms = []
    for i in range(len(policy)):
        good, worse = (policy[i, k] - reference[i, k] for k in range(2))
        terms.append(w[i] * (1 + (-objective.beta * (good - worse)).exp()).log())
    return total(terms) / w.sum()


_PREFERRED = tuple(
    Case(
        "dpo",
        dpo_loops,
        partial(likelihoods, weighted=weighted),
        {"beta": 0.3},
        label,
        unit=False,
        stop_gradient=True,
    )
    for label, weighted in (("", False), ("weighted", True))
)


def logits(g: torch.Generator, n: int, d: int, weighted: bool = False) -> Inputs:
    """Logits of a student and of its teacher."""
    student, teacher = (3 * torch.randn(n, d, generator=g, dtype=torch.float64) for _ in range(2))
    weights = torch.rand(n, generator=g, dtype=torch.float64)
    return (student, teacher, weights) if weighted else (student, teacher)


def skewed_loops(objective: Any, student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Tensor:
    a = objective.alpha
    w = torch.ones(len(student)) if weights is None else weights
    terms = []
    for i in range(len(student)):
        q, p = student[i].exp() / student[i].exp().sum(), (teacher[i].exp() / teacher[i].exp().sum()).detach()
        for k in range(len(p)):
            if objective.reverse:
                terms.append(w[i] * q[k] * (q[k] / ((1 - a) * p[k] + a * q[k].detach())).log())
            else:
                terms.append(w[i] * p[k] * (p[k] / (a * p[k] + (1 - a) * q[k])).log())
    return total(terms) / w.sum()


_DISTILLED = tuple(
    Case(
        "skewed-divergence",
        skewed_loops,
        partial(logits, weighted=weighted),
        {"alpha": 0.2, "reverse": reverse},
        f"{'reverse' if reverse else 'forward'}{' weighted' * weighted}",
        unit=False,
        stop_gradient=True,
    )
    for reverse in (False, True)
    for weighted in (False, True)
)
CASES = (*_ALIGNED, *_COMPARED, *_PREFERRED, *_DISTILLED)
